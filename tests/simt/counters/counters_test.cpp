// The counters of the shim: micro kernels with counts that are predicted from their text, planted faults, and the same
// counts under every order of threads.
#include "tests/simt/counters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "kernels/attention.h"
#include "kernels/rms_norm.h"
#include "kernels/sampling.h"
#include "tests/simt/counters/micro_kernels.h"
#include "tests/simt/device.h"
#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

using simt::LaunchCounts;
using simt::Requests;
using simt::Traffic;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<LaunchCounts> count_launches(const std::function<void()>& run) {
  simt::start_counting();
  try {
    run();
  } catch (...) {
    simt::stop_counting();
    throw;
  }
  return simt::stop_counting();
}

LaunchCounts count(const std::function<void()>& run) {
  return count_launches(run).at(0);
}

Requests sum_of(const LaunchCounts& launch, Traffic traffic) {
  Requests sum;
  for (const simt::SiteCounts& site : launch.sites) {
    if (site.traffic == traffic) sum += site.requests;
  }
  return sum;
}

std::vector<int64_t> numbers(const Requests& r) {
  return {r.requests, r.lanes, r.sectors, r.least_sectors, r.wavefronts, r.least_wavefronts, r.repeated_atomics};
}

/// Everything that is counted, in one line per launch and site.
std::string text_of(const std::vector<LaunchCounts>& launches) {
  std::string text;
  const auto add = [&text](const std::vector<int64_t>& values) {
    for (const int64_t value : values) text += std::to_string(value) + " ";
    text += "\n";
  };
  for (const LaunchCounts& l : launches) {
    text += l.kernel + " ";
    add({l.blocks, l.threads, static_cast<int64_t>(l.shared_bytes), l.read_bytes, l.written_bytes, l.block_bytes,
         l.ldmatrix, l.mma, l.shuffles, l.barriers, l.functions});
    for (const simt::SiteCounts& site : l.sites) add(numbers(site.requests));
  }
  return text;
}

struct LoadCase {
  int stride;
  int offset;
  int64_t sectors;
};

class StridedLoad : public ::testing::TestWithParam<LoadCase> {};

TEST_P(StridedLoad, TouchesTheSectorsOfItsLanes) {
  const DeviceBuffer<float> x(zeros<float>(2048));
  const DeviceBuffer<float> y(32);
  const LoadCase& c = GetParam();
  const LaunchCounts launch = count([&] { micro::run_strided_load(x.data(), y.data(), c.stride, c.offset); });
  const int64_t distinct = c.stride == 0 ? 1 : 4;
  EXPECT_THAT(numbers(sum_of(launch, Traffic::device_read)), ElementsAre(1, 32, c.sectors, distinct, 0, 0, 0));
  EXPECT_THAT(numbers(sum_of(launch, Traffic::device_write)), ElementsAre(1, 32, 4, 4, 0, 0, 0));
  EXPECT_EQ(launch.read_bytes, 32 * c.sectors);
  EXPECT_EQ(launch.written_bytes, 128);
  EXPECT_EQ(launch.block_bytes, launch.read_bytes + launch.written_bytes);
}

TEST(SimtCounters, WhatSeveralBlocksReadCountsOnceForEachAndOnceForTheLaunch) {
  const DeviceBuffer<uint16_t> q(std::vector<uint16_t>(256 * 16));
  const DeviceBuffer<float> sums(256 * 8);
  const LaunchCounts launch = count([&] { micro::run_scores(q.data(), q.data(), sums.data(), 256, false); });
  EXPECT_EQ(launch.read_bytes, 256 * 16 * 2);
  EXPECT_EQ(launch.written_bytes, 256 * 8 * 4);
  EXPECT_EQ(launch.block_bytes, 4 * launch.read_bytes + launch.written_bytes);
}

INSTANTIATE_TEST_SUITE_P(SimtCounters, StridedLoad,
                         ::testing::Values(LoadCase{1, 0, 4}, LoadCase{1, 1, 5}, LoadCase{0, 0, 1}, LoadCase{2, 0, 8},
                                           LoadCase{3, 0, 12}, LoadCase{8, 0, 32}, LoadCase{32, 7, 32}),
                         [](const auto& instance) {
                           return "Stride" + std::to_string(instance.param.stride) + "Offset" +
                                  std::to_string(instance.param.offset);
                         });

