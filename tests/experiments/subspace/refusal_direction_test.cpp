// Directions, refusal tokens, first tokens under interventions, and the choice of a layer.
#include "experiments/subspace/refusal_direction.h"

#include <gmock/gmock.h>

#include <cmath>

#include "runtime/error.h"
#include "tests/experiments/subspace/subspace_fixture.h"
#include "tests/experiments/training/tiny_training.h"

namespace subspect::experiments::subspace {
namespace {

using model::Intervention;
using runtime::Tensor;
using testing::Dense;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
namespace oracle = runtime::linalg::testing;

TEST(RefusalDirection, IsTheDifferenceOfTheMeans) {
  Dense harmful = oracle::gaussian(3, 4, 1), harmless = oracle::gaussian(3, 5, 2);
  const auto stream = runtime::Stream::open({}, 1);
  const Direction direction =
      difference_of_means(oracle::to_tensor(*stream, harmful), oracle::to_tensor(*stream, harmless), 7);
  EXPECT_EQ(direction.layer, 7);
  double squares = 0.0;
  for (int64_t d = 0; d < 3; ++d) {
    double expected = 0.0;
    for (int64_t j = 0; j < 4; ++j) expected += harmful(d, j) / 4.0;
    for (int64_t j = 0; j < 5; ++j) expected -= harmless(d, j) / 5.0;
    EXPECT_NEAR(direction.difference[static_cast<size_t>(d)], expected, 1e-6);
    squares += expected * expected;
  }
  EXPECT_NEAR(direction.length, std::sqrt(squares), 1e-6);
}

TEST(RefusalDirection, EqualMeansAndNanAreErrors) {
  const auto stream = runtime::Stream::open({}, 1);
  Dense same(4, 3);
  for (int64_t d = 0; d < 4; ++d) {
    for (int64_t j = 0; j < 3; ++j) same(d, j) = static_cast<double>(d);
  }
  const Tensor states = oracle::to_tensor(*stream, same);
  EXPECT_THROW(difference_of_means(states, states, 0), runtime::Error);
  Dense undefined = same;
  undefined(1, 1) = NAN;
  EXPECT_THROW(difference_of_means(oracle::to_tensor(*stream, undefined), states, 0), runtime::Error);
}

TEST(RefusalDirection, RandomDirectionsHaveTheLengthAndAreTheirOwn) {
  const std::vector<float> first = random_direction(500, 3.0, 5, 0), second = random_direction(500, 3.0, 5, 1);
  double length = 0.0, inner = 0.0;
  for (size_t d = 0; d < first.size(); ++d) {
    length += static_cast<double>(first[d]) * first[d];
    inner += static_cast<double>(first[d]) * second[d];
  }
  EXPECT_NEAR(std::sqrt(length), 3.0, 1e-5);
  EXPECT_LT(std::abs(inner) / 9.0, 0.2) << "nearly orthogonal: 4.5 standard deviations of 1 / sqrt(500)";
  EXPECT_EQ(random_direction(500, 3.0, 5, 0), first);
  EXPECT_NE(random_direction(500, 3.0, 6, 0), first);
}

TEST(RefusalDirection, RefusalTokensAreLikelyAfterHarmfulPromptsAlone) {
  const std::vector<double> harmful = {0.5, 0.3, 0.049, 0.06, 0.091};
  const std::vector<double> harmless = {0.2, 0.2, 0.0, 0.03, 0.57};
  EXPECT_THAT(refusal_tokens(harmful, harmless), ElementsAre(0, 3));
  EXPECT_THAT(refusal_tokens(harmful, harmful), IsEmpty());
}

TEST(RefusalDirection, TheBestIsTheLowestBypassAmongTheEligible) {
  std::vector<DirectionEffect> effects = {
      {.layer = 1, .bypass = -1.0, .induce = 0.5, .divergence = 0.01},
      {.layer = 2, .bypass = -2.0, .induce = 0.5, .divergence = 0.05},
      {.layer = 3, .bypass = -9.0, .induce = -0.5, .divergence = 0.05},  // does not induce refusal
      {.layer = 4, .bypass = -8.0, .induce = 0.5, .divergence = 0.2},    // changes harmless answers
      {.layer = 8, .bypass = -7.0, .induce = 0.5, .divergence = 0.05},   // too late a layer of ten
  };
  EXPECT_EQ(best_direction(effects, 10), 1U);
  effects.erase(effects.begin(), effects.begin() + 2);
  for (const DirectionEffect& effect : effects) EXPECT_FALSE(is_eligible(effect, 10)) << effect.layer;
  EXPECT_EQ(best_direction(effects, 10), 0U) << "of none that is eligible the lowest";
}

class FirstTokens : public testing::SubspaceTest {
 protected:
  FirstTokens()
      : decoder_(*stream_, model::parse_decoder_config(experiments::testing::tiny_config_json(), "tiny"),
                 runtime::DType::float32) {
    decoder_.initialize(*stream_, 3);
    for (float& x : decoder_.embedding().value.values<float>()) x *= 6.0F;  // distributions with peaks
  }

