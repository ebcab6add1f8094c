// Philox against its published vectors, and the fills.
#include "kernels/random.h"

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

void expect_words(const Philox4& actual, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  EXPECT_EQ(actual.word[0], a);
  EXPECT_EQ(actual.word[1], b);
  EXPECT_EQ(actual.word[2], c);
  EXPECT_EQ(actual.word[3], d);
}

// The "philox4x32 10" lines of kat_vectors in Random123, the reference implementation of Salmon et al.
TEST(Philox, PublishedVectors) {
  expect_words(philox_4x32_10({{0, 0, 0, 0}}, 0, 0), 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
  constexpr uint32_t ones = 0xffffffff;
  expect_words(philox_4x32_10({{ones, ones, ones, ones}}, ones, ones), 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd);
  expect_words(philox_4x32_10({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0), 0xd16cfe09,
               0x94fdcceb, 0x5001e420, 0x24126ea1);
}

template <class T>
std::vector<T> fill_random(Context<Cpu> on, bool normal, int64_t count, int64_t offset, uint64_t stream, float a,
                           float b) {
  std::vector<T> y(static_cast<size_t>(count));
  const RandomFillParams<T> params{y.data(), count, 7, stream, offset, a, b};
  if (normal) {
    random_normal(on, params);
  } else {
    random_uniform(on, params);
  }
  return y;
}

TEST(RandomFill, EqualsElementwiseDefinition) {
  const auto normal = fill_random<float>(context(), true, 37, 5, 3, 2.0F, 0.5F);
  const auto uniform = fill_random<float>(context(), false, 37, 5, 3, -1.0F, 3.0F);
  for (size_t i = 0; i < normal.size(); ++i) {
    EXPECT_EQ(normal[i], 2.0F + 0.5F * philox_normal_at(7, 3, i + 5));
    EXPECT_EQ(uniform[i], -1.0F + 4.0F * philox_uniform_at(7, 3, i + 5));
  }
}

TEST(RandomFill, PartsOfASequenceJoin) {
  const auto whole = fill_random<float>(context(), true, 1000, 0, 1, 0, 1);
  for (const int64_t split : {1, 2, 3, 4, 5, 997}) {
    const auto rest = fill_random<float>(context(), true, 1000 - split, split, 1, 0, 1);
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), whole.begin() + split));
  }
}

TEST(RandomFill, MomentsAndRange) {
  constexpr int64_t count = 400000;
  double sum = 0;
  double squares = 0;
  double fourth = 0;
  for (const float x : fill_random<float>(context(), true, count, 0, 11, 0, 1)) {
    const auto wide = static_cast<double>(x);
    sum += wide;
    squares += wide * wide;
    fourth += wide * wide * wide * wide;
  }
  const double deviation = 1 / std::sqrt(static_cast<double>(count));
  EXPECT_LT(std::abs(sum / count), 5 * deviation);
  EXPECT_LT(std::abs(squares / count - 1), 5 * std::sqrt(2.0) * deviation);
  EXPECT_LT(std::abs(fourth / count - 3), 5 * std::sqrt(96.0) * deviation);
  double mean = 0;
  for (const float x : fill_random<float>(context(), false, count, 0, 12, 0, 1)) {
    ASSERT_GE(x, 0.0F);
    ASSERT_LT(x, 1.0F);
    mean += static_cast<double>(x);
  }
  EXPECT_LT(std::abs(mean / count - 0.5), 5 * std::sqrt(1.0 / 12) * deviation);
}

TEST(RandomFill, StreamsAndSeedsDiffer) {
  const auto a = fill_random<float>(context(), true, 100, 0, 1, 0, 1);
  const auto b = fill_random<float>(context(), true, 100, 0, 2, 0, 1);
  int equal = 0;
  for (size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i] ? 1 : 0;
  EXPECT_LE(equal, 1);
}

TEST(RandomFill, ThreadsDoNotMatter) {
  expect_same_for_all_teams([](Context<Cpu> on) { return fill_random<float>(on, true, 100001, 3, 1, 0, 1); });
  expect_same_for_all_teams([](Context<Cpu> on) { return fill_random<double>(on, false, 100001, 3, 1, 0, 1); });
}

}  // namespace
}  // namespace subspect::kernels::test