TEST(SimtCounters, SixteenBytesALaneAreOneRequest) {
  const DeviceBuffer<float> x(zeros<float>(128));
  const DeviceBuffer<float> y(128);
  const LaunchCounts wide = count([&] { micro::run_wide_copy(x.data(), y.data(), false); });
  EXPECT_THAT(numbers(sum_of(wide, Traffic::device_read)), ElementsAre(1, 32, 16, 16, 0, 0, 0));
  EXPECT_THAT(numbers(sum_of(wide, Traffic::device_write)), ElementsAre(1, 32, 16, 16, 0, 0, 0));
}

TEST(SimtCounters, ScalarStoresAskMoreAndTouchEverySectorEachTime) {
  const DeviceBuffer<float> x(zeros<float>(128));
  const DeviceBuffer<float> y(128);
  const LaunchCounts scalar = count([&] { micro::run_wide_copy(x.data(), y.data(), true); });
  EXPECT_THAT(numbers(sum_of(scalar, Traffic::device_write)), ElementsAre(4, 128, 64, 16, 0, 0, 0));
  EXPECT_EQ(scalar.written_bytes, 512);
}

TEST(SimtCounters, ATileWithoutPaddingConflicts) {
  const DeviceBuffer<float> x(zeros<float>(1024));
  const DeviceBuffer<float> y(1024);
  const LaunchCounts padded = count([&] { micro::run_tile_transpose(x.data(), y.data(), true); });
  EXPECT_THAT(numbers(sum_of(padded, Traffic::shared_read)), ElementsAre(32, 1024, 0, 0, 32, 32, 0));
  EXPECT_EQ(padded.shared_bytes, 32 * 33 * 4);
  const LaunchCounts plain = count([&] { micro::run_tile_transpose(x.data(), y.data(), false); });
  EXPECT_THAT(numbers(sum_of(plain, Traffic::shared_read)), ElementsAre(32, 1024, 0, 0, 1024, 32, 0));
  EXPECT_THAT(numbers(sum_of(plain, Traffic::shared_write)), ElementsAre(32, 1024, 0, 0, 32, 32, 0));
}

TEST(SimtCounters, WideSharedReadsGoInGroupsOfLanes) {
  const DeviceBuffer<float> y(128);
  const auto reads = [&](int width, int stride) {
    return numbers(sum_of(count([&] { micro::run_shared_vectors(y.data(), width, stride); }), Traffic::shared_read));
  };
  EXPECT_THAT(reads(2, 2), ElementsAre(1, 32, 0, 0, 2, 2, 0));
  EXPECT_THAT(reads(2, 4), ElementsAre(1, 32, 0, 0, 4, 2, 0));
  EXPECT_THAT(reads(2, 0), ElementsAre(1, 32, 0, 0, 2, 2, 0));
  EXPECT_THAT(reads(4, 4), ElementsAre(1, 32, 0, 0, 4, 4, 0));
  EXPECT_THAT(reads(4, 8), ElementsAre(1, 32, 0, 0, 8, 4, 0));
  EXPECT_THAT(reads(4, 16), ElementsAre(1, 32, 0, 0, 16, 4, 0));
}

TEST(SimtCounters, LanesThatLeaveALoopEarlyWait) {
  const DeviceBuffer<float> x(zeros<float>(1024));
  const DeviceBuffer<float> y(32);
  const LaunchCounts launch = count([&] { micro::run_triangle(x.data(), y.data()); });
  const Requests reads = sum_of(launch, Traffic::device_read);
  EXPECT_EQ(reads.requests, 31);
  EXPECT_EQ(reads.lanes, 31 * 32 / 2);
  EXPECT_EQ(sum_of(launch, Traffic::device_write).requests, 1);
}

TEST(SimtCounters, LanesThatSkipATurnMakeRequestsOfTheirOwn) {
  const DeviceBuffer<float> x(zeros<float>(256));
  const DeviceBuffer<float> z(zeros<float>(32));
  const DeviceBuffer<float> y(32);
  const LaunchCounts launch = count([&] { micro::run_divergent(x.data(), z.data(), y.data()); });
  const Requests reads = sum_of(launch, Traffic::device_read);
  EXPECT_EQ(reads.requests, 8 + 2);
  EXPECT_EQ(reads.lanes, 8 * 16 + 32);
  EXPECT_EQ(sum_of(launch, Traffic::device_write).requests, 1);
}

TEST(SimtCounters, CallsAreRunForEachGroupOfLanesAndMeetAfterwards) {
  const DeviceBuffer<float> x(zeros<float>(128));
  const DeviceBuffer<float> y(32);
  const LaunchCounts launch = count([&] { micro::run_calls(x.data(), y.data()); });
  EXPECT_EQ(sum_of(launch, Traffic::device_read).lanes, 32);
  EXPECT_THAT(numbers(sum_of(launch, Traffic::device_write)), ElementsAre(1, 32, 4, 4, 0, 0, 0));
}

