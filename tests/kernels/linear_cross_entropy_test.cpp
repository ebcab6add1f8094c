// The fused head: loss, gradients, ignored targets, chunking.
#include "kernels/linear_cross_entropy.h"

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

template <class T>
struct Problem {
  int64_t tokens, vocab, dim;
  std::vector<T> x, weight, dx;
  std::vector<int32_t> targets;
  std::vector<float> dweight, log_p;
  double loss = NAN;
  int64_t count = -1;

  Problem(int64_t t, int64_t v, int64_t d)
      : tokens(t),
        vocab(v),
        dim(d),
        x(random_values<T>(t * d, 1)),
        weight(random_values<T>(v * d, 2, 0.5F)),
        dx(x.size(), from_float<T>(NAN)),
        targets(random_ids(t, v, 3)),
        dweight(weight.size(), 0.125F),
        log_p(static_cast<size_t>(t), NAN) {
    for (size_t i = 0; i < targets.size(); i += 3) targets[i] = ignored_target;
  }

  void run(Context<Cpu> on, float scale, bool gradients = true) {
    LinearCrossEntropyParams<T> p{x.data(), weight.data(), targets.data(), &loss, &count, log_p.data()};
    p.dx = gradients ? dx.data() : nullptr;
    p.dweight = gradients ? dweight.data() : nullptr;
    p.gradient_scale = scale;
    p.tokens = tokens;
    p.vocab = vocab;
    p.dim = dim;
    const Workspace workspace(linear_cross_entropy_workspace_bytes<Cpu>(p));
    p.workspace = workspace.get();
    linear_cross_entropy(on, p);
  }

  /// log p(target) of each token, 0 where ignored, in double.
  Doubles naive(const Doubles& at_x, const Doubles& at_weight) const {
    Doubles result(static_cast<size_t>(tokens));
    for (int64_t t = 0; t < tokens; ++t) {
      const int32_t target = targets[static_cast<size_t>(t)];
      if (target < 0) continue;
      Doubles scores(static_cast<size_t>(vocab));
      double maximum = -1e300;
      for (int64_t v = 0; v < vocab; ++v) {
        double& score = scores[static_cast<size_t>(v)];
        for (int64_t j = 0; j < dim; ++j) {
          score += at_x[static_cast<size_t>(t * dim + j)] * at_weight[static_cast<size_t>(v * dim + j)];
        }
        maximum = std::max(maximum, score);
      }
      double sum = 0;
      for (const double score : scores) sum += std::exp(score - maximum);
      result[static_cast<size_t>(t)] = scores[static_cast<size_t>(target)] - maximum - std::log(sum);
    }
    return result;
  }

  double naive_loss(const Doubles& at_x, const Doubles& at_weight) const {
    double sum = 0;
    for (const double log_probability : naive(at_x, at_weight)) sum -= log_probability;
    return sum;
  }
};

template <class T>
class LinearCrossEntropyTest : public ::testing::Test {};
TYPED_TEST_SUITE(LinearCrossEntropyTest, StorageTypes, StorageNames);

TYPED_TEST(LinearCrossEntropyTest, LossEqualsDefinition) {
  for (const int64_t tokens : {1, 2, 65, 1100}) {
    for (const int64_t vocab : {1, 7, 61}) {
      Problem<TypeParam> p(tokens, vocab, 9);
      p.run(context(), 1.0F, false);
      const Doubles expected = p.naive(widen(p.x), widen(p.weight));
      expect_close(p.log_p, expected, 32);
      EXPECT_NEAR(p.loss, p.naive_loss(widen(p.x), widen(p.weight)), 1e-5 * static_cast<double>(tokens));
      EXPECT_EQ(p.count, tokens - (tokens + 2) / 3);
    }
  }
}

TYPED_TEST(LinearCrossEntropyTest, GradientsEqualFiniteDifferences) {
  for (const int64_t vocab : {1, 5, 33}) {
    Problem<TypeParam> p(7, vocab, 5);
    constexpr float scale = 0.25F;
    p.run(context(), scale);
    const Doubles x = widen(p.x);
    const Doubles weight = widen(p.weight);
    Doubles dx = numeric_gradient([&](const Doubles& at) { return p.naive_loss(at, weight); }, x);
    Doubles dweight = numeric_gradient([&](const Doubles& at) { return p.naive_loss(x, at); }, weight);
    for (double& g : dx) g *= static_cast<double>(scale);
    for (double& g : dweight) g = g * static_cast<double>(scale) + 0.125;
    // bfloat16: the gradient of the scores is rounded to T before the two products.
    expect_norm_close(p.dx, dx, 2 * epsilon<TypeParam> + 1e-5);
    expect_norm_close(p.dweight, dweight, epsilon<TypeParam> + 1e-5);
    for (int64_t j = 0; j < 5; ++j) EXPECT_EQ(to_float(p.dx[static_cast<size_t>(3 * 5 + j)]), 0.0F);
  }
}

TYPED_TEST(LinearCrossEntropyTest, SeveralChunksAddUp) {
  // 40,000 columns make chunks of 192 tokens.
  Problem<TypeParam> p(500, 40000, 3);
  p.run(context(), 0.01F);
  const Doubles x = widen(p.x);
  const Doubles weight = widen(p.weight);
  expect_close(p.log_p, p.naive(x, weight), 64);
  const Doubles direction = widen(random_values<float>(500 * 3, 7));
  const double slope = numeric_slope([&](const Doubles& at) { return p.naive_loss(at, weight); }, x, direction);
  const double size = std::sqrt(inner(p.dx, p.dx));
  EXPECT_NEAR(inner(p.dx, direction), 0.01 * slope, (4 * epsilon<TypeParam> + 1e-5) * size);
}

TYPED_TEST(LinearCrossEntropyTest, AllIgnoredIsZero) {
  Problem<TypeParam> p(4, 6, 3);
  std::fill(p.targets.begin(), p.targets.end(), ignored_target);
  p.run(context(), 1.0F);
  EXPECT_EQ(p.loss, 0.0);
  EXPECT_EQ(p.count, 0);
  for (const TypeParam g : p.dx) EXPECT_EQ(to_float(g), 0.0F);
  for (const float g : p.dweight) EXPECT_EQ(g, 0.125F);
}

TYPED_TEST(LinearCrossEntropyTest, HugeScoresStayFinite) {
  Problem<TypeParam> p(5, 9, 4);
  for (TypeParam& x : p.x) x = from_float<TypeParam>(to_float(x) * 1e4F);
  p.run(context(), 1.0F);
  EXPECT_TRUE(std::isfinite(p.loss));
  for (const TypeParam g : p.dx) EXPECT_TRUE(std::isfinite(to_float(g)));
}

TYPED_TEST(LinearCrossEntropyTest, ThreadsDoNotMatter) {
  expect_same_for_all_teams([](Context<Cpu> on) {
    Problem<TypeParam> p(700, 301, 40);
    p.run(on, 0.01F);
    return joined(p.dx, p.dweight, p.log_p, std::vector<float>{static_cast<float>(p.loss)});
  });
}

}  // namespace
}  // namespace subspect::kernels::test
