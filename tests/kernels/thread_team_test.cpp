// The thread team: every chunk once, nested and concurrent calls, teams of all sizes.
#include "kernels/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace subspect::kernels {
namespace {

TEST(ThreadTeam, RunsEveryChunkOnce) {
  for (const int threads : {1, 2, 3, 5, 8}) {
    ThreadTeam team(threads);
    EXPECT_EQ(team.size(), threads);
    for (const int64_t chunks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(chunks));
      team.for_each_chunk(chunks, [&](int64_t chunk) { ++calls[static_cast<size_t>(chunk)]; });
      for (const auto& count : calls) EXPECT_EQ(count.load(), 1);
    }
  }
}

TEST(ThreadTeam, WritesOfChunksAreVisibleAfterTheLoop) {
  ThreadTeam team(4);
  std::vector<int64_t> values(64);
  for (int64_t round = 1; round <= 2000; ++round) {
    team.for_each_chunk(64, [&](int64_t chunk) { values[static_cast<size_t>(chunk)] += chunk * round; });
  }
  for (int64_t i = 0; i < 64; ++i) EXPECT_EQ(values[static_cast<size_t>(i)], i * 2000 * 2001 / 2);
}

TEST(ThreadTeam, RangesCoverTheCount) {
  ThreadTeam team(3);
  for (const int64_t count : {0, 1, 10, 11, 12}) {
    std::vector<int> calls(static_cast<size_t>(count));
    team.for_each_range(count, 4, [&](int64_t begin, int64_t end) {
      EXPECT_LE(end - begin, 4);
      for (int64_t i = begin; i < end; ++i) ++calls[static_cast<size_t>(i)];
    });
    for (const int call : calls) EXPECT_EQ(call, 1);
  }
}

TEST(ThreadTeam, NestedLoopsRunSerially) {
  ThreadTeam team(3);
  std::atomic<int> total{0};
  std::atomic<int> elsewhere{0};
  team.for_each_chunk(6, [&](int64_t) {
    const auto self = std::this_thread::get_id();
    team.for_each_chunk(5, [&](int64_t) {
      ++total;
      if (std::this_thread::get_id() != self) ++elsewhere;
    });
  });
  EXPECT_EQ(total.load(), 30);
  EXPECT_EQ(elsewhere.load(), 0);
}

TEST(ThreadTeam, CallsFromSeveralThreadsAreSerialised) {
  ThreadTeam team(3);
  std::vector<int64_t> sums(4);
  std::vector<std::thread> callers;
  for (size_t caller = 0; caller < sums.size(); ++caller) {
    callers.emplace_back([&team, &sums, caller] {
      for (int round = 0; round < 300; ++round) {
        std::atomic<int64_t> sum{0};
        team.for_each_chunk(8, [&](int64_t chunk) { sum += chunk; });
        sums[caller] += sum.load();
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const int64_t sum : sums) EXPECT_EQ(sum, 300 * 28);
}

TEST(ThreadTeam, WakesSleepingThreads) {
  ThreadTeam team(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> total{0};
    team.for_each_chunk(10, [&](int64_t) { ++total; });
    EXPECT_EQ(total.load(), 10);
  }
}

}  // namespace
}  // namespace subspect::kernels
