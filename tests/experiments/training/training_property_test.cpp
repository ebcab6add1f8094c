// What holds for all lengths, batches and seeds: nothing is lost or doubled, capacities are kept, order is
// reproducible.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <numeric>

#include "experiments/training/packing.h"

namespace subspect::experiments {
namespace {

using Groups = std::vector<std::vector<size_t>>;

std::vector<int64_t> arbitrary_lengths() {
  return *rc::gen::container<std::vector<int64_t>>(rc::gen::inRange<int64_t>(1, 300)).as("lengths");
}

int64_t total(const std::vector<size_t>& group, const std::vector<int64_t>& lengths) {
  return std::accumulate(group.begin(), group.end(), int64_t{0},
                         [&](int64_t sum, size_t index) { return sum + lengths[index]; });
}

void require_each_once(const Groups& groups, size_t count) {
  std::vector<int> seen(count);
  for (const auto& group : groups) {
    for (const size_t index : group) {
      RC_ASSERT(index < count);
      ++seen[index];
    }
  }
  RC_ASSERT(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
}

TEST(PackingProperty, KeepsTheCapacityAndWastesAtMostHalf) {
  EXPECT_TRUE(rc::check([] {
    const std::vector<int64_t> lengths = arbitrary_lengths();
    const int64_t capacity = *rc::gen::inRange<int64_t>(1, 400).as("capacity");
    const Groups bins = pack_sequences(lengths, capacity);
    require_each_once(bins, lengths.size());
    int64_t not_half_full = 0;
    for (const auto& bin : bins) {
      RC_ASSERT(!bin.empty());
      RC_ASSERT(total(bin, lengths) <= capacity || bin.size() == 1U);
      not_half_full += 2 * total(bin, lengths) <= capacity;
    }
    RC_ASSERT(not_half_full <= 1);  // of first fit: two such bins would have been one
  }));
}

TEST(DealingProperty, SharesDifferByTheLongestSequenceAtMost) {
  EXPECT_TRUE(rc::check([] {
    const std::vector<int64_t> lengths = arbitrary_lengths();
    const int shares = *rc::gen::inRange(1, 9).as("shares");
    const Groups dealt = deal_sequences(lengths, shares);
    RC_ASSERT(dealt.size() == static_cast<size_t>(shares));
    require_each_once(dealt, lengths.size());
    std::vector<int64_t> totals;
    for (const auto& share : dealt) {
      RC_ASSERT(std::is_sorted(share.begin(), share.end()));
      totals.push_back(total(share, lengths));
    }
    const auto [least, most] = std::minmax_element(totals.begin(), totals.end());
    const int64_t longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
    RC_ASSERT(*most - *least <= longest);
  }));
}

TEST(ExampleOrderProperty, AnEpochIsAPermutationThatAnyStepFindsAlone) {
  EXPECT_TRUE(rc::check([] {
    const int64_t examples = *rc::gen::inRange<int64_t>(1, 60).as("examples");
    const int64_t batch = *rc::gen::inRange<int64_t>(1, 20).as("global batch");
    const auto seed = *rc::gen::arbitrary<uint64_t>().as("seed");
    const bool shuffle = *rc::gen::arbitrary<bool>().as("shuffle");
    const int64_t epoch = *rc::gen::inRange<int64_t>(0, 4).as("epoch");
    ExampleOrder order(examples, batch, shuffle, seed);
    std::vector<int64_t> seen;
    for (int64_t i = 0; i < order.steps_per_epoch(); ++i) {
      const int64_t step = epoch * order.steps_per_epoch() + i;
      const auto now = order.batch(step);
      RC_ASSERT(static_cast<int64_t>(now.size()) == std::min(batch, examples - i * batch));
      const std::vector<int64_t> expected(now.begin(), now.end());
      ExampleOrder resumed(examples, batch, shuffle, seed);
      const auto again = resumed.batch(step);
      RC_ASSERT(std::equal(again.begin(), again.end(), expected.begin(), expected.end()));
      seen.insert(seen.end(), expected.begin(), expected.end());
    }
    std::sort(seen.begin(), seen.end());
    for (int64_t i = 0; i < examples; ++i) RC_ASSERT(seen[static_cast<size_t>(i)] == i);
  }));
}

}  // namespace
}  // namespace subspect::experiments
