// Optimizers against steps computed by hand in double precision, clipping, non-finite gradients, and saved state.
#include "runtime/optim/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/error.h"
#include "runtime/random.h"

namespace subspect::runtime::optim {
namespace {

class OptimizerTest : public ::testing::Test {
 protected:
  Parameter make(std::string name, std::vector<float> values, std::vector<float> grads, Shape shape,
                 DType dtype = DType::float32) {
    Parameter parameter;
    parameter.parts = {{std::move(name), 0, shape[0]}};
    parameter.value = Tensor::from_host<float>(stream(), values, shape).to(stream(), dtype);
    parameter.grad = Tensor::from_host<float>(stream(), grads, shape);
    return parameter;
  }
  std::vector<float> host(const Tensor& tensor) { return tensor.to_host<float>(stream()); }
  Stream& stream() { return *stream_; }

 private:
  std::shared_ptr<Stream> stream_ = Stream::open(Device{}, 2);
};

TEST_F(OptimizerTest, AdamWMatchesTheFormulas) {
  const std::vector<float> start = {1.0F, -2.0F, 0.5F};
  const std::vector<float> grad = {0.1F, -0.2F, 0.3F};
  Parameter w = make("w", start, grad, {3, 1});
  Parameter* const list[] = {&w};
  const AdamWConfig config{.lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
  const auto optimizer = make_adamw(stream(), list, config);
  const double factors[] = {0.5, 1.0, 0.25};
  for (const double factor : factors)
    optimizer->step({.lr_factor = factor, .max_grad_norm = 0.5 * (std::sqrt(0.14) + 1e-6)});
  for (size_t i = 0; i < start.size(); ++i) {
    double p = start[i];
    double m = 0;
    double v = 0;
    const double g = 0.5 * grad[i];
    for (int t = 1; t <= 3; ++t) {
      const double lr = config.lr * factors[t - 1];
      m = config.beta1 * m + (1 - config.beta1) * g;
      v = config.beta2 * v + (1 - config.beta2) * g * g;
      p -= lr * config.weight_decay * p;
      p -= lr * (m / (1 - std::pow(config.beta1, t))) / (std::sqrt(v / (1 - std::pow(config.beta2, t))) + config.eps);
    }
    EXPECT_NEAR(host(w.value)[i], p, 1e-6) << i;
  }
  EXPECT_EQ(optimizer->steps(), 3);
}

TEST_F(OptimizerTest, VectorsAreNotDecayed) {
  Parameter norm = make("norm", {2.0F}, {0.0F}, {1});
  Parameter matrix = make("matrix", {2.0F}, {0.0F}, {1, 1});
  Parameter* const list[] = {&norm, &matrix};
  make_adamw(stream(), list, {.lr = 0.1, .weight_decay = 0.5})->step({});
  EXPECT_EQ(host(norm.value)[0], 2.0F);
  EXPECT_NEAR(host(matrix.value)[0], 1.9, 1e-6);
}

TEST_F(OptimizerTest, SgdWithMomentumMatchesTheFormulas) {
  Parameter w = make("w", {1.0F}, {0.5F}, {1, 1});
  Parameter* const list[] = {&w};
  const auto optimizer = make_sgd(stream(), list, {.lr = 0.1, .momentum = 0.9});
  optimizer->step({});
  optimizer->step({});
  EXPECT_NEAR(host(w.value)[0], 1.0 - 0.1 * 0.5 - 0.1 * (0.9 * 0.5 + 0.5), 1e-6);
}

TEST_F(OptimizerTest, MasterWeightsKeepWhatBfloat16Loses) {
  // Steps of 1e-4 on a weight of 1 are lost in bfloat16 (its neighbour below 1 is 1 - 2^-8) but not in the master copy.
  Parameter w = make("w", {1.0F}, {1.0F}, {1, 1}, DType::bfloat16);
  Parameter* const list[] = {&w};
  const auto optimizer = make_sgd(stream(), list, {.lr = 1e-4}, {.master_weights = true});
  for (int i = 0; i < 200; ++i) optimizer->step({});
  EXPECT_NEAR(host(w.value)[0], 0.98, 0.004);
  Parameter plain = make("w", {1.0F}, {1.0F}, {1, 1}, DType::bfloat16);
  Parameter* const plain_list[] = {&plain};
  const auto without = make_sgd(stream(), plain_list, {.lr = 1e-4});
  for (int i = 0; i < 200; ++i) without->step({});
  EXPECT_EQ(host(plain.value)[0], 1.0F);
}

/// Elements from which on moments are kept in 8 bits, where they are at all.
constexpr int64_t coded_size = StateFormat().smallest_int8_tensor;

std::vector<float> ramp(int64_t count, float step) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = step * static_cast<float>(static_cast<int>(i % 97) - 48);
  return values;
}

/// What is kept of a tensor of float32 values and of one of codes, in every format.
TEST_F(OptimizerTest, StateContinuesBitwise) {
  constexpr int64_t large = coded_size + 300;
  for (const StateFormat& format :
       {StateFormat{.master_weights = true}, StateFormat{.master_weights = true, .int8_moments = true},
        StateFormat{.stochastic_rounding = true, .seed = 4},
        StateFormat{.stochastic_rounding = true, .seed = 4, .int8_moments = true}}) {
    const auto make_small = [&] { return make("w", {0.3F, -0.7F}, {0.11F, 0.13F}, {2, 1}, DType::bfloat16); };
    const auto make_large = [&] {
      return make("x", ramp(large, 0.01F), ramp(large, 0.003F), {large, 1}, DType::bfloat16);
    };
    const AdamWConfig config{.lr = 0.01};
    Parameter a = make_small();
    Parameter a_large = make_large();
    Parameter* const a_list[] = {&a, &a_large};
    const auto straight = make_adamw(stream(), a_list, config, format);
    for (int i = 0; i < 5; ++i) straight->step({});

    Parameter b = make_small();
    Parameter b_large = make_large();
    Parameter* const b_list[] = {&b, &b_large};
    const auto first = make_adamw(stream(), b_list, config, format);
    for (int i = 0; i < 2; ++i) first->step({});
    std::vector<NamedTensor> saved;
    for (const StateTensor& state : first->state()) saved.emplace_back(state.name, state.part.clone(stream()));
    const auto second = make_adamw(stream(), b_list, config, format);
    second->load_state(saved, first->steps(), "state");
    for (int i = 0; i < 3; ++i) second->step({});
    EXPECT_EQ(host(a.value), host(b.value));
    EXPECT_EQ(host(a_large.value), host(b_large.value));
    const size_t per_tensor = format.master_weights ? 3 : 2;
    ASSERT_EQ(straight->state().size(), 2 * per_tensor + (format.int8_moments ? 2 : 0));
    for (size_t i = 0; i < straight->state().size(); ++i) {
      EXPECT_EQ(straight->state()[i].name, second->state()[i].name);
      EXPECT_EQ(host(straight->state()[i].part), host(second->state()[i].part)) << straight->state()[i].name;
    }
  }
}

TEST_F(OptimizerTest, OnlyLargeTensorsKeepCodes) {
  Parameter small = make("small", ramp(coded_size - 1, 1), ramp(coded_size - 1, 1), {coded_size - 1, 1});
  Parameter large = make("large", ramp(coded_size, 1), ramp(coded_size, 1), {16, 256});
  Parameter* const list[] = {&small, &large};
  const auto optimizer = make_adamw(stream(), list, {}, {.int8_moments = true});
  std::vector<std::string> names;
  for (const StateTensor& state : optimizer->state()) {
    const std::string& name = state.name;
    names.push_back(name);
    EXPECT_EQ(state.dtype() == DType::uint8, name == "large.exp_avg" || name == "large.exp_avg_sq") << name;
    EXPECT_EQ(state.part.numel() == 16, name.ends_with(".scale")) << name;
  }
  EXPECT_EQ(names, (std::vector<std::string>{"small.exp_avg", "small.exp_avg_sq", "large.exp_avg",
                                             "large.exp_avg.scale", "large.exp_avg_sq", "large.exp_avg_sq.scale"}));
}

/// What is left of sum (slope (x - goal))^2 / n, with slopes between 1 and 1/30, after 200 steps with noisy gradients.
double regression_error(Stream& stream, const StateFormat& format, bool adamw, DType dtype) {
  constexpr int64_t count = coded_size;
  std::vector<double> slope(count);
  std::vector<double> goal(count);
  for (size_t i = 0; i < slope.size(); ++i) {
    slope[i] = std::pow(30.0, -static_cast<double>(i % 101) / 100.0);
    goal[i] = std::sin(static_cast<double>(i));
  }
  Parameter x;
  x.parts = {{"x", 0, count}};
  x.value = Tensor::zeros(stream, {count, 1}, dtype);
  x.allocate_grad(stream);
  Parameter* const list[] = {&x};
  const auto optimizer = adamw ? make_adamw(stream, list, {.lr = 0.02}, format)
                               : make_sgd(stream, list, {.lr = 0.1, .momentum = 0.9}, format);
  Random random(7);
  double error = 0;
  for (int step = 0; step < 200; ++step) {
    const std::vector<float> values = x.value.to_host<float>(stream);
    const std::span<float> grad = x.grad.values<float>();
    error = 0;
    for (size_t i = 0; i < slope.size(); ++i) {
      const double residual = slope[i] * (static_cast<double>(values[i]) - goal[i]);
      error += residual * residual / count;
      grad[i] = static_cast<float>(slope[i] * residual * (0.5 + random.uniform()));
    }
    optimizer->step({.lr_factor = 1.0 - step / 200.0});
  }
  return error;
}

TEST_F(OptimizerTest, Int8MomentsConvergeLikeFloat32) {
  for (const bool adamw : {true, false}) {
    const double exact = regression_error(stream(), {}, adamw, DType::float32);
    const double coded = regression_error(stream(), {.int8_moments = true}, adamw, DType::float32);
    EXPECT_LT(exact, 5e-3) << adamw;  // of 0.07 at the start
    EXPECT_LT(coded, 1.2 * exact + 1e-5) << adamw;
    EXPECT_NE(coded, exact) << adamw;
  }
}

TEST_F(OptimizerTest, StochasticRoundingConvergesWhereNearestStops) {
  const double nearest = regression_error(stream(), {}, true, DType::bfloat16);
  const double stochastic = regression_error(stream(), {.stochastic_rounding = true, .seed = 1}, true, DType::bfloat16);
  const double master = regression_error(stream(), {.master_weights = true}, true, DType::bfloat16);
  EXPECT_LT(stochastic, nearest);
  EXPECT_LT(stochastic, 2 * master + 1e-4);
}

/// A hundred steps of 1e-4, each far below half of bfloat16's unit in the last place: lost when rounded to the nearest.
TEST_F(OptimizerTest, StochasticRoundingKeepsSmallStepsInTheMean) {
  constexpr int64_t count = 2000;
  const auto ones = std::vector<float>(count, 1.0F);
  Parameter w = make("w", ones, ones, {count, 1}, DType::bfloat16);
  Parameter* const list[] = {&w};
  const auto optimizer = make_sgd(stream(), list, {.lr = 1e-4}, {.stochastic_rounding = true, .seed = 2});
  for (int i = 0; i < 100; ++i) optimizer->step({});
  double sum = 0;
  for (const float value : host(w.value)) sum += static_cast<double>(value);
  EXPECT_NEAR(sum / count, 0.99, 0.001);
}

/// Parameters in both types are one list; a tensor that has moved since the last step is found where it is.
TEST_F(OptimizerTest, TypesMixAndTensorsMayMove) {
  Parameter a = make("a", {1.0F}, {1.0F}, {1, 1});
  Parameter b = make("b", {1.0F}, {1.0F}, {1, 1}, DType::bfloat16);
  Parameter* const list[] = {&a, &b};
  const auto optimizer = make_sgd(stream(), list, {.lr = 0.25});
  optimizer->step({});
  const Tensor old_value = a.value;
  a.value = a.value.clone(stream());
  b.grad = b.grad.clone(stream());
  optimizer->step({});
  EXPECT_EQ(host(a.value)[0], 0.5F);
  EXPECT_EQ(host(b.value)[0], 0.5F);
  EXPECT_EQ(host(old_value)[0], 0.75F);
}

TEST_F(OptimizerTest, StateThatDoesNotFitIsNamed) {
  Parameter w = make("w", {1.0F}, {1.0F}, {1, 1});
  Parameter* const list[] = {&w};
  const auto optimizer = make_adamw(stream(), list, {});
  std::vector<NamedTensor> tensors;
  for (const StateTensor& state : optimizer->state()) tensors.emplace_back(state.name, state.part);
  tensors.pop_back();
  try {
    optimizer->load_state(tensors, 1, "state/step-1");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("w.exp_avg_sq"), std::string::npos) << error.what();
  }
}

TEST_F(OptimizerTest, NormIsGlobalAndClippingUsesItNotItsSquare) {
  for (const double limit : {0.0, 2.5, 6.0}) {  // the square, 25, is above all of them
    Parameter a = make("a", {0, 0}, {3.0F, 0.0F}, {2});
    Parameter b = make("b", {0}, {4.0F}, {1});
    Parameter* const list[] = {&a, &b};
    const auto optimizer = make_sgd(stream(), list, {.lr = 1.0});
    const GradientNorm norm = optimizer->step({.max_grad_norm = limit});
    EXPECT_DOUBLE_EQ(norm.norm, 5.0);
    EXPECT_TRUE(norm.first_non_finite.empty());
    EXPECT_NEAR(host(b.value)[0], limit == 2.5 ? -2.0 : -4.0, 1e-5);
  }
}

TEST_F(OptimizerTest, NonFiniteGradientsAreNamedAndNothingIsUpdated) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  Parameter frozen = make("frozen", {1.0F}, {nan}, {1});
  frozen.grad = Tensor();
  Parameter a = make("good", {1.0F}, {3.0F}, {1});
  Parameter b = make("bad", {0, 0, 0}, {nan, 1.0F, -inf}, {3});
  Parameter* const list[] = {&frozen, &a, &b};
  const auto optimizer = make_adamw(stream(), list, {});
  const GradientNorm norm = optimizer->step({.max_grad_norm = 1.0});
  EXPECT_EQ(norm.first_non_finite, "bad");
  EXPECT_EQ(norm.non_finite, 2);
  EXPECT_EQ(optimizer->steps(), 0);
  EXPECT_EQ(host(a.value)[0], 1.0F);
  for (const StateTensor& state : optimizer->state()) EXPECT_EQ(host(state.part)[0], 0.0F) << state.name;
}

TEST_F(OptimizerTest, FrozenParametersStay) {
  Parameter frozen = make("frozen", {1.0F}, {1.0F}, {1, 1});
  frozen.grad = Tensor();
  Parameter* const list[] = {&frozen};
  const auto optimizer = make_sgd(stream(), list, {.lr = 1.0});
  optimizer->step({});
  EXPECT_EQ(host(frozen.value)[0], 1.0F);
  EXPECT_TRUE(optimizer->state().empty());
}

}  // namespace
}  // namespace subspect::runtime::optim