TEST(SimtCounters, AtomicsAtOneAddressWait) {
  const DeviceBuffer<int32_t> counters(std::vector<int32_t>(4));
  const DeviceBuffer<int32_t> copies(4);
  const LaunchCounts launch = count([&] { micro::run_atomics(counters.data(), copies.data()); });
  EXPECT_THAT(numbers(sum_of(launch, Traffic::device_atomic)), ElementsAre(1, 32, 1, 1, 0, 0, 28));
  EXPECT_THAT(numbers(sum_of(launch, Traffic::shared_atomic)), ElementsAre(1, 32, 0, 0, 1, 1, 28));
  EXPECT_THAT(copies.values(), ElementsAre(8, 8, 8, 8));
}

TEST(SimtCounters, ACopyThatBringsZerosReadsNothing) {
  const DeviceBuffer<float> x(zeros<float>(128));
  const DeviceBuffer<float> y(128);
  const LaunchCounts launch = count([&] { micro::run_async_copy(x.data(), y.data(), 24); });
  EXPECT_THAT(numbers(sum_of(launch, Traffic::device_copy)), ElementsAre(1, 24, 12, 12, 0, 0, 0));
  EXPECT_THAT(numbers(sum_of(launch, Traffic::shared_write)), ElementsAre(1, 32, 0, 0, 4, 4, 0));
  EXPECT_THAT(numbers(sum_of(launch, Traffic::shared_read)), ElementsAre(1, 32, 0, 0, 4, 4, 0));
}

TEST(SimtCounters, CollectivesBarriersAndFunctionsAreCounted) {
  const DeviceBuffer<float> y(64);
  const LaunchCounts launch = count([&] { micro::run_collectives(y.data()); });
  EXPECT_EQ(launch.shuffles, 2 * 3);
  EXPECT_EQ(launch.barriers, 2);
  EXPECT_EQ(launch.functions, 64 * 5);
  EXPECT_EQ(launch.kernel, "collectives");
  EXPECT_THAT(simt::functions_of({launch.function}), ElementsAre("micro::collectives_kernel"));
}

TEST(SimtCounters, LdmatrixTakesAWavefrontForEachMatrixWithoutConflicts) {
  const DeviceBuffer<uint16_t> a(std::vector<uint16_t>(256));
  const DeviceBuffer<float> d(128);
  // Rows of 32, 48 and 128 bytes: 8 of them lie in 2, all, and one of the 8 groups of 4 banks.
  const std::vector<std::pair<int, int64_t>> expected = {{16, 8}, {24, 4}, {64, 32}};
  for (const auto& [stride, wavefronts] : expected) {
    SCOPED_TRACE(stride);
    const LaunchCounts launch = count([&, s = stride] { micro::run_matrix(a.data(), d.data(), s); });
    EXPECT_EQ(launch.ldmatrix, 1);
    EXPECT_EQ(launch.mma, 1);
    EXPECT_THAT(numbers(sum_of(launch, Traffic::shared_read)), ElementsAre(1, 32, 0, 0, wavefronts, 4, 0));
  }
}

TEST(SimtCounters, AScoreOfKeysThatNoQuerySeesIsSeen) {
  const DeviceBuffer<uint16_t> q(std::vector<uint16_t>(256 * 16));
  const DeviceBuffer<float> sums(256 * 8);
  const auto mma = [&](bool causal_skip) {
    return count([&] { micro::run_scores(q.data(), q.data(), sums.data(), 256, causal_skip); }).mma;
  };
  EXPECT_EQ(mma(true), 4 * 8 * (1 + 2 + 3 + 4));
  EXPECT_EQ(mma(false), 4 * 8 * 16);
}

TEST(SimtCounters, KeysReadByColumnWasteSectors) {
  const DeviceBuffer<uint16_t> k(std::vector<uint16_t>(32 * 16));
  const DeviceBuffer<uint16_t> y(32 * 16);
  const auto reads = [&](bool by_column) {
    const LaunchCounts launch = count([&] { micro::run_key_tile(k.data(), y.data(), by_column); });
    EXPECT_EQ(launch.read_bytes, 32 * 16 * 2);
    return numbers(sum_of(launch, by_column ? Traffic::device_read : Traffic::device_copy));
  };
  EXPECT_THAT(reads(false), ElementsAre(2, 64, 32, 32, 0, 0, 0));
  EXPECT_THAT(reads(true), ElementsAre(16, 512, 16 * 32, 16 * 2, 0, 0, 0));
}

