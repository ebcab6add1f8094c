// Choosing tokens on CUDA: the CPU's choices, for the same scores and random numbers.
#include "kernels/sampling.h"

#include <cmath>
#include <limits>
#include <stdexcept>

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

// ---- repetition penalty

class SimtRepetitionPenalty : public SimtCase {};

TEST_F(SimtRepetitionPenalty, EqualsCpu) {
  constexpr int64_t vocab = 700;
  std::vector<int32_t> tokens = random_ids(1500, vocab, 1);
  std::fill(tokens.begin() + 900, tokens.begin() + 1300, 17);  // many threads meet one id
  const std::vector<int64_t> offsets = {0, 600, 600, 601, 1500};
  const std::vector<float> logits = random_values<float>(4 * vocab, 2);
  std::vector<float> expected = logits;
  repetition_penalty<Cpu>(context(), {expected.data(), tokens.data(), offsets.data(), 4, vocab, 1.3F});
  for_each_schedule([&] {
    const DeviceBuffer<float> d_logits(logits);
    const DeviceBuffer<int32_t> d_tokens(tokens);
    const DeviceBuffer<int64_t> d_offsets(offsets);
    repetition_penalty<Cuda>(gpu, {d_logits.data(), d_tokens.data(), d_offsets.data(), 4, vocab, 1.3F});
    expect_same(d_logits, expected);
  });
}

/// More ids than one block keeps marks of; at the edges of the blocks' parts too.
TEST_F(SimtRepetitionPenalty, LargeVocabularyEqualsCpu) {
  constexpr int64_t vocab = 300000;
  const std::vector<int32_t> tokens = {262143, 262144, 0, 299999, 262144, 31, 32, 31, 0};
  const std::vector<int64_t> offsets = {0, 5, 9};
  const std::vector<float> logits = random_values<float>(2 * vocab, 2);
  std::vector<float> expected = logits;
  repetition_penalty<Cpu>(context(), {expected.data(), tokens.data(), offsets.data(), 2, vocab, 0.7F});
  set_schedule(1);
  const DeviceBuffer<float> d_logits(logits);
  const DeviceBuffer<int32_t> d_tokens(tokens);
  const DeviceBuffer<int64_t> d_offsets(offsets);
  repetition_penalty<Cuda>(gpu, {d_logits.data(), d_tokens.data(), d_offsets.data(), 2, vocab, 0.7F});
  expect_same(d_logits, expected);
}

// ---- greedy choice

class SimtArgmax : public SimtCase {};

std::vector<int32_t> argmax_on_gpu(const std::vector<float>& logits, int64_t rows, int64_t vocab) {
  const DeviceBuffer<float> d_logits(logits);
  const DeviceBuffer<int32_t> ids(static_cast<size_t>(rows));
  argmax<Cuda>(gpu, d_logits.data(), ids.data(), rows, vocab);
  return ids.values();
}

TEST_F(SimtArgmax, EqualsCpu) {
  for (const int64_t vocab : {1, 2, 3, 31, 1028, 4100, 20001}) {
    std::vector<float> logits = random_values<float>(5 * vocab, 3);
    logits[static_cast<size_t>(2 * vocab)] = 99;
    logits[static_cast<size_t>(4 * vocab - 1)] = 99;
    std::vector<int32_t> expected(5);
    argmax<Cpu>(context(), logits.data(), expected.data(), 5, vocab);
    set_schedule(1);
    EXPECT_EQ(argmax_on_gpu(logits, 5, vocab), expected);
  }
}

TEST_F(SimtArgmax, EveryOrderOfThreadsChoosesTheSame) {
  const std::vector<float> logits = random_values<float>(2 * 2500, 3);
  std::vector<int32_t> expected(2);
  argmax<Cpu>(context(), logits.data(), expected.data(), 2, 2500);
  for_each_schedule([&] { EXPECT_EQ(argmax_on_gpu(logits, 2, 2500), expected); });
}

TEST_F(SimtArgmax, LowestIdAmongEqualsAndNaNLast) {
  const std::vector<std::vector<float>> rows = {
      {1, 3, 3, 2, 3, 0},
      {not_a_number, -1, -infinity, -2, -1, -3},
      {not_a_number, -infinity, -infinity, not_a_number, -infinity, -infinity},
      {-1, -0.0F, 0.0F, -0.0F, 0.0F, -2},
      {-1, 0.0F, -0.0F, -1, -1, -1},
      {2, infinity, 3, infinity, not_a_number, 0},
      std::vector<float>(6, not_a_number)};
  std::vector<float> logits;
  for (const std::vector<float>& row : rows) logits.insert(logits.end(), row.begin(), row.end());
  const auto count = static_cast<int64_t>(rows.size());
  set_schedule(1);
  EXPECT_EQ(argmax_on_gpu(logits, count, 6), (std::vector<int32_t>{1, 1, 1, 1, 1, 1, 0}));
}

// ---- sampling

class SimtSample : public SimtCase {};

