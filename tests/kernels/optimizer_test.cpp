// AdamW and SGD over lists of tensors against the formulas in double; 8-bit moments; stochastic rounding; the gradient
// norm and the scale that clips by it.
#include "kernels/optimizer.h"

#include <array>
#include <limits>
#include <set>

#include "kernels/stochastic_rounding.h"
#include "tests/kernels/optimizer_lists.h"

namespace subspect::kernels::test {
namespace {

constexpr auto float32 = MomentForm::float32;
constexpr auto int8 = MomentForm::int8;
constexpr auto none = MomentForm::none;

AdamWParams adamw_params(const TensorList& list, int64_t number) {
  return {.update = {.list = list, .lr = 0.01F, .number = number}, .beta1 = 0.9F, .beta2 = 0.95F, .eps = 1e-6F};
}

/// Updates 1 to `count` with the gradients of each, halved.
void run_adamw(Context<Cpu> on, std::vector<TensorData>& tensors, int64_t count, bool stochastic = false) {
  const float half = 0.5F;
  for (int64_t number = 1; number <= count; ++number) {
    set_gradients(tensors, number);
    const HostList list(tensors);
    AdamWParams p = adamw_params(list.list(), number);
    p.update.grad_scale = &half;
    p.update.stochastic_rounding = stochastic;
    p.update.seed = 5;
    adamw_step(on, p);
  }
}

/// Algorithm 2 of Loshchilov and Hutter in double, with the numbers of `run_adamw`.
Doubles naive_adamw(const TensorData& tensor, Doubles param, int64_t count) {
  Doubles m(param.size());
  Doubles v(param.size());
  const auto beta1 = static_cast<double>(0.9F);
  const auto beta2 = static_cast<double>(0.95F);
  const auto lr = static_cast<double>(0.01F);
  std::vector<TensorData> copy = {tensor};
  for (int64_t number = 1; number <= count; ++number) {
    set_gradients(copy, number);
    for (size_t i = 0; i < param.size(); ++i) {
      const double g = 0.5 * static_cast<double>(copy[0].grad[i]);
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      const double m_hat = m[i] / (1 - std::pow(beta1, static_cast<double>(number)));
      const double v_hat = v[i] / (1 - std::pow(beta2, static_cast<double>(number)));
      param[i] -= lr * static_cast<double>(tensor.weight_decay) * param[i];
      param[i] -= lr * m_hat / (std::sqrt(v_hat) + 1e-6);
    }
  }
  return param;
}

TEST(TensorChunks, CoverTheListInOrder) {
  std::vector<OptimizerTensor> tensors(4);
  tensors[0].count = chunk_elements;
  tensors[2].count = 2 * chunk_elements + 1;
  tensors[3].count = 1;
  ASSERT_EQ(count_chunks(tensors), 5);
  std::vector<TensorChunk> chunks(5);
  write_chunks(tensors, chunks.data());
  const std::array<std::array<int32_t, 2>, 5> expected = {{{0, 0}, {2, 0}, {2, 1}, {2, 2}, {3, 0}}};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(chunks[i].tensor, expected[i][0]);
    EXPECT_EQ(chunks[i].index, expected[i][1]);
  }
}

TEST(AdamW, EqualsTheAlgorithmForEveryTensor) {
  std::vector<TensorData> tensors;
  for (const int64_t count : {1, 7, 64, 40003}) {
    tensors.push_back(make_tensor(count, WeightForm::float32, float32, float32, static_cast<uint64_t>(count),
                                  0.1F * static_cast<float>(tensors.size())));
  }
  const std::vector<TensorData> start = tensors;
  run_adamw(context(), tensors, 5);
  for (size_t i = 0; i < tensors.size(); ++i) {
    expect_close(tensors[i].weights, naive_adamw(start[i], widen(start[i].weights), 5));
  }
}

TEST(AdamW, MasterCopyKeepsSmallSteps) {
  std::vector<TensorData> tensors = {make_tensor(1001, WeightForm::master, float32, float32, 3, 0.1F)};
  const Doubles start = widen(tensors[0].weights);
  run_adamw(context(), tensors, 5);
  expect_close(tensors[0].weights, naive_adamw(tensors[0], start, 5));
  for (size_t i = 0; i < tensors[0].rounded.size(); ++i) {
    EXPECT_EQ(tensors[0].rounded[i].bits, from_float<bfloat16>(tensors[0].weights[i]).bits);
  }
}

TEST(AdamW, Bfloat16WithoutMasterRoundsEachStep) {
  std::vector<TensorData> tensors = {make_tensor(33, WeightForm::bfloat16, float32, float32, 3, 0.1F)};
  const Doubles start = widen(tensors[0].rounded);
  run_adamw(context(), tensors, 1);
  expect_close(tensors[0].rounded, naive_adamw(tensors[0], start, 1), 1);
}

TEST(AdamW, ThreadsDoNotMatter) {
  const auto run = [](int threads) {
    std::vector<TensorData> tensors = tensors_of_all_forms();
    tensors.push_back(make_tensor(100001, WeightForm::bfloat16, int8, int8, 99));
    run_adamw(context(threads), tensors, 2, true);
    return tensors;
  };
  const std::vector<TensorData> one = run(1);
  for (const int threads : {2, 3, 5}) expect_same_tensors(run(threads), one);
}

TEST(AdamW, NegativeScaleLeavesEverythingAsItIs) {
  std::vector<TensorData> tensors = tensors_of_all_forms();
  const std::vector<TensorData> before = tensors;
  const HostList list(tensors);
  const float scale = -1.0F;
  AdamWParams adamw = adamw_params(list.list(), 1);
  adamw.update.grad_scale = &scale;
  adamw_step(context(), adamw);
  sgd_step(context(), SgdParams{adamw.update, 0.9F});
  expect_same_tensors(tensors, before);
}

TEST(Sgd, EqualsTheFormula) {
  for (const bool momentum : {false, true}) {
    std::vector<TensorData> tensors = {
        make_tensor(1003, WeightForm::float32, momentum ? float32 : none, none, 1, 0.25F),
        make_tensor(77, WeightForm::master, momentum ? float32 : none, none, 2, 0)};
    std::vector<Doubles> expected = {widen(tensors[0].weights), widen(tensors[1].weights)};
    std::vector<Doubles> velocity = {Doubles(1003), Doubles(77)};
    for (int64_t number = 1; number <= 3; ++number) {
      set_gradients(tensors, number);
      const HostList list(tensors);
      const float twice = 2.0F;
      sgd_step(context(), SgdParams{{.list = list.list(), .lr = 0.125F, .number = number, .grad_scale = &twice},
                                    momentum ? 0.75F : 0.0F});
      for (size_t t = 0; t < tensors.size(); ++t) {
        for (size_t i = 0; i < expected[t].size(); ++i) {
          velocity[t][i] = (momentum ? 0.75 : 0.0) * velocity[t][i] + 2 * static_cast<double>(tensors[t].grad[i]);
          expected[t][i] =
              expected[t][i] * (1 - 0.125 * static_cast<double>(tensors[t].weight_decay)) - 0.125 * velocity[t][i];
        }
      }
    }
    for (size_t t = 0; t < tensors.size(); ++t) expect_close(tensors[t].weights, expected[t]);
    for (size_t i = 0; i < 77; ++i) {
      EXPECT_EQ(tensors[1].rounded[i].bits, from_float<bfloat16>(tensors[1].weights[i]).bits);
    }
  }
}

// ---- 8-bit moments

/// With moments of zero the first step does not depend on how they are kept; what is kept is within half a part (9/20
/// of the decade's start) of the exact moments.
TEST(Int8Moments, FirstStepIsExactAndItsMomentsAreNear) {
  std::vector<TensorData> exact = {make_tensor(1000, WeightForm::float32, float32, float32, 4)};
  std::vector<TensorData> coded = {make_tensor(1000, WeightForm::float32, int8, int8, 4)};
  run_adamw(context(), exact, 1);
  run_adamw(context(), coded, 1);
  EXPECT_TRUE(same_bits(coded[0].weights, exact[0].weights));
  for (size_t begin = 0; begin < 1000; begin += moment_block) {
    const size_t end = std::min<size_t>(begin + moment_block, 1000);
    float largest1 = 0;
    float largest2 = 0;
    for (size_t i = begin; i < end; ++i) {
      largest1 = std::max(largest1, std::abs(exact[0].first.values[i]));
      largest2 = std::max(largest2, exact[0].second.values[i]);
    }
    EXPECT_EQ(coded[0].first.scales[begin / moment_block], largest1);
    EXPECT_EQ(coded[0].second.scales[begin / moment_block], largest2);
  }
}

/// Ten steps with 8-bit moments stay near those with float32 ones: an error in a scale, a sign or a block would not.
TEST(Int8Moments, StepsStayNearThoseInFloat32) {
  std::vector<TensorData> exact = {make_tensor(3000, WeightForm::float32, float32, float32, 4)};
  std::vector<TensorData> coded = {make_tensor(3000, WeightForm::float32, int8, int8, 4)};
  const Doubles start = widen(exact[0].weights);
  run_adamw(context(), exact, 10);
  run_adamw(context(), coded, 10);
  double error = 0;
  double moved = 0;
  for (size_t i = 0; i < start.size(); ++i) {
    error += std::pow(static_cast<double>(coded[0].weights[i]) - static_cast<double>(exact[0].weights[i]), 2);
    moved += std::pow(static_cast<double>(exact[0].weights[i]) - start[i], 2);
  }
  EXPECT_LT(std::sqrt(error / moved), 0.05);
  EXPECT_GT(error, 0);
}

TEST(Int8Moments, SecondMomentsDoNotVanishBesideLargeOnes) {
  // Squares of 1e-10 beside those of 1: relative to the largest below the smallest code, which they are rounded up to.
  std::vector<TensorData> tensors = {make_tensor(256, WeightForm::float32, int8, int8, 4)};
  tensors[0].grad.assign(256, 1e-5F);
  tensors[0].grad[17] = 1.0F;
  tensors[0].grad[18] = 0.0F;
  const HostList list(tensors);
  adamw_step(context(), adamw_params(list.list(), 1));
  for (size_t i = 0; i < 256; ++i) EXPECT_EQ(tensors[0].second.codes[i], i == 17 ? 1 : i == 18 ? 0 : 2) << i;
}

TEST(Int8Moments, WhatIsNotFiniteStaysSo) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<TensorData> tensors = {make_tensor(600, WeightForm::float32, int8, none, 4)};
    const HostList list(tensors);
    tensors[0].grad[300] = bad;
    const SgdParams p{{.list = list.list(), .lr = 0.1F}, 0.9F};
    sgd_step(context(), p);
    sgd_step(context(), p);
    EXPECT_FALSE(std::isfinite(tensors[0].weights[300]));
    EXPECT_FALSE(std::isfinite(tensors[0].first.scales[1]));
    EXPECT_TRUE(std::isfinite(tensors[0].weights[255]));  // another block
    EXPECT_TRUE(std::isfinite(tensors[0].weights[512]));
  }
}