TEST(SimtCounters, WhatNvccWouldSplitIsAnError) {
  const DeviceBuffer<float> x(zeros<float>(256));
  const DeviceBuffer<float> y(256);
  for (const bool pair : {false, true}) {
    try {
      count([&] { micro::run_split_copy(x.data(), y.data(), pair); });
      ADD_FAILURE() << "not reported";
    } catch (const simt::Failure& failure) {
      EXPECT_THAT(failure.what(), HasSubstr("nvcc would split"));
      EXPECT_THAT(failure.what(), HasSubstr("micro_kernels.cu:"));
    }
  }
}

TEST(SimtCounters, AKernelThatIsNotBuiltForItIsAnError) {
  simt::start_counting();
  EXPECT_THROW(simt::run(
                   "plain", {1, 32, 0}, [](void*) {}, nullptr),
               simt::Failure);
  EXPECT_TRUE(simt::stop_counting().empty());
}

TEST(SimtCounters, SitesHaveLines) {
  const DeviceBuffer<float> x(zeros<float>(128));
  const DeviceBuffer<float> y(128);
  const LaunchCounts launch = count([&] { micro::run_wide_copy(x.data(), y.data(), false); });
  ASSERT_FALSE(launch.sites.empty());
  EXPECT_THAT(simt::places_of({launch.sites.front().site}).front(), HasSubstr("platform.h:"));
  EXPECT_THAT(simt::places_of({launch.sites.front().site}).front(), HasSubstr("micro_kernels.cu:"));
}

class SimtCountersOf : public SimtCase {
 protected:
  static void expect_steady(const std::function<void()>& run, bool same_order = false) {
    std::string first;
    for (uint64_t seed = 1; seed <= 8; ++seed) {
      set_schedule(same_order ? 1 : seed, same_order || seed % 2 != 0 ? 0 : 13);
      const std::string text = text_of(count_launches(run));
      if (first.empty()) first = text;
      EXPECT_EQ(text, first) << "seed " << seed;
    }
    EXPECT_GT(first.size(), 40U);
  }
};

TEST_F(SimtCountersOf, NormsAreTheSameUnderEverySeed) {
  const DeviceBuffer<bfloat16> x(random_values<bfloat16>(5 * 264, 1));
  const DeviceBuffer<bfloat16> weight(random_values<bfloat16>(264, 2));
  const DeviceBuffer<bfloat16> y(5 * 264);
  const DeviceBuffer<float> inv_rms(5);
  expect_steady([&] {
    rms_norm_forward(gpu, RmsNormForwardParams<bfloat16>{x.data(), nullptr, weight.data(), nullptr, y.data(),
                                                         inv_rms.data(), 5, 264, 1e-6F});
  });
}

TEST_F(SimtCountersOf, AttentionIsTheSameUnderEverySeed) {
  const DeviceBuffer<bfloat16> qkv(random_values<bfloat16>(70 * 3 * 64, 1));
  const DeviceBuffer<bfloat16> out(70 * 64);
  const DeviceBuffer<int32_t> cu_seqlens(std::vector<int32_t>{0, 13, 70});
  const AttentionShape shape{cu_seqlens.data(), 2, 70, 57, 1, 1, 64, 0.125F, 0};
  expect_steady([&] {
    attention_forward(gpu, AttentionForwardParams<bfloat16>{shape, qkv.data(), qkv.data() + 64, qkv.data() + 128, 192,
                                                            192, 192, out.data(), 64, nullptr});
  });
}

/// Atomics give out places in a list, so where lanes write depends on who comes first.
TEST_F(SimtCountersOf, SamplingIsTheSameUnderOneSeed) {
  const DeviceBuffer<float> logits(random_values<float>(2 * 1000, 1));
  const DeviceBuffer<float> uniform(std::vector<float>{0.3F, 0.9F});
  const DeviceBuffer<int32_t> ids(2);
  SampleParams p{logits.data(), uniform.data(), ids.data(), 2, 1000, 0.8F, 50, 0.9F, nullptr};
  const DeviceBuffer<std::byte> workspace(static_cast<size_t>(sample_workspace_bytes<Cuda>(p)));
  p.workspace = workspace.data();
  expect_steady([&] { sample(gpu, p); }, true);
}

}  // namespace
}  // namespace subspect::kernels::test