struct Filters {
  float temperature = 1;
  int64_t top_k = 0;
  float top_p = 1;
};

/// One id per number in `uniform`: `run` adds the pointers of its backend and samples.
template <class Run>
std::vector<int32_t> draw(const float* logits, const std::vector<float>& uniform, int64_t vocab, const Filters& filters,
                          const Run& run) {
  std::vector<int32_t> ids(uniform.size(), -1);
  SampleParams p;
  p.logits = logits;
  p.rows = static_cast<int64_t>(uniform.size());
  p.vocab = vocab;
  p.temperature = filters.temperature;
  p.top_k = filters.top_k;
  p.top_p = filters.top_p;
  run(p, ids);
  return ids;
}

std::vector<int32_t> draw_on_cpu(const std::vector<float>& logits, const std::vector<float>& uniform, int64_t vocab,
                                 const Filters& filters) {
  return draw(logits.data(), uniform, vocab, filters, [&](SampleParams p, std::vector<int32_t>& ids) {
    p.uniform = uniform.data();
    p.ids = ids.data();
    sample(context(), p);
  });
}

std::vector<int32_t> draw_on_gpu(const std::vector<float>& logits, const std::vector<float>& uniform, int64_t vocab,
                                 const Filters& filters) {
  const DeviceBuffer<float> d_logits(logits), d_uniform(uniform);
  const DeviceBuffer<int32_t> d_ids(uniform.size());
  return draw(d_logits.data(), uniform, vocab, filters, [&](SampleParams p, std::vector<int32_t>& ids) {
    p.uniform = d_uniform.data();
    p.ids = d_ids.data();
    const DeviceBuffer<std::byte> workspace(static_cast<size_t>(sample_workspace_bytes<Cuda>(p)));
    p.workspace = workspace.data();
    sample(gpu, p);
    ids = d_ids.values();
  });
}

std::vector<float> repeated(const std::vector<float>& row, size_t times) {
  std::vector<float> rows;
  for (size_t i = 0; i < times; ++i) rows.insert(rows.end(), row.begin(), row.end());
  return rows;
}

/// Different random numbers below 1, with the least and the greatest.
std::vector<float> uniforms(size_t count) {
  std::vector<float> result = {0, 0x1.fffffep-1F};
  for (size_t i = 2; i < count; ++i) result.push_back(philox_uniform_at(11, 3, i));
  return result;
}

const std::vector<Filters> all_filters = {{1, 0, 1},     {0.7F, 20, 0.8F}, {1, 1, 1},        {2, 0, 0.95F},
                                          {1, 0, 1e-6F}, {1, 1 << 30, 1},  {3, 1500, 0.99F}, {1, 1024, 0.999F}};

/// Scores of one kind: flat, ordinary, peaked.
class SimtSampleOf : public SimtSample, public ::testing::WithParamInterface<float> {
 protected:
  static void compare(int64_t vocab, const Filters& filters, const std::vector<float>& uniform) {
    SCOPED_TRACE("vocab " + std::to_string(vocab) + ", top_k " + std::to_string(filters.top_k) + ", top_p " +
                 std::to_string(filters.top_p));
    const std::vector<float> logits = random_values<float>(static_cast<int64_t>(uniform.size()) * vocab, 7, GetParam());
    const std::vector<int32_t> expected = draw_on_cpu(logits, uniform, vocab, filters);
    set_schedule(1);
    EXPECT_EQ(draw_on_gpu(logits, uniform, vocab, filters), expected);
  }
};

TEST_P(SimtSampleOf, EveryFilterChoosesTheCpusTokens) {
  for (const Filters& filters : all_filters) compare(2100, filters, uniforms(3));
}

TEST_P(SimtSampleOf, EveryVocabularyChoosesTheCpusTokens) {
  for (const int64_t vocab : {1, 37, 2048, 2049, 5003}) compare(vocab, {0.8F, 30, 0.9F}, uniforms(2));
}
INSTANTIATE_TEST_SUITE_P(Scores, SimtSampleOf, ::testing::Values(0.01F, 2.0F, 30.0F));

TEST_F(SimtSample, EveryOrderOfThreadsChoosesTheSame) {
  const std::vector<float> uniform = {0.6F};
  const std::vector<float> logits = random_values<float>(2500, 9, 2.0F);
  for (const Filters& filters : {Filters{1, 0, 0.9F}, Filters{0.8F, 50, 0.95F}}) {
    const std::vector<int32_t> expected = draw_on_cpu(logits, uniform, 2500, filters);
    for_each_schedule([&] { EXPECT_EQ(draw_on_gpu(logits, uniform, 2500, filters), expected); });
  }
}

