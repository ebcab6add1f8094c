// The 8-bit dynamic codes: the numbers of the papers, and each number in the part that its code stands for.
#include "kernels/dynamic_code.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace subspect::kernels::test {
namespace {

/// The numbers as the authors' implementation (bitsandbytes, create_dynamic_map) lists them: per decade the means of
/// neighbouring boundaries, then 0 and 1.
std::vector<double> published_numbers(bool with_sign) {
  std::vector<double> numbers = {0.0, 1.0};
  for (int decade = 0; decade < 7; ++decade) {
    const int parts = 1 << (with_sign ? decade : decade + 1);
    for (int part = 0; part < parts; ++part) {
      const double low = 0.1 + 0.9 * part / parts;
      const double high = 0.1 + 0.9 * (part + 1) / parts;
      const double number = std::pow(10.0, decade - 6) * (low + high) / 2;
      numbers.push_back(number);
      if (with_sign) numbers.push_back(-number);
    }
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

template <DynamicCode Kind>
std::vector<float> sorted_numbers() {
  std::vector<float> numbers;
  for (uint32_t code = 0; code < 256; ++code) numbers.push_back(decode_dynamic<Kind>(code));
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

template <DynamicCode Kind>
void expect_published_numbers() {
  const std::vector<double> expected = published_numbers(Kind == DynamicCode::with_sign);
  const std::vector<float> actual = sorted_numbers<Kind>();
  ASSERT_EQ(expected.size(), 256U);
  for (size_t i = 0; i < 256; ++i) {
    EXPECT_NEAR(static_cast<double>(actual[i]), expected[i], 1e-6 * std::abs(expected[i]) + 1e-30) << i;
  }
}

TEST(DynamicCode, NumbersAreThePublishedOnes) {
  expect_published_numbers<DynamicCode::with_sign>();
  expect_published_numbers<DynamicCode::without_sign>();
}

template <DynamicCode Kind>
void expect_codes_return() {
  for (uint32_t code = 0; code < 256; ++code) EXPECT_EQ(encode_dynamic<Kind>(decode_dynamic<Kind>(code)), code);
}

TEST(DynamicCode, NumbersKeepTheirCodes) {
  expect_codes_return<DynamicCode::with_sign>();
  expect_codes_return<DynamicCode::without_sign>();
}

/// Over all magnitudes: the number of the code is at most half a part away, but for what lies between the last part and
/// 1, where it is nearer to one of the two.
template <DynamicCode Kind>
void expect_small_errors(float sign) {
  const int finer = Kind == DynamicCode::with_sign ? 1 : 2;
  for (double x = 1.001e-7; x < 1; x *= 1.0003) {
    int decade = 0;
    while (decade < 6 && x >= std::pow(10.0, decade - 6)) ++decade;
    const double half_part = 0.45 * std::pow(10.0, decade - 6) / (finer << decade);
    const auto given = static_cast<float>(sign * x);
    const auto back = static_cast<double>(decode_dynamic<Kind>(encode_dynamic<Kind>(given)));
    EXPECT_NEAR(back, sign * x, 1.00001 * half_part) << x;
  }
}

TEST(DynamicCode, ErrorsAreHalfAPartAtMost) {
  expect_small_errors<DynamicCode::with_sign>(1);
  expect_small_errors<DynamicCode::with_sign>(-1);
  expect_small_errors<DynamicCode::without_sign>(1);
}

TEST(DynamicCode, EndsOfTheRange) {
  constexpr auto with_sign = DynamicCode::with_sign;
  constexpr auto without_sign = DynamicCode::without_sign;
  EXPECT_EQ(encode_dynamic<with_sign>(1.0F), 0x80U);
  EXPECT_EQ(encode_dynamic<with_sign>(1.0000002F), 0x80U);
  EXPECT_EQ(encode_dynamic<with_sign>(-1.0F), 0xffU);  // -0.993: there is no -1
  EXPECT_EQ(encode_dynamic<without_sign>(1.0F), 1U);
  EXPECT_EQ(encode_dynamic<without_sign>(1.0000002F), 1U);
  for (const float zero : {0.0F, -0.0F, 9e-8F, -9e-8F, std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_EQ(encode_dynamic<with_sign>(zero), 0U) << zero;
  }
  EXPECT_EQ(encode_dynamic<without_sign>(0.0F), 0U);
  EXPECT_EQ(encode_dynamic<without_sign>(std::numeric_limits<float>::quiet_NaN()), 0U);
  EXPECT_EQ(encode_dynamic<without_sign>(1e-30F), 2U);  // not 0, since it is divided by
}

TEST(DynamicCode, InverseIsZeroWhereThereIsNone) {
  EXPECT_EQ(dynamic_inverse(4.0F), 0.25F);
  EXPECT_EQ(dynamic_inverse(0x1p-126F), 0x1p126F);
  for (const float none :
       {0.0F, 0x1p-127F, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_EQ(dynamic_inverse(none), 0.0F) << none;
  }
}

}  // namespace
}  // namespace subspect::kernels::test