// ---- Stochastic rounding

/// The weights after one SGD step of 1e-4 down from 1, of which bfloat16's neighbour below is 1 - 2^-8.
std::vector<bfloat16> small_step(int64_t count, int64_t number, uint64_t stream, uint64_t seed) {
  std::vector<TensorData> tensors = {make_tensor(count, WeightForm::bfloat16, none, none, 1)};
  tensors[0].rounded.assign(static_cast<size_t>(count), from_float<bfloat16>(1.0F));
  tensors[0].grad.assign(static_cast<size_t>(count), 1.0F);
  tensors[0].random_stream = stream;
  const HostList list(tensors);
  sgd_step(context(),
           SgdParams{{.list = list.list(), .lr = 1e-4F, .number = number, .stochastic_rounding = true, .seed = seed}});
  return tensors[0].rounded;
}

TEST(StochasticRounding, IsRightInTheMean) {
  constexpr int64_t count = 200000;
  double sum = 0;
  for (const bfloat16 value : small_step(count, 1, 2, 3)) {
    const float weight = to_float(value);
    EXPECT_TRUE(weight == 1.0F || weight == 1.0F - 0x1p-8F);
    sum += static_cast<double>(weight);
  }
  EXPECT_NEAR(sum / count, 1 - 1e-4, 5 * 0x1p-8 * std::sqrt(0.0256 / count));  // five standard deviations
}

