// Philox against the published test vectors, and the distributions drawn from it.
#include "runtime/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace subspect::runtime {
namespace {

TEST(Random, PhiloxMatchesThePublishedVectors) {
  // Random123, kat_vectors: philox4x32 10, counter and key 0, and all ones.
  EXPECT_EQ(Philox(0, 0).block(0), (Philox::Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox(UINT64_MAX, UINT64_MAX).block(UINT64_MAX),
            (Philox::Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Random, NormalsHaveUnitVarianceAndDoNotDependOnThreads) {
  const auto one = Stream::open(Device{}, 1);
  const auto three = Stream::open(Device{}, 3);
  const Tensor a = Tensor::empty(*one, {100003}, DType::float32);
  const Tensor b = Tensor::empty(*three, {100003}, DType::float32);
  fill_normal(*one, a, 0.5, Philox(7, stream_of("model.embed_tokens.weight")));
  fill_normal(*three, b, 0.5, Philox(7, stream_of("model.embed_tokens.weight")));
  const std::vector<float> values = a.to_host<float>(*one);
  EXPECT_EQ(values, b.to_host<float>(*three));
  double sum = 0;
  double squares = 0;
  for (const float x : values) {
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  const auto count = static_cast<double>(values.size());
  EXPECT_NEAR(sum / count, 0.0, 5 * 0.5 / std::sqrt(count));
  EXPECT_NEAR(squares / count, 0.25, 5 * 0.25 * std::sqrt(2 / count));
}

TEST(Random, BelowIsUniformAndShuffleIsAPermutation) {
  Random random(3);
  std::vector<int> counts(7, 0);
  for (int i = 0; i < 7000; ++i) ++counts[random.below(7)];
  for (const int count : counts) EXPECT_NEAR(count, 1000, 5 * std::sqrt(1000.0));
  std::vector<int64_t> order = random_permutation(100, 42);
  EXPECT_EQ(order, random_permutation(100, 42));
  EXPECT_NE(order, random_permutation(100, 43));
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

}  // namespace
}  // namespace subspect::runtime