  /// The first token's distribution, computed for one prompt alone.
  std::vector<double> alone(const std::vector<int32_t>& prompt, const Intervention* intervention) {
    const std::vector<model::Document> document = {{.ids = prompt, .targets = {}}};
    const Tensor hidden =
        decoder_.forward({*stream_}, model::pack(*stream_, document), {.intervention = intervention}).value;
    const Tensor last = hidden.narrow(0, hidden.size(0) - 1, 1);
    std::vector<double> result;
    double sum = 0.0;
    for (const float logit : decoder_.logits(*stream_, last).to_host<float>(*stream_)) {
      result.push_back(std::exp(static_cast<double>(logit)));
      sum += result.back();
    }
    for (double& x : result) x /= sum;
    return result;
  }

  model::Decoder decoder_;
  std::vector<std::vector<int32_t>> prompts_ = {{3, 4, 5}, {9}, {7, 1, 30, 2, 11}, {5, 5}};
};

TEST_F(FirstTokens, AreMeasuredAsOneByOne) {
  const std::vector<float> direction = random_direction(32, 1.0, 1, 0);
  const Intervention ablation = Intervention::ablate(*stream_, direction, runtime::DType::float32);
  const Intervention addition = Intervention::add(*stream_, direction, 1, runtime::DType::float32);
  const std::vector<const Intervention*> interventions = {nullptr, &ablation, &addition};
  const std::vector<int32_t> refusing = {2, 5, 17};
  in_run("run", [&](RunContext& context) {
    for (const int64_t batch_tokens : {4, 100}) {
      const BatchRequest request{.prompts = prompts_, .batch_tokens = batch_tokens, .label = "prompts"};
      const auto measured = measure_first_tokens(context, decoder_, {request, refusing, interventions});
      ASSERT_EQ(measured.size(), 3U);
      for (size_t i = 0; i < interventions.size(); ++i) {
        ASSERT_EQ(measured[i].size(), prompts_.size());
        for (size_t p = 0; p < prompts_.size(); ++p) {
          const std::vector<double> plain = alone(prompts_[p], nullptr);
          const std::vector<double> steered = alone(prompts_[p], interventions[i]);
          double refusal = 0.0, divergence = 0.0;
          for (const int32_t token : refusing) refusal += steered[static_cast<size_t>(token)];
          for (size_t t = 0; t < plain.size(); ++t) divergence += plain[t] * std::log(plain[t] / steered[t]);
          EXPECT_NEAR(measured[i][p].refusal, refusal, 1e-6);
          EXPECT_NEAR(measured[i][p].log_odds, std::log(refusal / (1.0 - refusal)), 1e-4);
          EXPECT_NEAR(measured[i][p].divergence, divergence, 1e-6);
          EXPECT_EQ(measured[i][p].divergence > 0.0, i > 0);
        }
      }
      const std::vector<double> means = mean_first_tokens(context, decoder_, request);
      for (size_t t = 0; t < means.size(); ++t) {
        double expected = 0.0;
        for (const auto& prompt : prompts_) expected += alone(prompt, nullptr)[t] / 4.0;
        EXPECT_NEAR(means[t], expected, 1e-6);
      }
    }
  });
}

}  // namespace
}  // namespace subspect::experiments::subspace