/// Several tokens share each score, also at the edges of top-k and top-p and where the draw falls.
TEST_F(SimtSample, TiesGoToLowerIds) {
  for (const int64_t vocab : {40, 3001}) {
    std::vector<float> row = random_values<float>(vocab, 5, 2.0F);
    for (float& score : row) score = std::round(score);
    const std::vector<float> uniform = uniforms(4);
    const std::vector<float> logits = repeated(row, uniform.size());
    for (const Filters& filters : {Filters{1, 0, 1}, Filters{1, 7, 1}, Filters{1, 9, 0.7F}, Filters{2, 1100, 0.9F}}) {
      const std::vector<int32_t> expected = draw_on_cpu(logits, uniform, vocab, filters);
      set_schedule(2);
      EXPECT_EQ(draw_on_gpu(logits, uniform, vocab, filters), expected) << filters.top_k;
    }
  }
}

TEST_F(SimtSample, EqualScoresShareTheProbability) {
  const std::vector<float> uniform = {0, 0.24F, 0.26F, 0.49F, 0.51F, 0.74F, 0.76F, 0x1.fffffep-1F};
  const std::vector<float> logits = repeated({-3, 4, 4, -3, 4, -3, 4}, uniform.size());
  set_schedule(1);
  EXPECT_EQ(draw_on_gpu(logits, uniform, 7, {1, 4, 1}), (std::vector<int32_t>{1, 1, 2, 2, 4, 4, 6, 6}));
  EXPECT_EQ(draw_on_gpu(logits, uniform, 7, {1, 4, 0.4F}), (std::vector<int32_t>{1, 1, 1, 1, 2, 2, 2, 2}));
  EXPECT_EQ(draw_on_gpu(logits, uniform, 7, {1, 4, 0}), std::vector<int32_t>(8, 1));  // never less than one token
}

/// Beyond the contract, but a number that was rounded up to 1 must not lead out of the row.
TEST_F(SimtSample, OneDrawsTheLastToken) {
  set_schedule(1);
  EXPECT_EQ(draw_on_gpu({-1, 2, -3, 0}, {1.0F}, 4, {}), (std::vector<int32_t>{2}));
  EXPECT_EQ(draw_on_gpu({-1, 2, -3, 0}, {1.0F}, 4, {1, 2, 1}), (std::vector<int32_t>{3}));
}

TEST_F(SimtSample, ImpossibleTokensAreNeverDrawn) {
  std::vector<float> row(1000, -infinity);
  row[3] = not_a_number;
  row[500] = -1;
  row[501] = -1.5F;
  row[999] = not_a_number;
  const std::vector<float> uniform = uniforms(3);
  const std::vector<float> logits = repeated(row, uniform.size());
  for (const Filters& filters : {Filters{1, 0, 1}, Filters{1, 900, 1}, Filters{1, 20, 0.99F}}) {
    const std::vector<int32_t> expected = draw_on_cpu(logits, uniform, 1000, filters);
    set_schedule(1);
    EXPECT_EQ(draw_on_gpu(logits, uniform, 1000, filters), expected);
  }
}

TEST_F(SimtSample, ScoresThatAreNotFiniteDecideAlone) {
  const std::vector<float> infinite = {0, infinity, 2, infinity};
  const std::vector<float> hopeless = {not_a_number, -infinity, -infinity, not_a_number};
  const std::vector<float> nothing(4, not_a_number);
  std::vector<float> logits = infinite;
  logits.insert(logits.end(), hopeless.begin(), hopeless.end());
  logits.insert(logits.end(), nothing.begin(), nothing.end());
  set_schedule(1);
  EXPECT_EQ(draw_on_gpu(logits, {0.9F, 0.9F, 0.9F}, 4, {}), (std::vector<int32_t>{1, 1, 0}));
}

/// The vocabulary of the largest models, whose probabilities' sums leave 32 bits far behind.
TEST_F(SimtSample, LargeVocabulary) {
  constexpr int64_t vocab = 152064;
  const std::vector<float> uniform = {0x1.fffffep-1F};
  for (const float spread : {0.5F, 3.0F}) {
    const std::vector<float> logits = random_values<float>(vocab, 13, spread);
    const Filters filters = spread < 1 ? Filters{1, 0, 1} : Filters{0.7F, 20, 0.8F};
    const std::vector<int32_t> expected = draw_on_cpu(logits, uniform, vocab, filters);
    set_schedule(1);
    EXPECT_EQ(draw_on_gpu(logits, uniform, vocab, filters), expected);
  }
}

TEST_F(SimtSample, TooLargeVocabulariesAreRefused) {
  SampleParams p;
  p.rows = 1;
  p.vocab = (1 << 22) + 1;
  EXPECT_THROW(sample(gpu, p), std::runtime_error);
  EXPECT_THROW(argmax<Cuda>(gpu, nullptr, nullptr, 1, p.vocab), std::runtime_error);
}

TEST_F(SimtSample, NothingToDoLaunchesNothing) {
  EXPECT_NO_THROW(sample<Cuda>(gpu, {}));
  EXPECT_NO_THROW(argmax<Cuda>(gpu, nullptr, nullptr, 0, 10));
  EXPECT_NO_THROW(repetition_penalty<Cuda>(gpu, {}));
}

}  // namespace
}  // namespace subspect::kernels::test
