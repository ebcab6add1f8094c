// An optimizer shared by ranks: the same bits as alone, and the same state.
#include <gtest/gtest.h>

#include <limits>

#include "runtime/error.h"
#include "runtime/optim/optimizer.h"
#include "tests/runtime/comm/thread_ranks.h"

namespace subspect::runtime::optim {
namespace {

using tests::on_ranks;

constexpr int slices = 4;

/// A large, an uneven and a small tensor, from fixed numbers.
std::vector<Parameter> make_parameters(Stream& stream, DType dtype) {
  std::vector<Parameter> parameters;
  for (const auto& [name, shape] :
       std::vector<std::pair<std::string, Shape>>{{"large", {40, 256}}, {"uneven", {3, 421}}, {"norm", {64}}}) {
    Parameter& parameter = parameters.emplace_back();
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    std::vector<float> values, grad;
    for (int64_t i = 0; i < count; ++i) {
      values.push_back(0.01F * static_cast<float>(i % 89 - 44));
      grad.push_back(0.003F * static_cast<float>(i % 101 - 47));
    }
    parameter.value = Tensor::from_host<float>(stream, values, shape).to(stream, dtype);
    parameter.grad = Tensor::from_host<float>(stream, grad, shape);
    parameter.parts = {{name, 0, shape[0]}};
  }
  return parameters;
}

struct Outcome {
  std::vector<std::vector<float>> weights;
  std::vector<std::pair<std::string, std::vector<float>>> state;
  std::vector<double> norms;
  bool operator==(const Outcome&) const = default;
};

/// Three steps, of which the last goes on from a state that was saved and loaded.
Outcome train(comm::Communicator* ranks, DType dtype, const StateFormat& format) {
  const auto stream = Stream::open({}, 1);
  std::vector<Parameter> parameters = make_parameters(*stream, dtype);
  std::vector<Parameter*> list;
  for (Parameter& parameter : parameters) list.push_back(&parameter);
  const Sharding sharding{ranks, slices};
  const AdamWConfig config{.lr = 0.01, .weight_decay = 0.1};
  auto optimizer = make_adamw(*stream, list, config, format, sharding);
  Outcome outcome;
  std::vector<NamedTensor> saved;
  for (int step = 0; step < 3; ++step) {
    if (step == 2) {
      for (const StateTensor& state : optimizer->state()) {
        Tensor whole = gather_whole(*stream, state, sharding);
        if (!whole.defined()) whole = Tensor::empty(*stream, state.shape, state.dtype());
        if (ranks != nullptr) ranks->broadcast(*stream, {&whole, 1});
        saved.emplace_back(state.name, whole.clone(*stream));
      }
      optimizer = make_adamw(*stream, list, config, format, sharding);
      optimizer->load_state(saved, 2, "saved");
    }
    outcome.norms.push_back(optimizer->step({.max_grad_norm = 0.5}).norm);
  }
  for (const Parameter& parameter : parameters) outcome.weights.push_back(parameter.value.to_host<float>(*stream));
  for (const NamedTensor& state : saved) outcome.state.emplace_back(state.first, state.second.to_host<float>(*stream));
  return outcome;
}

TEST(ThreadSharding, RanksAgreeBitwiseWithOneAlone) {
  for (const auto& [dtype, format] : std::vector<std::pair<DType, StateFormat>>{
           {DType::float32, {}},
           {DType::bfloat16, {.master_weights = true}},
           {DType::bfloat16, {.stochastic_rounding = true, .seed = 3, .int8_moments = true}}}) {
    const Outcome alone = train(nullptr, dtype, format);
    for (const int count : {1, 2, 4}) {
      on_ranks(count, [&, dtype = dtype, &format = format](comm::Communicator& ranks) {
        EXPECT_TRUE(train(&ranks, dtype, format) == alone) << name(dtype) << " on " << count;
      });
    }
  }
}

TEST(ThreadSharding, ANonFiniteGradientIsNamedOnEveryRank) {
  on_ranks(4, [](comm::Communicator& ranks) {
    const auto stream = Stream::open({}, 1);
    std::vector<Parameter> parameters = make_parameters(*stream, DType::float32);
    parameters[1].grad.data<float>()[parameters[1].grad.numel() - 1] = std::numeric_limits<float>::infinity();
    std::vector<Parameter*> list;
    for (Parameter& parameter : parameters) list.push_back(&parameter);
    const auto before = parameters[0].value.to_host<float>(*stream);
    const auto optimizer = make_sgd(*stream, list, {.lr = 1}, {}, {&ranks, slices});
    const GradientNorm norm = optimizer->step({});
    EXPECT_EQ(norm.first_non_finite, "uneven");
    EXPECT_EQ(norm.non_finite, 1);
    EXPECT_EQ(optimizer->steps(), 0);
    EXPECT_EQ(parameters[0].value.to_host<float>(*stream), before);
  });
}

TEST(ThreadSharding, ARankKeepsItsShareOfTheState) {
  on_ranks(4, [](comm::Communicator& ranks) {
    const auto stream = Stream::open({}, 1);
    std::vector<Parameter> parameters = make_parameters(*stream, DType::float32);
    Parameter* const list[] = {&parameters[0]};
    const auto optimizer = make_adamw(*stream, list, {}, {}, {&ranks, slices});
    for (const StateTensor& state : optimizer->state()) {
      EXPECT_EQ(state.part.numel(), 40 * 256 / 4);
      EXPECT_EQ(state.shape, (Shape{40, 256}));
    }
  });
}

TEST(ThreadSharding, SlicesAreAMultipleOfTheRanks) {
  on_ranks(3, [](comm::Communicator& ranks) {
    const auto stream = Stream::open({}, 1);
    std::vector<Parameter> parameters = make_parameters(*stream, DType::float32);
    Parameter* const list[] = {&parameters[0]};
    EXPECT_THROW(make_sgd(*stream, list, {}, {}, {&ranks, slices}), Error);
  });
}

}  // namespace
}  // namespace subspect::runtime::optim
