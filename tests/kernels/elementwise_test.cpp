// Sum, scaling, conversion, filling.
#include "kernels/elementwise.h"

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

const std::vector<int64_t> counts = {0, 1, 3, 17, 1000, 50021};

template <class T>
class ElementwiseTest : public ::testing::Test {};
TYPED_TEST_SUITE(ElementwiseTest, StorageTypes, StorageNames);

TYPED_TEST(ElementwiseTest, AddAndScale) {
  for (const int64_t count : counts) {
    auto a = random_values<TypeParam>(count, 1);
    const auto b = random_values<TypeParam>(count, 2);
    Doubles sum = widen(a);
    Doubles scaled = widen(a);
    for (size_t i = 0; i < sum.size(); ++i) {
      sum[i] += static_cast<double>(to_float(b[i]));
      scaled[i] *= 1.5;
    }
    std::vector<TypeParam> y(a.size());
    scale(context(), a.data(), 1.5F, y.data(), count);
    expect_close(y, scaled, 1);
    add(context(), a.data(), b.data(), a.data(), count);
    expect_close(a, sum, 1);
  }
}

TYPED_TEST(ElementwiseTest, ThreadsDoNotMatter) {
  const auto a = random_values<TypeParam>(100003, 1);
  expect_same_for_all_teams([&](Context<Cpu> on) {
    auto y = a;
    add(on, a.data(), y.data(), y.data(), 100003);
    scale(on, y.data(), 0.3F, y.data(), 100003);
    return y;
  });
}

template <class T>
T make(double x) {
  if constexpr (std::is_same_v<T, double>) {
    return x;
  } else if constexpr (std::is_same_v<T, float>) {
    return static_cast<float>(x);
  } else {
    return from_double<T>(x);
  }
}

template <class T>
double value(T x) {
  if constexpr (std::is_same_v<T, double>) {
    return x;
  } else {
    return static_cast<double>(to_float(x));
  }
}

template <class From, class To>
void expect_cast_rounds() {
  for (const int64_t count : {0, 1, 19, 40001}) {
    std::vector<From> x(static_cast<size_t>(count));
    std::vector<To> y(x.size());
    for (size_t i = 0; i < x.size(); ++i) x[i] = make<From>(static_cast<double>(philox_normal_at(1, 1, i)) * 1.0000001);
    cast(context(), x.data(), y.data(), count);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(value(y[i]), value(make<To>(value(x[i]))));
  }
}

template <class From>
void expect_casts_round() {
  expect_cast_rounds<From, float>();
  expect_cast_rounds<From, bfloat16>();
  expect_cast_rounds<From, float16>();
  expect_cast_rounds<From, double>();
}

TEST(Cast, EveryPairOfTypesRoundsToNearest) {
  expect_casts_round<float>();
  expect_casts_round<bfloat16>();
  expect_casts_round<float16>();
  expect_casts_round<double>();
}

TEST(Cast, SpecialValuesSurvive) {
  const std::vector<float> x = {INFINITY, -INFINITY, NAN, -0.0F, 1e-40F, 3.4e38F};
  for (int64_t count = 1; count <= 6; ++count) {  // the vector path and the tail
    std::vector<float> padded(48, x[static_cast<size_t>(count - 1)]);
    std::vector<bfloat16> y(48);
    cast(context(), padded.data(), y.data(), 48);
    for (const bfloat16 b : y) EXPECT_EQ(b.bits, from_float<bfloat16>(padded[0]).bits);
  }
}

template <class T>
void expect_filled(double with) {
  for (const int64_t count : {0, 1, 17, 40000}) {
    std::vector<T> y(static_cast<size_t>(count));
    fill(context(), y.data(), with, count);
    for (const T x : y) {
      if constexpr (std::is_integral_v<T>) {
        ASSERT_EQ(x, static_cast<T>(with));
      } else {
        ASSERT_EQ(value(x), with);
      }
    }
  }
}

TEST(Fill, EveryType) {
  expect_filled<float>(-1.5);
  expect_filled<bfloat16>(-1.5);
  expect_filled<float16>(-1.5);
  expect_filled<double>(-1.5);
  expect_filled<int32_t>(-7);
  expect_filled<int64_t>(1e12);
}

}  // namespace
}  // namespace subspect::kernels::test
