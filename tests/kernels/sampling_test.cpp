// Greedy choice, filtered sampling, repetition penalty.
#include "kernels/sampling.h"

#include <numeric>

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

TEST(Argmax, LowestIdAmongEquals) {
  const std::vector<float> logits = {1, 3, 3, 2, NAN, -1, -INFINITY, -2, -INFINITY, -INFINITY, NAN, -INFINITY};
  std::vector<int32_t> ids(3);
  argmax(context(), logits.data(), ids.data(), 3, 4);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 1, 0}));
}

TEST(Argmax, AgreesWithTheStandardLibrary) {
  const auto logits = random_values<float>(50 * 3001, 1);
  std::vector<int32_t> ids(50);
  argmax(context(3), logits.data(), ids.data(), 50, 3001);
  for (size_t row = 0; row < 50; ++row) {
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(row * 3001);
    EXPECT_EQ(ids[row], std::max_element(begin, begin + 3001) - begin);
  }
}

/// Probabilities of Transformers' filters (temperature, top-k, top-p), in double.
Doubles filtered(const std::vector<float>& logits, double temperature, int64_t top_k, double top_p) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (top_k > 0 && static_cast<size_t>(top_k) < order.size()) order.resize(static_cast<size_t>(top_k));
  const auto weight = [&](size_t id) { return std::exp(static_cast<double>(logits[id]) / temperature); };
  double total = 0;
  for (const size_t id : order) total += weight(id);
  Doubles p(logits.size());
  double kept = 0;
  for (const size_t id : order) {
    if (kept > 0 && kept >= top_p * total) break;
    p[id] = weight(id);
    kept += p[id];
  }
  for (double& x : p) x /= kept;
  return p;
}

std::vector<int32_t> draw(Context<Cpu> on, const std::vector<float>& logits, const std::vector<float>& uniform,
                          float temperature, int64_t top_k, float top_p) {
  const auto rows = static_cast<int64_t>(uniform.size());
  std::vector<float> repeated;
  for (int64_t i = 0; i < rows; ++i) repeated.insert(repeated.end(), logits.begin(), logits.end());
  std::vector<int32_t> ids(uniform.size(), -1);
  SampleParams p{repeated.data(), uniform.data(), ids.data(), rows, static_cast<int64_t>(logits.size()),
                 temperature,     top_k,          top_p};
  const Workspace workspace(sample_workspace_bytes<Cpu>(p));
  p.workspace = workspace.get();
  sample(on, p);
  return ids;
}

TEST(Sample, AnEvenGridOfUniformsGivesTheDistribution) {
  const auto logits = random_values<float>(37, 5, 2.0F);
  constexpr size_t draws = 4000;
  std::vector<float> uniform(draws);
  for (size_t i = 0; i < draws; ++i) uniform[i] = (static_cast<float>(i) + 0.5F) / static_cast<float>(draws);
  for (const double temperature : {0.5, 1.0, 2.0}) {
    for (const int64_t top_k : {0, 1, 5, 100}) {
      for (const double top_p : {1.0, 0.9, 0.5, 0.01}) {
        Doubles frequency(logits.size());
        for (const int32_t id :
             draw(context(), logits, uniform, static_cast<float>(temperature), top_k, static_cast<float>(top_p))) {
          frequency[static_cast<size_t>(id)] += 1.0 / draws;
        }
        const Doubles expected = filtered(logits, temperature, top_k, static_cast<double>(static_cast<float>(top_p)));
        for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(frequency[i], expected[i], 1.5 / draws);
      }
    }
  }
}

TEST(Sample, TiesAtTheEdgeOfTopKKeepLowerIds) {
  const std::vector<float> logits = {0, 1, 1, 1, 1};
  for (const int32_t id : draw(context(), logits, {0.0F, 0.3F, 0.6F, 0.99F}, 1.0F, 2, 1.0F))
    EXPECT_TRUE(id == 1 || id == 2);
}

TEST(Sample, ImpossibleTokensAreNeverDrawn) {
  std::vector<float> logits(1000, -INFINITY);
  logits[10] = NAN;
  logits[500] = 1;
  logits[501] = 1;
  for (const int32_t id : draw(context(), logits, {0.0F, 0.4F, 0.6F, 0.99999994F}, 1.0F, 0, 1.0F)) {
    EXPECT_TRUE(id == 500 || id == 501);
  }
}

TEST(Sample, FarTailOfALargeVocabulary) {
  const auto logits = random_values<float>(30000, 5, 0.1F);
  const auto ids = draw(context(), logits, {0.0F, 0.5F, 0.99999994F}, 1.0F, 0, 1.0F);
  const auto rank = [&](int32_t id) {
    return std::count_if(logits.begin(), logits.end(), [&](float x) { return x > logits[static_cast<size_t>(id)]; });
  };
  EXPECT_EQ(rank(ids[0]), 0);
  EXPECT_NEAR(static_cast<double>(rank(ids[1])), 13800,
              300);  // half of the mass: a little less than half of the tokens
  EXPECT_GE(rank(ids[2]), 29990);
}

TEST(Sample, ThreadsDoNotMatter) {
  const auto logits = random_values<float>(501, 5);
  const auto uniform = std::vector<float>{0.1F, 0.7F, 0.2F, 0.9F, 0.5F, 0.33F, 0.77F};
  expect_same_for_all_teams([&](Context<Cpu> on) { return draw(on, logits, uniform, 0.8F, 50, 0.95F); });
}

TEST(RepetitionPenalty, ActsOncePerPresentToken) {
  std::vector<float> logits = {2, -2, 3, -3, 2, -2, 3, -3};
  const std::vector<int32_t> tokens = {0, 1, 0, 0, 3};
  const std::vector<int64_t> offsets = {0, 4, 5};
  repetition_penalty(context(), RepetitionPenaltyParams{logits.data(), tokens.data(), offsets.data(), 2, 4, 2.0F});
  EXPECT_EQ(logits, (std::vector<float>{1, -4, 3, -3, 2, -2, 3, -6}));
}

}  // namespace
}  // namespace subspect::kernels::test
