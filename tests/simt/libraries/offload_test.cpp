// An optimizer's state in pinned host memory: the same bits as on the device, under late streams of several seeds, and
// errors where it cannot be there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "runtime/error.h"
#include "runtime/optim/offload.h"
#include "runtime/optim/optimizer.h"
#include "tests/simt/cuda/support.h"

namespace subspect::runtime::optim {
namespace {

using ::testing::HasSubstr;

std::vector<float> values_of(int64_t count, float scale) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(scale * static_cast<float>(i % 97 - 48));
  return values;
}

class Offload : public emulated::test::EmulatedCase {};

struct Outcome {
  std::vector<std::vector<float>> values;
  bool operator==(const Outcome&) const = default;
};

/// Three steps, before the last of which the state is read and loaded again.
Outcome train(DType dtype, const StateFormat& format) {
  const auto stream = Stream::open(Device::parse("cuda"));
  std::vector<Parameter> parameters(3);
  const std::vector<Shape> shapes = {{70, 256}, {3, 421}, {64}};
  std::vector<Parameter*> list;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const int64_t count = std::accumulate(shapes[i].begin(), shapes[i].end(), int64_t{1}, std::multiplies<>());
    parameters[i].value = Tensor::from_host<float>(*stream, values_of(count, 0.01F), shapes[i]).to(*stream, dtype);
    parameters[i].grad = Tensor::from_host<float>(*stream, values_of(count, 0.003F), shapes[i]);
    parameters[i].parts = {{"p" + std::to_string(i), 0, shapes[i][0]}};
    list.push_back(&parameters[i]);
  }
  auto optimizer = make_adamw(*stream, list, {.lr = 0.01, .weight_decay = 0.1}, format);
  Outcome outcome;
  for (int step = 0; step < 3; ++step) {
    if (step == 2) {
      std::vector<NamedTensor> saved;
      for (const StateTensor& state : optimizer->state()) {
        saved.emplace_back(state.name, gather_whole(*stream, state, {}).clone(*stream));
        outcome.values.push_back(saved.back().second.to_host<float>(*stream));
      }
      optimizer = make_adamw(*stream, list, {.lr = 0.01, .weight_decay = 0.1}, format);
      optimizer->load_state(saved, 2, "saved");
    }
    optimizer->step({.max_grad_norm = 0.5});
  }
  for (const Parameter& parameter : parameters) {
    outcome.values.push_back(parameter.value.to_host<float>(*stream));
    outcome.values.push_back(optimizer->weights(parameter).part.to_host<float>(*stream));
  }
  return outcome;
}

TEST_F(Offload, ChangesNoBit) {
  uint64_t seed = 1;
  for (StateFormat format : {StateFormat{.master_weights = true}, StateFormat{.stochastic_rounding = true, .seed = 3},
                             StateFormat{.master_weights = true, .int8_moments = true}}) {
    const Outcome resident = train(DType::bfloat16, format);
    format.offload = true;
    emulated::reset({.seed = ++seed});
    EXPECT_EQ(train(DType::bfloat16, format), resident);
  }
}

TEST_F(Offload, ManyBatchesTakeTurnsInTheWindows) {
  const auto stream = Stream::open(Device::parse("cuda"));
  OffloadedState state(*stream);
  std::vector<Tensor> masters, grads;
  constexpr int64_t count = 512;
  constexpr int64_t window = 1 << 13;
  state.plan(window);
  for (int i = 0; i < 5; ++i) {
    masters.push_back(state.zeros({count}, DType::float32));
    grads.push_back(Tensor::from_host<float>(*stream, values_of(count, 0.01F * static_cast<float>(i + 1)), {count}));
    state.begin(window / 2 + 1);  // one batch each
    kernels::OptimizerTensor record;
    record.weights = reinterpret_cast<float*>(state.place(masters.back(), 0, count));
    record.grad = grads.back().data<float>();
    record.count = count;
    state.add(record);
  }
  for (int step = 0; step < 3; ++step) {
    state.run([&](const kernels::TensorList& list) {
      const ActiveGpu active(*stream);
      kernels::sgd_step<kernels::Cuda>(stream->context<kernels::Cuda>(), {.update = {.list = list, .lr = 1.0F}});
    });
  }
  state.wait();
  for (size_t i = 0; i < masters.size(); ++i) {
    std::vector<float> expected(count);
    const std::vector<float> grad = grads[i].to_host<float>(*stream);
    for (int step = 0; step < 3; ++step) {
      for (size_t j = 0; j < expected.size(); ++j) expected[j] -= grad[j];
    }
    EXPECT_EQ(masters[i].to_host<float>(*stream), expected) << i;
  }
}

TEST_F(Offload, WantsAGpuAndRoomForTheRecord) {
  try {
    const OffloadedState state(*Stream::open({}, 1));
    FAIL() << "the state of a CPU was offloaded";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("from a GPU only"));
  }
  const auto stream = Stream::open(Device::parse("cuda"));
  OffloadedState state(*stream);
  state.plan(1 << 13);
  EXPECT_THROW(state.begin(1 << 13), Error);
}

}  // namespace
}  // namespace subspect::runtime::optim
