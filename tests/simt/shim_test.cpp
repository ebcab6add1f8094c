// The shim itself: planted faults are reported, under every seed that is tried, and correct kernels are not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>

#include "kernels/types.h"
#include "tests/kernels/support.h"
#include "tests/simt/device.h"
#include "tests/simt/fault_kernels.h"
#include "tests/simt/simt.h"

namespace subspect::kernels::test {
namespace {

using faults::Fault;
using ::testing::HasSubstr;

constexpr uint64_t seeds = 10;

/// Runs `body` under several seeds, without and with yields inside of accesses.
void for_each_schedule(const std::function<void()>& body) {
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    for (const int yield_period : {0, 7}) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", yield period " + std::to_string(yield_period));
      simt::set_options({seed, yield_period});
      body();
    }
  }
}

std::vector<float> counting(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  return values;
}

struct Planted {
  const char* name;
  void (*run)(const float* x, float* y, Fault fault);
  size_t inputs;
  size_t outputs;
  Fault fault;
  const char* message;
};

void PrintTo(const Planted& planted, std::ostream* out) {
  *out << planted.name;
}

class PlantedFault : public ::testing::TestWithParam<Planted> {};

TEST_P(PlantedFault, IsReported) {
  const Planted& planted = GetParam();
  for_each_schedule([&] {
    const simt::DeviceBuffer<float> x(counting(planted.inputs));
    const simt::DeviceBuffer<float> y(planted.outputs);
    try {
      planted.run(x.data(), y.data(), planted.fault);
      ADD_FAILURE() << "not reported";
    } catch (const simt::Failure& failure) {
      EXPECT_THAT(failure.what(), HasSubstr(planted.message));
    }
  });
}

TEST_P(PlantedFault, CorrectVersionIsNot) {
  const Planted& planted = GetParam();
  for_each_schedule([&] {
    const simt::DeviceBuffer<float> x(counting(planted.inputs));
    const simt::DeviceBuffer<float> y(planted.outputs);
    EXPECT_NO_THROW(planted.run(x.data(), y.data(), Fault::none));
    for (const float value : y.values()) EXPECT_FALSE(std::isnan(value));
  });
}

using faults::run_exchange;
using faults::run_half_warps;
using faults::run_packs;
using faults::run_pipeline;
using faults::run_reduction;

