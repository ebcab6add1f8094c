// Softmax, loss and gradient over rows of scores against the CPU's fused head. That is given one token with x = 1 and
// the scores as its weight, so that the gradient of the weight is the gradient of the scores.
#include "kernels/cuda/cross_entropy.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/linear_cross_entropy.h"
#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

constexpr float scale = 0.125F;

/// log p(target) and gradient of one row.
struct RowResult {
  float log_p = 0;
  std::vector<float> gradient;
};

RowResult row_on_cpu(const std::vector<float>& scores, int32_t target) {
  const float one = 1;
  double loss = 0;
  RowResult result;
  result.gradient.resize(scores.size());
  LinearCrossEntropyParams<float> p{&one, scores.data(), &target, &loss, nullptr, &result.log_p};
  p.dweight = result.gradient.data();
  p.gradient_scale = scale;
  p.tokens = p.dim = 1;
  p.vocab = static_cast<int64_t>(scores.size());
  const Workspace workspace(linear_cross_entropy_workspace_bytes<Cpu>(p));
  p.workspace = workspace.get();
  linear_cross_entropy(context(), p);
  return result;
}

/// Rows of scores, padded as the kernel wants them, with NaN as padding.
struct Rows {
  int64_t vocab;
  std::vector<std::vector<float>> scores;
  std::vector<int32_t> targets;

  int64_t count() const { return static_cast<int64_t>(scores.size()); }
  int64_t stride() const {
    return (vocab + kernels::gpu::score_row_multiple - 1) / kernels::gpu::score_row_multiple *
           kernels::gpu::score_row_multiple;
  }

  void add(std::vector<float> row, int32_t target) {
    scores.push_back(std::move(row));
    targets.push_back(target);
  }

  std::vector<float> padded() const {
    std::vector<float> all(static_cast<size_t>(count() * stride()), NAN);
    for (int64_t i = 0; i < count(); ++i) {
      std::copy(scores[static_cast<size_t>(i)].begin(), scores[static_cast<size_t>(i)].end(),
                all.begin() + i * stride());
    }
    return all;
  }
};

/// Rows of every kind, with targets at both ends, in the middle and nowhere.
Rows make_rows(int64_t vocab) {
  Rows rows{vocab, {}, {}};
  const auto last = static_cast<int32_t>(vocab - 1);
  rows.add(random_values<float>(vocab, 1), 0);
  rows.add(random_values<float>(vocab, 2, 3.0F), last);
  rows.add(random_values<float>(vocab, 3), ignored_target);
  std::vector<float> low = random_values<float>(vocab, 4);
  for (float& score : low) score -= 300;
  rows.add(low, last / 2);
  std::vector<float> high = random_values<float>(vocab, 5);
  for (float& score : high) score += 300;
  rows.add(high, last);
  rows.add(std::vector<float>(static_cast<size_t>(vocab), -5.0F), 0);  // all the same
  std::vector<float> peaked(static_cast<size_t>(vocab), -80.0F);       // one certain choice, which is not the target
  peaked.back() = 40;
  rows.add(peaked, 0);
  std::vector<float> rising(static_cast<size_t>(vocab));  // a new maximum in every tile
  for (size_t i = 0; i < rising.size(); ++i) rising[i] = 0.01F * static_cast<float>(i);
  rows.add(rising, last / 3);
  rows.add(random_values<float>(vocab, 6), -1);  // any negative target
  return rows;
}

struct Outcome {
  std::vector<float> log_p;
  std::vector<float> scores;  ///< what is left of them
};

template <class T>
Outcome run(const Rows& rows, bool gradient) {
  const DeviceBuffer<float> scores(rows.padded()), log_p(rows.scores.size());
  const DeviceBuffer<int32_t> targets(rows.targets);
  const kernels::gpu::CrossEntropyRows p{scores.data(), targets.data(), log_p.data(), rows.count(),
                                         rows.vocab,    rows.stride(),  scale};
  if (gradient) {
    kernels::gpu::cross_entropy_backward<T>(nullptr, p);
  } else {
    kernels::gpu::cross_entropy_forward(nullptr, p);
  }
  return {log_p.values(), scores.values()};
}

template <class T>
std::vector<T> gradient_of(const Rows& rows, const Outcome& outcome, int64_t row) {
  std::vector<T> gradient(static_cast<size_t>(rows.vocab));
  std::memcpy(static_cast<void*>(gradient.data()), outcome.scores.data() + row * rows.stride(),
              gradient.size() * sizeof(T));
  return gradient;
}

/// log p is a difference of numbers as large as the largest score.
void expect_log_p(const Rows& rows, const Outcome& outcome, const std::vector<RowResult>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE("row " + std::to_string(i));
    if (rows.targets[i] < 0) {
      EXPECT_EQ(outcome.log_p[i], 0.0F);
      continue;
    }
    float largest = 1;
    for (const float score : rows.scores[i]) largest = std::max(largest, std::abs(score));
    EXPECT_NEAR(outcome.log_p[i], expected[i].log_p, 8 * epsilon<float> * static_cast<double>(largest));
  }
}

template <class T>
void expect_gradients(const Rows& rows, const Outcome& outcome, const std::vector<RowResult>& expected) {
  for (int64_t i = 0; i < rows.count(); ++i) {
    SCOPED_TRACE("row " + std::to_string(i));
    const std::vector<T> gradient = gradient_of<T>(rows, outcome, i);
    if (rows.targets[static_cast<size_t>(i)] < 0) {
      EXPECT_TRUE(same_bits(gradient, std::vector<T>(gradient.size())));
    } else {
      expect_close(gradient, widen(expected[static_cast<size_t>(i)].gradient));
    }
  }
}

