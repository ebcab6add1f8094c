// One body for the gradients of every op: against central differences in float32, and bfloat16 against float32.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/random.h"
#include "runtime/tape.h"

namespace subspect::runtime::testing {

/// An op under test: from inputs and parameters to outputs.
using Op = std::function<std::vector<Variable>(const Execution& on, const std::vector<Variable>& inputs,
                                               std::vector<Parameter>& parameters)>;

class GradientCheck {
 public:
  explicit GradientCheck(uint64_t seed) : random_(seed) {}

  Stream& stream() { return *stream_; }

  void input(Shape shape) { inputs_.push_back(draw(std::move(shape))); }
  /// @param mean of its values, for weights of norms.
  void parameter(Shape shape, double mean = 0.0) { parameters_.push_back(draw(std::move(shape), mean)); }

  /// Compares the tape's gradients with the five-point difference quotient of f = sum of w * output, random w.
  /// Arithmetic is float32: the quotient carries an error of about eps |f| / h and h^4 |f^(5)| / 30.
  void finite_differences(const Op& op, double tolerance = 2e-3) {
    const Result analytic = run(op, DType::float32);
    std::vector<std::vector<float>*> values;
    for (Drawn& drawn : inputs_) values.push_back(&drawn.values);
    for (Drawn& drawn : parameters_) values.push_back(&drawn.values);
    ASSERT_EQ(values.size(), analytic.grads.size());
    for (size_t which = 0; which < values.size(); ++which) {
      std::vector<float>& x = *values[which];
      ASSERT_EQ(x.size(), analytic.grads[which].size());
      for (size_t i = 0; i < x.size(); i += 1 + x.size() / 60) {
        const float kept = x[i];
        constexpr float h = 1e-2F;
        const auto at = [&](float offset) {
          x[i] = kept + offset;
          return value(op);
        };
        const double numeric = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
        x[i] = kept;
        const double got = analytic.grads[which][i];
        ASSERT_NEAR(got, numeric, tolerance * (1 + std::abs(numeric))) << "operand " << which << ", element " << i;
      }
    }
  }

  /// Compares outputs and gradients in bfloat16 with those in float32 from the same rounded values, by norm. Each
  /// rounding costs 2^-9 relative; outputs and gradients pass through a few.
  void bfloat16_agrees(const Op& op, double tolerance = 0.02) {
    for (Drawn& drawn : inputs_) round(drawn.values);
    for (Drawn& drawn : parameters_) round(drawn.values);
    const Result exact = run(op, DType::float32);
    const Result rounded = run(op, DType::bfloat16);
    ASSERT_EQ(exact.outputs.size(), rounded.outputs.size());
    for (size_t i = 0; i < exact.outputs.size(); ++i) expect_close(exact.outputs[i], rounded.outputs[i], tolerance);
    for (size_t i = 0; i < exact.grads.size(); ++i) expect_close(exact.grads[i], rounded.grads[i], tolerance);
  }

 private:
  struct Drawn {
    Shape shape;
    std::vector<float> values;
  };
  struct Result {
    std::vector<std::vector<float>> outputs;
    std::vector<std::vector<float>> grads;  // of the inputs, then of the parameters
  };

  Drawn draw(Shape shape, double mean = 0.0) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    Drawn drawn{std::move(shape), std::vector<float>(static_cast<size_t>(count))};
    for (float& x : drawn.values) x = static_cast<float>(mean + random_.normal());
    return drawn;
  }

  Tensor tensor(const Drawn& drawn, DType dtype) {
    return Tensor::from_host<float>(*stream_, drawn.values, drawn.shape).to(*stream_, dtype);
  }

  // The weights of output `index` in f; exactly representable in bfloat16.
  static std::vector<float> weights(size_t index, size_t count) {
    Random random(99, index);
    std::vector<float> w(count);
    for (float& x : w) x = static_cast<float>(static_cast<int>(random.below(9)) - 4) / 4.0F;
    return w;
  }

  std::vector<Parameter> make_parameters(DType dtype, bool trained) {
    std::vector<Parameter> parameters(parameters_.size());
    for (size_t i = 0; i < parameters_.size(); ++i) {
      parameters[i].value = tensor(parameters_[i], dtype);
      if (trained) parameters[i].allocate_grad(*stream_);
    }
    return parameters;
  }

  double value(const Op& op) {
    std::vector<Variable> inputs;
    for (const Drawn& drawn : inputs_) inputs.push_back({tensor(drawn, DType::float32)});
    std::vector<Parameter> parameters = make_parameters(DType::float32, false);
    const std::vector<Variable> outputs = op({*stream_, nullptr}, inputs, parameters);
    double sum = 0;
    for (size_t k = 0; k < outputs.size(); ++k) {
      const std::vector<double> y = outputs[k].value.to_host<double>(*stream_);
      const std::vector<float> w = weights(k, y.size());
      for (size_t i = 0; i < y.size(); ++i) sum += y[i] * w[i];
    }
    return sum;
  }

  Result run(const Op& op, DType dtype) {
    Tape tape(*stream_);
    std::vector<Variable> inputs;
    for (const Drawn& drawn : inputs_) inputs.push_back(tape.leaf(tensor(drawn, dtype)));
    std::vector<Parameter> parameters = make_parameters(dtype, true);
    const std::vector<Variable> outputs = op({*stream_, &tape}, inputs, parameters);
    Result result;
    std::vector<Tensor> seeds;
    for (size_t k = 0; k < outputs.size(); ++k) {
      result.outputs.push_back(outputs[k].value.to_host<float>(*stream_));
      const std::vector<float> w = weights(k, result.outputs[k].size());
      seeds.push_back(Tensor::from_host<float>(*stream_, w, outputs[k].value.shape()).to(*stream_, dtype));
    }
    tape.backward(outputs, std::move(seeds));
    for (const Variable& input : inputs) result.grads.push_back(tape.grad(input).to_host<float>(*stream_));
    for (const Parameter& parameter : parameters) result.grads.push_back(parameter.grad.to_host<float>(*stream_));
    return result;
  }

  static void round(std::vector<float>& values) {
    for (float& x : values) x = kernels::to_float(kernels::from_float<bfloat16>(x));
  }

  static void expect_close(const std::vector<float>& expected, const std::vector<float>& got, double tolerance) {
    ASSERT_EQ(expected.size(), got.size());
    double error = 0;
    double norm = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      error += std::pow(static_cast<double>(got[i]) - expected[i], 2);
      norm += std::pow(static_cast<double>(expected[i]), 2);
    }
    EXPECT_LE(std::sqrt(error), tolerance * std::sqrt(norm));
  }

  std::shared_ptr<Stream> stream_ = Stream::open(Device{}, 2);
  Random random_;
  std::vector<Drawn> inputs_;
  std::vector<Drawn> parameters_;
};

}  // namespace subspect::runtime::testing
