// Packing of sequences into micro-batches, and the order of examples.
#include "experiments/training/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "runtime/error.h"
#include "runtime/random.h"

namespace subspect::experiments {
namespace {

TEST(Packing, EverySequenceOnceAndWithinTheCapacity) {
  runtime::Random random(1);
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<int64_t> lengths(1 + random.below(60));
    for (int64_t& length : lengths) length = 1 + static_cast<int64_t>(random.below(120));
    const int64_t capacity = 50 + static_cast<int64_t>(random.below(200));
    std::multiset<size_t> seen;
    for (const std::vector<size_t>& bin : pack_sequences(lengths, capacity)) {
      int64_t total = 0;
      for (const size_t index : bin) total += lengths[index];
      EXPECT_TRUE(total <= capacity || bin.size() == 1);
      seen.insert(bin.begin(), bin.end());
    }
    ASSERT_EQ(seen.size(), lengths.size());
    for (size_t i = 0; i < lengths.size(); ++i) ASSERT_EQ(seen.count(i), 1U);
  }
}

TEST(Packing, FillsGapsWithShorterSequences) {
  const std::vector<int64_t> lengths = {3, 7, 5, 5, 10, 2};
  EXPECT_EQ(pack_sequences(lengths, 10), (std::vector<std::vector<size_t>>{{4}, {1, 0}, {2, 3}, {5}}));
}

TEST(Packing, SequencesBeyondTheCapacityStandAlone) {
  const std::vector<int64_t> lengths = {20, 1, 1};
  EXPECT_EQ(pack_sequences(lengths, 10), (std::vector<std::vector<size_t>>{{0}, {1, 2}}));
  EXPECT_THROW(pack_sequences(lengths, 0), runtime::Error);
}

std::vector<int64_t> epoch_of(ExampleOrder& order, int64_t epoch) {
  std::vector<int64_t> seen;
  for (int64_t i = 0; i < order.steps_per_epoch(); ++i) {
    const auto batch = order.batch(epoch * order.steps_per_epoch() + i);
    seen.insert(seen.end(), batch.begin(), batch.end());
  }
  return seen;
}

TEST(ExampleOrder, EachEpochIsAnotherPermutation) {
  ExampleOrder order(23, 5, true, 42);
  EXPECT_EQ(order.steps_per_epoch(), 5);
  EXPECT_EQ(order.batch(4).size(), 3U);  // what is left
  const std::vector<int64_t> first = epoch_of(order, 0);
  const std::vector<int64_t> second = epoch_of(order, 1);
  EXPECT_NE(first, second);
  for (std::vector<int64_t> epoch : {first, second}) {
    std::sort(epoch.begin(), epoch.end());
    for (int64_t i = 0; i < 23; ++i) EXPECT_EQ(epoch[static_cast<size_t>(i)], i);
  }
}

TEST(ExampleOrder, AResumedRunSeesTheSameBatches) {
  ExampleOrder straight(23, 5, true, 42);
  straight.batch(3);
  ExampleOrder resumed(23, 5, true, 42);
  const auto a = straight.batch(8);
  const auto b = resumed.batch(8);
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
  ExampleOrder other(23, 5, true, 43);
  const auto c = other.batch(8);
  EXPECT_FALSE(std::equal(a.begin(), a.end(), c.begin(), c.end()));
}

TEST(ExampleOrder, WithoutShufflingTheOrderIsTheFiles) {
  ExampleOrder order(4, 3, false, 42);
  EXPECT_EQ(epoch_of(order, 0), (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(epoch_of(order, 1), (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(Packing, DealsEveryoneAsManyTokens) {
  const std::vector<int64_t> lengths = {5, 90, 3, 40, 40, 7, 30, 60};
  const auto dealt = deal_sequences(lengths, 3);
  std::vector<int> seen(lengths.size());
  for (const std::vector<size_t>& share : dealt) {
    EXPECT_TRUE(std::is_sorted(share.begin(), share.end()));
    int64_t total = 0;
    for (const size_t index : share) {
      total += lengths[index];
      ++seen[index];
    }
    EXPECT_NEAR(static_cast<double>(total), 275.0 / 3, 10);
  }
  EXPECT_EQ(seen, std::vector<int>(lengths.size(), 1));
  EXPECT_EQ(deal_sequences(lengths, 1)[0], (std::vector<size_t>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(Packing, FewSequencesLeaveSharesEmpty) {
  const auto dealt = deal_sequences(std::vector<int64_t>{4, 9}, 4);
  EXPECT_EQ(dealt, (std::vector<std::vector<size_t>>{{1}, {0}, {}, {}}));
}

}  // namespace
}  // namespace subspect::experiments
