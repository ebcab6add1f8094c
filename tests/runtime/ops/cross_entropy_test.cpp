// The fused head and loss against a double-precision loop, and against finite differences of that loop.
#include "runtime/ops/cross_entropy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "runtime/random.h"

namespace subspect::runtime::ops {
namespace {

constexpr int64_t tokens = 9;
constexpr int64_t dim = 6;
constexpr int64_t vocabulary = 13;

std::vector<float> draw(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& x : values) x = static_cast<float>(random.normal());
  return values;
}

// log softmax(x W^T)[target] of each token; 0 where ignored.
std::vector<double> oracle(const std::vector<double>& x, const std::vector<double>& w,
                           const std::vector<int32_t>& targets) {
  std::vector<double> result;
  for (int64_t t = 0; t < tokens; ++t) {
    const int32_t target = targets[static_cast<size_t>(t)];
    std::vector<double> scores(vocabulary, 0.0);
    for (int64_t v = 0; v < vocabulary; ++v) {
      for (int64_t d = 0; d < dim; ++d) {
        scores[static_cast<size_t>(v)] += x[static_cast<size_t>(t * dim + d)] * w[static_cast<size_t>(v * dim + d)];
      }
    }
    const double top = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (const double score : scores) sum += std::exp(score - top);
    result.push_back(target == ignored_target ? 0.0 : scores[static_cast<size_t>(target)] - top - std::log(sum));
  }
  return result;
}

double total(const std::vector<double>& x, const std::vector<double>& w, const std::vector<int32_t>& targets) {
  double sum = 0;
  for (const double value : oracle(x, w, targets)) sum -= value;
  return sum;
}

class CrossEntropyTest : public ::testing::Test {
 protected:
  CrossEntropyTest() { weight_.value = Tensor::from_host<float>(*stream_, w_, {vocabulary, dim}); }

  // d(scale * total) / d values[i] by central differences of the double oracle.
  double numeric(std::vector<double>& values, size_t i, double scale) {
    constexpr double h = 1e-5;
    const double kept = values[i];
    values[i] = kept + h;
    const double above = total(xd_, wd_, targets_);
    values[i] = kept - h;
    const double below = total(xd_, wd_, targets_);
    values[i] = kept;
    return scale * (above - below) / (2 * h);
  }

  std::shared_ptr<Stream> stream_ = Stream::open(Device{}, 2);
  std::vector<float> x_ = draw(tokens * dim, 1);
  std::vector<float> w_ = draw(vocabulary * dim, 2);
  std::vector<double> xd_{x_.begin(), x_.end()};
  std::vector<double> wd_{w_.begin(), w_.end()};
  std::vector<int32_t> targets_ = {0, 12, ignored_target, 5, 5, ignored_target, 7, 1, 11};
  Parameter weight_;
};

TEST_F(CrossEntropyTest, LossAndGradientsMatchTheOracle) {
  const float scale = 1.0F / 7;
  weight_.allocate_grad(*stream_);
  Tape tape(*stream_);
  const Variable x = tape.leaf(Tensor::from_host<float>(*stream_, x_, {tokens, dim}));
  const Tensor targets = Tensor::from_host<int32_t>(*stream_, targets_, {tokens});
  const CrossEntropy result = linear_cross_entropy({*stream_, &tape}, x, weight_, targets, scale);
  EXPECT_EQ(result.target_count.to_host<int64_t>(*stream_)[0], 7);
  EXPECT_NEAR(result.loss_sum.to_host<double>(*stream_)[0], total(xd_, wd_, targets_), 1e-5);
  EXPECT_NEAR(result.loss.value.to_host<float>(*stream_)[0], total(xd_, wd_, targets_) / 7, 1e-6);

  tape.backward(result.loss);
  const std::vector<float> dx = tape.grad(x).to_host<float>(*stream_);
  const std::vector<float> dw = weight_.grad.to_host<float>(*stream_);
  for (size_t i = 0; i < dx.size(); ++i) EXPECT_NEAR(dx[i], numeric(xd_, i, scale), 2e-6) << "x " << i;
  for (size_t i = 0; i < dw.size(); ++i) EXPECT_NEAR(dw[i], numeric(wd_, i, scale), 2e-6) << "weight " << i;
}

TEST_F(CrossEntropyTest, InferenceTouchesNoGradient) {
  weight_.allocate_grad(*stream_);
  const Variable x{Tensor::from_host<float>(*stream_, x_, {tokens, dim})};
  const Tensor targets = Tensor::from_host<int32_t>(*stream_, targets_, {tokens});
  const CrossEntropy result = linear_cross_entropy({*stream_, nullptr}, x, weight_, targets, 1.0F);
  EXPECT_FALSE(result.loss.wants_grad());
  for (const float g : weight_.grad.to_host<float>(*stream_)) EXPECT_EQ(g, 0.0F);
}

TEST_F(CrossEntropyTest, TokenLogProbabilities) {
  const Tensor x = Tensor::from_host<float>(*stream_, x_, {tokens, dim});
  const Tensor targets = Tensor::from_host<int32_t>(*stream_, targets_, {tokens});
  const auto got = token_log_probabilities({*stream_, nullptr}, x, weight_, targets).to_host<float>(*stream_);
  const std::vector<double> expected = oracle(xd_, wd_, targets_);
  for (size_t t = 0; t < got.size(); ++t) EXPECT_NEAR(got[t], expected[t], 1e-5) << t;
  EXPECT_EQ(got[2], 0.0F);
}

}  // namespace
}  // namespace subspect::runtime::ops
