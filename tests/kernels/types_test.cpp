// Conversions of bfloat16 and float16.
#include "kernels/types.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace subspect::kernels {
namespace {

template <class T>
void expect_every_pattern_round_trips() {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const T value{static_cast<uint16_t>(bits)};
    const float wide = to_float(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(to_float(from_float<T>(wide))));
    } else {
      EXPECT_EQ(from_float<T>(wide).bits, value.bits);
      EXPECT_EQ(from_double<T>(static_cast<double>(wide)).bits, value.bits);
    }
  }
}

TEST(Types, EveryPatternRoundTrips) {
  expect_every_pattern_round_trips<bfloat16>();
  expect_every_pattern_round_trips<float16>();
}

TEST(Types, TiesGoToEven) {
  EXPECT_EQ(to_float(from_float<bfloat16>(1.0F + 0x1p-8F)), 1.0F);
  EXPECT_EQ(to_float(from_float<bfloat16>(1.0F + 3 * 0x1p-8F)), 1.0F + 0x1p-6F);
  EXPECT_EQ(to_float(from_float<float16>(1.0F + 0x1p-11F)), 1.0F);
  EXPECT_EQ(to_float(from_float<float16>(1.0F + 3 * 0x1p-11F)), 1.0F + 0x1p-9F);
}

TEST(Types, DoublesAreRoundedOnce) {
  // Just above a tie: rounding to float first would make it the tie, which goes down.
  for (const double sign : {1.0, -1.0}) {
    EXPECT_EQ(to_float(from_double<bfloat16>(sign * (1.0 + 0x1p-8 + 0x1p-40))),
              static_cast<float>(sign * (1 + 0x1p-7)));
    EXPECT_EQ(to_float(from_double<float16>(sign * (1.0 + 0x1p-11 + 0x1p-40))),
              static_cast<float>(sign * (1 + 0x1p-10)));
    EXPECT_EQ(to_float(from_double<bfloat16>(sign * (1.0 + 3 * 0x1p-8 - 0x1p-40))),
              static_cast<float>(sign * (1 + 0x1p-7)));
  }
  EXPECT_TRUE(std::isinf(to_float(from_double<bfloat16>(1e300))));
  EXPECT_TRUE(std::isnan(to_float(from_double<float16>(std::numeric_limits<double>::quiet_NaN()))));
  EXPECT_EQ(to_float(from_double<float16>(1e-300)), 0.0F);
}

TEST(Types, OverflowIsInfinity) {
  EXPECT_TRUE(std::isinf(to_float(from_float<float16>(65520.0F))));
  EXPECT_EQ(to_float(from_float<float16>(65519.0F)), 65504.0F);
  EXPECT_TRUE(std::isinf(to_float(from_float<bfloat16>(3.4e38F))));
}

}  // namespace
}  // namespace subspect::kernels
