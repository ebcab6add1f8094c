// Element-wise CUDA kernels, run by the shim, against the CPU kernels.
#include "kernels/elementwise.h"

#include <cmath>
#include <limits>

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

SIMT_SUITE(SimtElementwise);

TYPED_TEST(SimtElementwise, AddEqualsCpu) {
  using T = TypeParam;
  for (const int64_t count : {1, 7, 8, 256, 1031, 4104}) {
    const std::vector<T> a = random_values<T>(count, 1);
    const std::vector<T> b = random_values<T>(count, 2);
    std::vector<T> y(a.size());
    add<Cpu, T>(context(), a.data(), b.data(), y.data(), count);
    this->for_each_schedule([&] {
      const DeviceBuffer<T> da(a), db(b), dy(y.size());
      add<Cuda, T>(gpu, da.data(), db.data(), dy.data(), count);
      expect_same(dy, y);
      add<Cuda, T>(gpu, da.data(), db.data(), da.data(), count);  // in place
      expect_same(da, y);
    });
  }
}

TYPED_TEST(SimtElementwise, UnalignedRowsEqualCpu) {
  using T = TypeParam;
  constexpr int64_t count = 264;
  const std::vector<T> a = random_values<T>(count + 1, 1);
  std::vector<T> y(count);
  add<Cpu, T>(context(), a.data() + 1, a.data(), y.data(), count);
  this->for_each_schedule([&] {
    const DeviceBuffer<T> da(a), dy(y.size());
    add<Cuda, T>(gpu, da.data() + 1, da.data(), dy.data(), count);
    expect_same(dy, y);
  });
}

TYPED_TEST(SimtElementwise, ScaleEqualsCpu) {
  using T = TypeParam;
  for (const int64_t count : {1, 16, 1031, 2048}) {
    const std::vector<T> x = random_values<T>(count, 1);
    std::vector<T> y(x.size());
    scale<Cpu, T>(context(), x.data(), -1.7F, y.data(), count);
    this->for_each_schedule([&] {
      const DeviceBuffer<T> dx(x), dy(y.size());
      scale<Cuda, T>(gpu, dx.data(), -1.7F, dy.data(), count);
      expect_same(dy, y);
    });
  }
}

TYPED_TEST(SimtElementwise, NothingToDoLaunchesNothing) {
  using T = TypeParam;
  EXPECT_NO_THROW((add<Cuda, T>(gpu, nullptr, nullptr, nullptr, 0)));
  EXPECT_NO_THROW((scale<Cuda, T>(gpu, nullptr, 1, nullptr, 0)));
  EXPECT_NO_THROW((fill<Cuda, T>(gpu, nullptr, 1, 0)));
  EXPECT_NO_THROW((cast<Cuda, T, float16>(gpu, nullptr, nullptr, 0)));
}

template <class From, class To>
struct Conversion {
  using Source = From;
  using Target = To;
};

template <class Pair>
class SimtCast : public SimtCase {};
using Conversions =
    ::testing::Types<Conversion<float, float>, Conversion<float, bfloat16>, Conversion<float, float16>,
                     Conversion<float, double>, Conversion<bfloat16, float>, Conversion<bfloat16, bfloat16>,
                     Conversion<bfloat16, float16>, Conversion<bfloat16, double>, Conversion<float16, float>,
                     Conversion<float16, bfloat16>, Conversion<float16, float16>, Conversion<float16, double>,
                     Conversion<double, float>, Conversion<double, bfloat16>, Conversion<double, float16>,
                     Conversion<double, double>>;
TYPED_TEST_SUITE(SimtCast, Conversions);

/// Every bit pattern of 2-byte types; of the others, numbers of all sizes, ties, and what is not a number.
template <class T>
std::vector<T> interesting() {
  std::vector<T> values;
  if constexpr (sizeof(T) == 2) {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) values.push_back({static_cast<uint16_t>(bits)});
  } else {
    for (int exponent = -60; exponent < 60; ++exponent) {
      for (const double mantissa :
           {1.0, 1.00390625, 1.001953125, 1.01171875, 1.00048828125, 1.3, 1.9999999, 1.0 + 0x1p-30,
            // next to the ties of bfloat16 and of float16, nearer than a float can tell
            1.00390625 - 0x1p-30, 1.01171875 + 0x1p-30, 1.00048828125 - 0x1p-30, 1.00146484375 + 0x1p-30}) {
        values.push_back(static_cast<T>(std::ldexp(mantissa, exponent)));
        values.push_back(static_cast<T>(-std::ldexp(mantissa, exponent)));
      }
    }
    for (const double value : {0.0, -0.0, 65504.0, 65519.0, 65520.0, 1e30, 3.39e38, 1e300, -1e300})
      values.push_back(static_cast<T>(value));
    values.push_back(std::numeric_limits<T>::infinity());
    values.push_back(-std::numeric_limits<T>::infinity());
    values.push_back(std::numeric_limits<T>::quiet_NaN());
  }
  return values;
}

TYPED_TEST(SimtCast, EqualsCpu) {
  using From = typename TypeParam::Source;
  using To = typename TypeParam::Target;
  std::vector<From> x = interesting<From>();
  for (int ragged = 0; ragged < 2; ++ragged, x.pop_back()) {  // counts that do and do not divide by 4
    const auto count = static_cast<int64_t>(x.size());
    std::vector<To> y(x.size());
    cast<Cpu, From, To>(context(), x.data(), y.data(), count);
    set_schedule(7);
    const DeviceBuffer<From> dx(x);
    const DeviceBuffer<To> dy(y.size());
    cast<Cuda, From, To>(gpu, dx.data(), dy.data(), count);
    expect_same(dy, y);
  }
}

template <class T>
class SimtFill : public SimtCase {};
using FillTypes = ::testing::Types<float, bfloat16, float16, double, int32_t, int64_t>;
TYPED_TEST_SUITE(SimtFill, FillTypes);

TYPED_TEST(SimtFill, EqualsCpu) {
  using T = TypeParam;
  for (const int64_t count : {1, 255, 1031}) {
    std::vector<T> y(static_cast<size_t>(count));
    fill<Cpu, T>(context(), y.data(), -3.0, count);
    this->for_each_schedule([&] {
      const DeviceBuffer<T> dy(y.size());
      fill<Cuda, T>(gpu, dy.data(), -3.0, count);
      expect_same(dy, y);
    });
  }
}

}  // namespace
}  // namespace subspect::kernels::test
