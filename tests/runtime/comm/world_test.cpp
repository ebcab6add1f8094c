// How a process finds out that it is one of several ranks, and work beside a stream.
#include "runtime/comm/world.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "runtime/comm/side_work.h"
#include "tests/runtime/comm/thread_ranks.h"

namespace subspect::runtime::comm {
namespace {

class Launched : public ::testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  static void clear() {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) ::unsetenv(name);
  }
};

TEST_F(Launched, AloneWithoutALauncherAndWithOneRank) {
  EXPECT_EQ(launch().ranks, 1);
  ::setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
  EXPECT_EQ(launch().ranks, 1);
  EXPECT_TRUE(join_ranks()->alone());
}

TEST_F(Launched, LaunchersAreKnownByTheirVariables) {
  ::setenv("SLURM_STEP_NUM_TASKS", "3", 1);
  EXPECT_EQ(launch().ranks, 3);
  EXPECT_EQ(launch().launcher, "srun");
  ::setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  EXPECT_EQ(launch().ranks, 2);
  EXPECT_EQ(launch().launcher, "mpirun");
}

TEST(ThreadSideWork, RunsInOrderBesideTheStream) {
  const auto stream = Stream::open({}, 1);
  const auto ranks = alone();
  SideWork side(*stream, *ranks);
  std::vector<int> done;
  for (int i = 0; i < 20; ++i) side.run([&done, i](Stream&) { done.push_back(i); });
  side.join();
  ASSERT_EQ(done.size(), 20U);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(done[static_cast<size_t>(i)], i);
  side.join();
}

TEST(ThreadSideWork, AnExceptionReachesJoinAndDropsTheRest) {
  const auto stream = Stream::open({}, 1);
  const auto ranks = alone();
  SideWork side(*stream, *ranks);
  std::atomic<int> after = 0;
  side.run([](Stream&) { throw std::runtime_error("lost"); });
  for (int i = 0; i < 3; ++i) side.run([&](Stream&) { ++after; });
  EXPECT_THROW(side.join(), std::runtime_error);
  side.run([&](Stream&) { after = 10; });
  side.join();
  EXPECT_EQ(after, 10);
}

/// Destroying it while its work waits for a rank that never answers does not wait for that rank.
TEST(ThreadSideWork, WorkThatNobodyJoinsIsGivenUp) {
  tests::Mailboxes mail(2);
  tests::ThreadRank me(mail, 0);
  const auto stream = Stream::open({}, 1);
  SideWork side(*stream, me);
  side.run([&](Stream& beside) {
    const Message message{1, Tensor::zeros(beside, {4}, DType::float32)};
    me.exchange(beside, {}, {&message, 1});
  });
}

}  // namespace
}  // namespace subspect::runtime::comm