TEST(StochasticRounding, BitsBelongToUpdateTensorSeedAndElement) {
  const std::vector<bfloat16> first = small_step(20000, 1, 2, 3);
  EXPECT_TRUE(same_bits(small_step(20000, 1, 2, 3), first));
  EXPECT_FALSE(same_bits(small_step(20000, 2, 2, 3), first));
  EXPECT_FALSE(same_bits(small_step(20000, 1, 3, 3), first));
  EXPECT_FALSE(same_bits(small_step(20000, 1, 2, 4), first));
  // Of a longer tensor the same elements have the same bits; and no two groups of four draw the same throughout.
  const std::vector<bfloat16> longer = small_step(30001, 1, 2, 3);
  EXPECT_TRUE(same_bits(std::vector<bfloat16>(longer.begin(), longer.begin() + 20000), first));
  for (const size_t apart : {1, 2, 4, 256, 8192}) {
    size_t same = 0;
    size_t down = 0;
    for (size_t i = 0; i + apart < first.size(); ++i) {
      if (to_float(first[i]) == 1.0F) continue;
      ++down;
      same += first[i].bits == first[i + apart].bits ? 1 : 0;
    }
    EXPECT_LT(same, down / 4) << apart;  // about one in forty
  }
}

TEST(StochasticRounding, IsUnbiasedForEveryFraction) {
  for (const uint32_t fraction : {0U, 1U, 0x4000U, 0x8000U, 0xffffU}) {
    uint32_t ups = 0;
    for (uint32_t random = 0; random < 0x10000; ++random) {
      const uint16_t rounded = round_stochastically(0x3f800000U | fraction, random << 16 | 0x1234U);
      ups += rounded == 0x3f81 ? 1 : 0;
      EXPECT_TRUE(rounded == 0x3f80 || rounded == 0x3f81);
    }
    EXPECT_EQ(ups, fraction);
  }
}

