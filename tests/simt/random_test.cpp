// Random fills on CUDA against the CPU: uniform numbers bit for bit, normal numbers within a few units in the last
// place.
#include "kernels/random.h"

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

template <class T>
class SimtRandom : public SimtCase {};
using RandomTypes = ::testing::Types<float, bfloat16, double>;
TYPED_TEST_SUITE(SimtRandom, RandomTypes);

double value_of(double x) {
  return x;
}
double value_of(float x) {
  return static_cast<double>(x);
}
double value_of(bfloat16 x) {
  return static_cast<double>(to_float(x));
}

constexpr int64_t offsets[] = {0, 1, 2, 3, 4, (int64_t{1} << 34) + 7};

TYPED_TEST(SimtRandom, UniformHasTheBitsOfTheCpu) {
  using T = TypeParam;
  for (const int64_t count : {1, 3, 4, 6, 1027, 2048}) {
    for (const int64_t offset : offsets) {
      std::vector<T> y(static_cast<size_t>(count));
      random_uniform<Cpu, T>(context(), {y.data(), count, 7, (uint64_t{5} << 33) + 3, offset, -0.3F, 1.9F});
      this->for_each_schedule([&] {
        const DeviceBuffer<T> dy(y.size());
        random_uniform<Cuda, T>(gpu, {dy.data(), count, 7, (uint64_t{5} << 33) + 3, offset, -0.3F, 1.9F});
        expect_same(dy, y);
      });
    }
  }
}

TYPED_TEST(SimtRandom, UnalignedTargetsHaveTheBitsOfTheCpu) {
  using T = TypeParam;
  std::vector<T> y(517);
  random_uniform<Cpu, T>(context(), {y.data(), 517, 7, 1, 0, 2.0F, 5.0F});
  this->for_each_schedule([&] {
    const DeviceBuffer<T> dy(y.size() + 1);
    random_uniform<Cuda, T>(gpu, {dy.data() + 1, 517, 7, 1, 0, 2.0F, 5.0F});
    const std::vector<T> actual = dy.values();
    EXPECT_TRUE(same_bits(std::vector<T>(actual.begin() + 1, actual.end()), y));
  });
}

TYPED_TEST(SimtRandom, NormalIsCloseToTheCpu) {
  using T = TypeParam;
  const double unit = std::is_same_v<T, bfloat16> ? epsilon<bfloat16> : epsilon<float>;
  for (const int64_t count : {1, 5, 1027, 4096}) {
    for (const int64_t offset : offsets) {
      std::vector<T> y(static_cast<size_t>(count));
      random_normal<Cpu, T>(context(), {y.data(), count, uint64_t{9} << 40, 3, offset, 0, 1.7F});
      this->for_each_schedule([&] {
        const DeviceBuffer<T> dy(y.size());
        random_normal<Cuda, T>(gpu, {dy.data(), count, uint64_t{9} << 40, 3, offset, 0, 1.7F});
        const std::vector<T> actual = dy.values();
        double worst = 0;
        for (size_t i = 0; i < y.size(); ++i) {
          worst = std::max(worst, std::abs(value_of(actual[i]) - value_of(y[i])) / std::abs(value_of(y[i])));
        }
        EXPECT_LE(worst, 4 * unit);
      });
    }
  }
}

TEST(SimtRandomMean, IsAdded) {
  std::vector<float> y(100);
  random_normal<Cpu, float>(context(), {y.data(), 100, 1, 2, 0, 40.0F, 0.5F});
  set_schedule(1);
  const DeviceBuffer<float> dy(y.size());
  random_normal<Cuda, float>(gpu, {dy.data(), 100, 1, 2, 0, 40.0F, 0.5F});
  expect_near(dy, y, 2);
}

/// More Philox blocks than the grid has threads.
TEST(SimtRandomLarge, EveryElementIsWrittenOnce) {
  constexpr int64_t count = 4 * 4096 * 256 + 4001;
  std::vector<bfloat16> y(count);
  random_uniform<Cpu, bfloat16>(context(), {y.data(), count, 1, 2, 2, 0, 1});
  set_schedule(1);
  const DeviceBuffer<bfloat16> dy(y.size());
  random_uniform<Cuda, bfloat16>(gpu, {dy.data(), count, 1, 2, 2, 0, 1});
  expect_same(dy, y);
}

TYPED_TEST(SimtRandom, NothingToDoLaunchesNothing) {
  EXPECT_NO_THROW((random_normal<Cuda, TypeParam>(gpu, {})));
  EXPECT_NO_THROW((random_uniform<Cuda, TypeParam>(gpu, {})));
}

}  // namespace
}  // namespace subspect::kernels::test