INSTANTIATE_TEST_SUITE_P(
    Simt, PlantedFault,
    ::testing::Values(
        Planted{"DroppedSecondBarrier", run_reduction, 128, 128, Fault::dropped_second_barrier, "data race"},
        Planted{"MissingSyncWarp", run_exchange, 64, 64, Fault::missing_sync_warp, "shared memory, "},
        Planted{"DroppedBarrier", run_reduction, 128, 128, Fault::dropped_barrier, "shared memory, "},
        Planted{"DeviceOutOfBounds", run_reduction, 128, 128, Fault::device_out_of_bounds, "out of bounds: device"},
        Planted{"MisalignedPack", run_packs, 128, 128, Fault::misaligned_pack, "misaligned address: device"},
        Planted{"SharedOutOfBounds", run_reduction, 128, 128, Fault::shared_out_of_bounds, "out of bounds: shared"},
        Planted{"ArrayOutOfBounds", run_packs, 128, 128, Fault::array_out_of_bounds, "out of bounds: element 4"},
        Planted{"WideShift", run_packs, 128, 128, Fault::wide_shift, "shift by 32 bits"},
        Planted{"UninitialisedShared", run_reduction, 128, 128, Fault::uninitialised_shared, "uninitialised read"},
        Planted{"OverwrittenCopyBuffer", run_pipeline, 512, 128, Fault::overwritten_copy_buffer, "shared memory, "},
        Planted{"EarlyCopyRead", run_pipeline, 512, 128, Fault::early_copy_read, "cp.async in flight"},
        Planted{"ForgottenCopyWait", run_pipeline, 512, 128, Fault::forgotten_copy_wait, "cp.async never waited for"},
        Planted{"DivergentBarrier", run_reduction, 128, 128, Fault::divergent_barrier, "divergent barrier"},
        Planted{"TwoBarriers", run_reduction, 128, 128, Fault::two_barriers, "divergent barrier"},
        Planted{"ShuffleOutsideMask", run_half_warps, 32, 32, Fault::shuffle_outside_mask, "not in the mask"},
        Planted{"DivergentCollective", run_half_warps, 32, 32, Fault::divergent_collective, "collective"},
        Planted{"ExitedLane", run_half_warps, 32, 32, Fault::exited_lane, "lane"}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(SimtShim, NamesThePlacesOfARace) {
  simt::set_options({3, 0});
  const simt::DeviceBuffer<float> x(counting(128));
  const simt::DeviceBuffer<float> y(128);
  try {
    run_reduction(x.data(), y.data(), Fault::dropped_second_barrier);
    FAIL() << "not reported";
  } catch (const simt::Failure& failure) {
    EXPECT_THAT(failure.what(), HasSubstr("kernel reduction"));
    EXPECT_THAT(failure.what(), HasSubstr("fault_kernels.cu:"));
  }
}

TEST(SimtShim, ReadsPastAShortBufferAreReported) {
  simt::set_options({1, 0});
  const simt::DeviceBuffer<float> x(counting(127));
  const simt::DeviceBuffer<float> y(128);
  EXPECT_THROW(run_reduction(x.data(), y.data(), Fault::none), simt::Failure);
}

TEST(SimtShim, BlocksThatShareAnElementRaceUnlessAtomic) {
  for_each_schedule([] {
    const simt::DeviceBuffer<int32_t> counter(std::vector<int32_t>{5});
    EXPECT_THROW(faults::run_counter(counter.data(), Fault::blocks_race), simt::Failure);
    const simt::DeviceBuffer<int32_t> atomic(std::vector<int32_t>{5});
    faults::run_counter(atomic.data(), Fault::none);
    EXPECT_EQ(atomic.values()[0], 9);
  });
}

TEST(SimtShim, FreedMemoryIsOutOfBounds) {
  const simt::DeviceBuffer<float> x(counting(128));
  float* freed = nullptr;
  {
    const simt::DeviceBuffer<float> y(128);
    freed = y.data();
  }
  EXPECT_THROW(run_reduction(x.data(), freed, Fault::none), simt::Failure);
}

TEST(SimtShim, AccessesAreInstrumented) {
  const uint64_t before = simt::checked_accesses();
  const simt::DeviceBuffer<float> x(counting(128));
  const simt::DeviceBuffer<float> y(128);
  run_reduction(x.data(), y.data(), Fault::none);
  // Twice: 128 reads of x, 128 writes and 128 * 128 reads of shared memory; then 128 writes of y.
  EXPECT_EQ(simt::checked_accesses() - before, 2 * (128 + 128 + 128 * 128) + 128);
}

TEST(SimtShim, LaunchesBeyondTheLimitsFail) {
  EXPECT_THROW(simt::run(
                   "huge", {1, 1025, 0}, [](void*) {}, nullptr),
               simt::Failure);
  EXPECT_THROW(simt::run(
                   "none", {0, 32, 0}, [](void*) {}, nullptr),
               simt::Failure);
  EXPECT_THROW(simt::run(
                   "shared", {1, 32, 300 << 10}, [](void*) {}, nullptr),
               simt::Failure);
}

TEST(SimtShim, ReductionSumsInEverySchedule) {
  for_each_schedule([] {
    const simt::DeviceBuffer<float> x(counting(128));
    const simt::DeviceBuffer<float> y(128);
    run_reduction(x.data(), y.data(), Fault::none);
    for (const float value : y.values()) EXPECT_EQ(value, 2 * 127 * 64 + 128);
  });
}

TEST(SimtShim, HalfWarpsSumApart) {
  for_each_schedule([] {
    const simt::DeviceBuffer<float> x(counting(32));
    const simt::DeviceBuffer<float> y(32);
    run_half_warps(x.data(), y.data(), Fault::none);
    const std::vector<float> sums = y.values();
    for (size_t i = 0; i < 32; ++i) EXPECT_EQ(sums[i], i < 16 ? 120 : 376);
  });
}

TEST(SimtShim, PipelineSumsTiles) {
  for_each_schedule([] {
    const simt::DeviceBuffer<float> x(counting(512));
    const simt::DeviceBuffer<float> y(128);
    run_pipeline(x.data(), y.data(), Fault::none);
    const std::vector<float> sums = y.values();
    for (size_t i = 0; i < 128; ++i) EXPECT_EQ(sums[i], static_cast<float>(4 * ((i + 64) % 128) + 768));
  });
}

TEST(SimtShim, MmaOfMatricesLoadedByLdmatrixIsTheProduct) {
  const std::vector<bfloat16> a = random_values<bfloat16>(16 * 16, 1);
  const std::vector<bfloat16> b = random_values<bfloat16>(16 * 8, 2);
  const auto bits = [](const std::vector<bfloat16>& values) {
    std::vector<uint16_t> result;
    for (const bfloat16 value : values) result.push_back(value.bits);
    return result;
  };
  for_each_schedule([&] {
    const simt::DeviceBuffer<uint16_t> device_a(bits(a));
    const simt::DeviceBuffer<uint16_t> device_b(bits(b));
    const simt::DeviceBuffer<float> d(16 * 8);
    faults::run_mma(device_a.data(), device_b.data(), d.data());
    Doubles expected(16 * 8, 0.0);
    for (size_t i = 0; i < 16; ++i) {
      for (size_t j = 0; j < 8; ++j) {
        for (size_t k = 0; k < 16; ++k) {
          expected[i * 8 + j] +=
              static_cast<double>(to_float(a[i * 16 + k])) * static_cast<double>(to_float(b[k * 8 + j]));
        }
      }
    }
    expect_close(d.values(), expected);
  });
}

}  // namespace
}  // namespace subspect::kernels::test