TEST(StochasticRounding, KeepsWhatIsNotANumber) {
  EXPECT_EQ(round_stochastically(0x7f800000U, 0xffffffffU), 0x7f80);
  EXPECT_EQ(round_stochastically(0xff800000U, 0xffffffffU), 0xff80);
  for (const uint32_t nan : {0x7f800001U, 0x7fffffffU, 0xffffffffU}) {
    EXPECT_TRUE(std::isnan(to_float(bfloat16{round_stochastically(nan, 0xffffffffU)})));
  }
}

TEST(StochasticRounding, LeavesMasterCopiesAlone) {
  std::vector<TensorData> nearest = {make_tensor(500, WeightForm::master, float32, float32, 1)};
  std::vector<TensorData> stochastic = nearest;
  run_adamw(context(), nearest, 2, false);
  run_adamw(context(), stochastic, 2, true);
  expect_same_tensors(stochastic, nearest);
}

// ---- The gradient norm

std::vector<TensorData> gradients(std::initializer_list<int64_t> counts) {
  std::vector<TensorData> tensors;
  for (const int64_t count : counts) {
    tensors.push_back(make_tensor(count, WeightForm::float32, none, none, tensors.size() + 1));
  }
  return tensors;
}

TEST(SquaredNorm, SumsAllTensorsInDouble) {
  std::vector<TensorData> tensors = gradients({0, 1, 9, 32768, 100003});
  const HostList list(tensors);
  double expected = 0;
  for (const TensorData& t : tensors) expected += inner(t.grad, t.grad);
  const GradientSummary summary = summary_of(context(), list.list());
  EXPECT_NEAR(summary.squared_norm, expected, 1e-12 * expected);
  EXPECT_EQ(summary.nonfinite, 0);
  EXPECT_EQ(summary.first_nonfinite, no_tensor);
}

TEST(SquaredNorm, OfNothingIsZero) {
  const GradientSummary summary = summary_of(context(), {});
  EXPECT_EQ(summary.squared_norm, 0);
  EXPECT_EQ(summary.nonfinite, 0);
  EXPECT_EQ(summary.first_nonfinite, no_tensor);
}

TEST(SquaredNorm, LargeValuesDoNotOverflow) {
  std::vector<TensorData> tensors = gradients({11});
  tensors[0].grad.assign(11, 0x1p100F);
  const HostList list(tensors);
  EXPECT_EQ(summary_of(context(), list.list()).squared_norm, 11 * 0x1p200);
}

TEST(SquaredNorm, CountsWhatIsNotFiniteAndNamesTheFirstTensor) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (const size_t at : {size_t{0}, size_t{8}, size_t{50000}}) {
      std::vector<TensorData> tensors = gradients({3, 50001, 2});
      for (TensorData& t : tensors) t.grad.assign(t.grad.size(), 1.0F);
      tensors[1].grad[at] = bad;
      tensors[2].grad[1] = bad;
      const HostList list(tensors);
      const GradientSummary summary = summary_of(context(), list.list());
      EXPECT_EQ(summary.nonfinite, 2);
      EXPECT_EQ(summary.first_nonfinite, 1);
      EXPECT_EQ(summary.squared_norm, 3.0 + 50000 + 1);
    }
  }
}

TEST(SquaredNorm, ThreadsDoNotMatter) {
  std::vector<TensorData> tensors = gradients({300007, 5, 8192});
  const HostList list(tensors);
  expect_same_for_all_teams([&](Context<Cpu> on) { return Doubles{summary_of(on, list.list()).squared_norm}; });
}

float scale_of(const GradientSummary& summary, double max_norm) {
  float scale = 7;
  clip_scale(context(), ClipScaleParams{&summary, max_norm, &scale});
  return scale;
}

TEST(ClipScale, LimitsTheNormAndNotItsSquare) {
  const GradientSummary five{.squared_norm = 25};
  EXPECT_NEAR(scale_of(five, 2.5), 0.5, 1e-6);  // a squared norm would give 0.1
  EXPECT_EQ(scale_of({.squared_norm = 0.49}, 0.8), 1.0F);
  EXPECT_EQ(scale_of(five, 6.0), 1.0F);  // the square, 25, is above it
  EXPECT_EQ(scale_of(five, 0.0), 1.0F);
  EXPECT_EQ(scale_of({}, 1.0), 1.0F);
}

TEST(ClipScale, IsNegativeWhereAGradientIsNotFinite) {
  EXPECT_EQ(scale_of({.squared_norm = 25, .nonfinite = 1, .first_nonfinite = 0}, 2.5), -1.0F);
  EXPECT_EQ(scale_of({.squared_norm = 25, .nonfinite = 1, .first_nonfinite = 0}, 0.0), -1.0F);
}

}  // namespace
}  // namespace subspect::kernels::test
