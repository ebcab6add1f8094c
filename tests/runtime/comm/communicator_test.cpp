// Collectives: results on every number of ranks, and the order of their sums.
#include "runtime/comm/communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "runtime/error.h"
#include "tests/runtime/comm/thread_ranks.h"

namespace subspect::runtime::comm {
namespace {

using tests::on_ranks;

Tensor floats(Stream& stream, const std::vector<float>& values) {
  return Tensor::from_host<float>(stream, values, {static_cast<int64_t>(values.size())});
}

/// Large and small numbers, whose sums depend on their order.
float summand(int rank, int64_t i) {
  return (rank % 2 == 0 ? 1.0F : 1e-7F) * static_cast<float>(1 + i + rank) * (rank == 2 ? -1.0F : 1.0F);
}

std::vector<float> summands(int rank, int64_t count) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(summand(rank, i));
  return values;
}

/// The sum over a tree, written as the definition says: neighbours, then neighbouring sums, an odd one later.
float tree_sum(std::vector<float> values) {
  while (values.size() > 1) {
    std::vector<float> next;
    for (size_t i = 0; i < values.size(); i += 2) {
      next.push_back(i + 1 < values.size() ? values[i] + values[i + 1] : values[i]);
    }
    values = next;
  }
  return values[0];
}

float expected_sum(int ranks, int64_t i) {
  std::vector<float> values;
  for (int rank = 0; rank < ranks; ++rank) values.push_back(summand(rank, i));
  return tree_sum(values);
}

class ThreadRanks : public ::testing::TestWithParam<int> {};

TEST_P(ThreadRanks, AllReduceSumsOverATree) {
  for (const int64_t count : {1, 3, 700}) {
    on_ranks(GetParam(), [&](Communicator& ranks) {
      const auto stream = Stream::open({}, 1);
      const Tensor tensor = floats(*stream, summands(ranks.rank(), count));
      ranks.all_reduce(*stream, tensor);
      for (int64_t i = 0; i < count; ++i) EXPECT_EQ(tensor.data<float>()[i], expected_sum(ranks.size(), i)) << i;
    });
  }
}

TEST_P(ThreadRanks, ReduceScatterSumsOnePartAndKeepsTheOthers) {
  constexpr int64_t count = 11;
  on_ranks(GetParam(), [&](Communicator& ranks) {
    const auto stream = Stream::open({}, 1);
    const std::vector<float> mine = summands(ranks.rank(), count);
    Split split{floats(*stream, mine), {0}};
    for (int r = 1; r <= ranks.size(); ++r) split.begins.push_back(r == ranks.size() ? count : std::min(r - 1, 2));
    ranks.reduce_scatter(*stream, {&split, 1});  // rank 0 has nothing, the last one nearly all
    const auto me = static_cast<size_t>(ranks.rank());
    for (int64_t i = 0; i < count; ++i) {
      const bool summed = ranks.alone() || (i >= split.begins[me] && i < split.begins[me + 1]);
      EXPECT_EQ(split.tensor.data<float>()[i], summed ? expected_sum(ranks.size(), i) : mine[static_cast<size_t>(i)])
          << i;
    }
  });
}

TEST_P(ThreadRanks, AllGatherAndBroadcastOfSeveralTensors) {
  on_ranks(GetParam(), [&](Communicator& ranks) {
    const auto stream = Stream::open({}, 1);
    const std::vector<double> numbers = {static_cast<double>(ranks.rank()), 7.5};
    const std::vector<double> all = ranks.gather(numbers);
    ASSERT_EQ(static_cast<int>(all.size()), 2 * ranks.size());
    for (int r = 0; r < ranks.size(); ++r) {
      EXPECT_EQ(all[static_cast<size_t>(2 * r)], r);
      EXPECT_EQ(all[static_cast<size_t>(2 * r + 1)], 7.5);
    }
    const int root = ranks.size() - 1;
    const std::array<Tensor, 2> tensors = {floats(*stream, summands(ranks.rank(), 5)),
                                           floats(*stream, summands(ranks.rank(), 2))};
    ranks.broadcast(*stream, tensors, root);
    for (const Tensor& tensor : tensors) {
      EXPECT_EQ(tensor.to_host<float>(*stream), summands(root, tensor.numel()));
    }
    EXPECT_EQ(ranks.agree(ranks.rank() + 3), 3);
    EXPECT_TRUE(ranks.any(ranks.rank() == root));
    EXPECT_FALSE(ranks.any(false));
    ranks.barrier();
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, ThreadRanks, ::testing::Values(1, 2, 3, 4));

TEST(Communicator, SlicesNestWhateverTheirNumber) {
  for (const int64_t count : {0, 1, 256, 257, 1000, 12345}) {
    for (const int slices : {2, 4, 8}) {
      EXPECT_EQ(slice_begin(count, 0, slices, 256), 0);
      EXPECT_EQ(slice_begin(count, slices, slices, 256), count);
      for (int i = 0; i <= slices / 2; ++i) {
        EXPECT_EQ(slice_begin(count, 2 * i, slices, 256), slice_begin(count, i, slices / 2, 256));
      }
    }
  }
}

TEST(Communicator, AProcessAloneSendsNothing) {
  const auto one = alone();
  const auto stream = Stream::open({}, 1);
  const Message message{1, floats(*stream, {1})};
  EXPECT_THROW(one->exchange(*stream, {&message, 1}, {}), Error);
  EXPECT_EQ(one->size(), 1);
  EXPECT_EQ(one->agree(5), 5);
}

}  // namespace
}  // namespace subspect::runtime::comm