std::vector<RowResult> on_cpu(const Rows& rows) {
  std::vector<RowResult> results;
  for (size_t i = 0; i < rows.scores.size(); ++i) results.push_back(row_on_cpu(rows.scores[i], rows.targets[i]));
  return results;
}

/// One and several tiles of 8192 scores, ragged and whole.
const std::vector<int64_t> vocabularies = {1, 3, 4, 61, 512, 2050, 8192, 8195, 20001};

SIMT_SUITE(SimtCrossEntropy);

TYPED_TEST(SimtCrossEntropy, EqualsCpu) {
  using T = TypeParam;
  for (const int64_t vocab : vocabularies) {
    SCOPED_TRACE("vocabulary of " + std::to_string(vocab));
    const Rows rows = make_rows(vocab);
    const std::vector<RowResult> expected = on_cpu(rows);
    const auto check = [&] {
      const Outcome outcome = run<T>(rows, true);
      expect_log_p(rows, outcome, expected);
      expect_gradients<T>(rows, outcome, expected);
    };
    if (vocab < 3000) {
      this->for_each_schedule(check);
    } else {
      set_schedule(1);
      check();
      set_schedule(4, 509);
      check();
    }
  }
}

TEST(SimtCrossEntropyForward, EqualsCpuAndLeavesTheScores) {
  for (const int64_t vocab : vocabularies) {
    set_schedule(2);
    const Rows rows = make_rows(vocab);
    const Outcome outcome = run<float>(rows, false);
    expect_log_p(rows, outcome, on_cpu(rows));
    EXPECT_TRUE(same_bits(outcome.scores, rows.padded()));
  }
}

TYPED_TEST(SimtCrossEntropy, SameBitsInEveryOrder) {
  using T = TypeParam;
  const Rows rows = make_rows(9000);
  set_schedule(1);
  const Outcome expected = run<T>(rows, true);
  set_schedule(2, 997);
  const Outcome outcome = run<T>(rows, true);
  EXPECT_TRUE(same_bits(outcome.log_p, expected.log_p));
  for (int64_t i = 0; i < rows.count(); ++i) {
    EXPECT_TRUE(same_bits(gradient_of<T>(rows, outcome, i), gradient_of<T>(rows, expected, i)));
  }
}

/// Scores that are not finite must not pass for a loss.
TEST(SimtCrossEntropyForward, NotANumberShows) {
  for (const float bad : {NAN, std::numeric_limits<float>::infinity()}) {
    Rows rows{100, {}, {}};
    rows.add(random_values<float>(100, 1), 3);
    rows.scores[0][70] = bad;
    set_schedule(1);
    EXPECT_TRUE(std::isnan(run<float>(rows, false).log_p[0]));
  }
}

TYPED_TEST(SimtCrossEntropy, ImpossibleTokensHaveNoProbability) {
  using T = TypeParam;
  Rows rows{3000, {}, {}};
  rows.add(random_values<float>(3000, 1), 3);
  for (size_t i = 4; i < 3000; ++i) rows.scores[0][i] = -std::numeric_limits<float>::infinity();
  set_schedule(1);
  const Outcome outcome = run<T>(rows, true);
  const RowResult expected = row_on_cpu({rows.scores[0].begin(), rows.scores[0].begin() + 4}, 3);
  EXPECT_NEAR(outcome.log_p[0], expected.log_p, 1e-6);
  std::vector<float> gradient = expected.gradient;
  gradient.resize(3000);
  expect_close(gradient_of<T>(rows, outcome, 0), widen(gradient));
}

struct Sums {
  double loss;
  int64_t count;
};

Sums sum_on_gpu(const std::vector<float>& log_p, const std::vector<int32_t>& targets) {
  const DeviceBuffer<float> d_log_p(log_p);
  const DeviceBuffer<int32_t> d_targets(targets);
  const DeviceBuffer<double> loss(1);
  const DeviceBuffer<int64_t> count(1);
  const auto tokens = static_cast<int64_t>(log_p.size());
  kernels::gpu::sum_losses(nullptr, {d_log_p.data(), d_targets.data(), loss.data(), count.data(), tokens});
  return {loss.values()[0], count.values()[0]};
}

class SimtLossSum : public SimtCase {};

TEST_F(SimtLossSum, AddsTheTokensThatCount) {
  for (const int64_t tokens : {0, 1, 5, 1024, 2500}) {
    std::vector<float> log_p = random_values<float>(tokens, 1);
    std::vector<int32_t> targets(log_p.size(), 7);
    double loss = 0;
    int64_t count = 0;
    for (size_t i = 0; i < targets.size(); ++i) {
      if (i % 3 == 1) {
        targets[i] = i % 2 == 0 ? -1 : ignored_target;
      } else {
        targets[i] = i % 5 == 0 ? 0 : 7;
        loss -= static_cast<double>(log_p[i]);
        ++count;
      }
    }
    for_each_schedule([&] {
      const Sums sums = sum_on_gpu(log_p, targets);
      EXPECT_NEAR(sums.loss, loss, 1e-12 * static_cast<double>(tokens));
      EXPECT_EQ(sums.count, count);
    });
  }
}

TEST_F(SimtLossSum, CountIsOptional) {
  set_schedule(1);
  const DeviceBuffer<float> log_p(std::vector<float>{-1.5F});
  const DeviceBuffer<int32_t> targets(std::vector<int32_t>{0});
  const DeviceBuffer<double> loss(1);
  kernels::gpu::sum_losses(nullptr, {log_p.data(), targets.data(), loss.data(), nullptr, 1});
  EXPECT_EQ(loss.values()[0], 1.5);
}

}  // namespace
}  // namespace subspect::kernels::test
