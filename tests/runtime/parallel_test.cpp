// The loop on threads: every index once, and which exception comes out.
#include "runtime/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

namespace subspect::runtime {
namespace {

TEST(ParallelThreads, CallEveryIndexOnce) {
  for (const int threads : {0, 1, 2, 7}) {
    for (const size_t count : {size_t{0}, size_t{1}, size_t{5}, size_t{1000}}) {
      std::vector<int> calls(count, 0);
      parallel_for(count, threads, [&](size_t i) { ++calls[i]; });
      EXPECT_EQ(calls, std::vector<int>(count, 1)) << threads;
    }
  }
}

TEST(ParallelThreads, TheSmallestIndexThatThrowsIsReported) {
  for (int attempt = 0; attempt < 50; ++attempt) {
    std::string message;
    try {
      parallel_for(1000, 4, [](size_t i) {
        if (i % 100 == 37) throw std::runtime_error(std::to_string(i));
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    EXPECT_EQ(message, "37");
  }
}

TEST(ParallelThreads, NoCallBeginsAfterAFailure) {
  std::atomic<int> calls = 0;
  EXPECT_THROW(parallel_for(1000, 1,
                            [&](size_t i) {
                              ++calls;
                              if (i == 3) throw std::runtime_error("stop");
                            }),
               std::runtime_error);
  EXPECT_EQ(calls, 4);
}

}  // namespace
}  // namespace subspect::runtime
