// The tape: sums of gradients, memory freed during the walk, and recomputation bitwise equal with less memory.
#include "runtime/tape.h"

#include <gtest/gtest.h>

#include "runtime/error.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gated_activation.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/random.h"

namespace subspect::runtime {
namespace {

class TapeTest : public ::testing::Test {
 protected:
  Stream& stream() { return *stream_; }
  Tensor random(Shape shape, uint64_t seed) {
    const Tensor tensor = Tensor::empty(stream(), std::move(shape), DType::float32);
    fill_normal(stream(), tensor, 0.3, Philox(seed));
    return tensor;
  }
  int64_t current_bytes() { return stream().allocator()->stats().current_bytes; }

 private:
  std::shared_ptr<Stream> stream_ = Stream::open(Device{}, 2);
};

// Pre-norm feed-forward blocks: h += down(swiglu(up(norm(h)))). A block uses its input twice, so that the gradient of
// the input is a sum that is formed inside the block.
struct Network {
  static constexpr int64_t dim = 24;
  static constexpr int64_t wide = 80;
  struct Layer {
    Parameter norm, up, down;
  };
  std::vector<Layer> layers;

  std::vector<Parameter*> parameters() {
    std::vector<Parameter*> all;
    for (Layer& layer : layers) all.insert(all.end(), {&layer.norm, &layer.up, &layer.down});
    return all;
  }

  std::vector<Variable> block(const Execution& on, size_t index, std::span<const Variable> in) {
    Layer& layer = layers[index];
    const Variable normed = ops::rms_norm(on, in[0], layer.norm, 1e-5F);
    const Variable change = ops::linear(on, ops::swiglu(on, ops::linear(on, normed, layer.up)), layer.down);
    return {ops::add(on, in[0], change)};
  }

  enum class Mode { recorded, checkpointed, remade };

  Variable forward(Execution on, const Variable& x, Mode mode) {
    on.remakes = mode == Mode::remade;
    std::vector<Variable> state = {x};
    for (size_t i = 0; i < layers.size(); ++i) {
      const Block run = [this, i](const Execution& inner, std::span<const Variable> in) { return block(inner, i, in); };
      state = mode == Mode::checkpointed ? checkpoint(on, std::move(state), run) : run(on, state);
    }
    // The first input is used once more after the blocks, so that its gradient arrives in several parts.
    return ops::add(on, state[0], x);
  }
};

class CheckpointTest : public TapeTest {
 protected:
  CheckpointTest() {
    network_.layers.resize(5);
    uint64_t seed = 10;
    for (Network::Layer& layer : network_.layers) {
      layer.norm.value = random({Network::dim}, seed++);
      layer.up.value = random({2 * Network::wide, Network::dim}, seed++);
      layer.down.value = random({Network::dim, Network::wide}, seed++);
    }
  }

  struct Gradients {
    std::vector<std::vector<float>> values;
    int64_t peak_bytes = 0;
  };

  Gradients gradients(Network::Mode mode) {
    for (Parameter* parameter : network_.parameters()) parameter->allocate_grad(stream());
    const int64_t before = current_bytes();
    stream().allocator()->reset_peak();
    Gradients result;
    {
      Tape tape(stream());
      const Variable x = tape.leaf(random({200, Network::dim}, 1));
      const Variable y = network_.forward({stream(), &tape}, x, mode);
      tape.backward(y, random(y.value.shape(), 2));
      result.peak_bytes = stream().allocator()->stats().peak_bytes - before;
      result.values.push_back(tape.grad(x).to_host<float>(stream()));
    }
    for (Parameter* parameter : network_.parameters())
      result.values.push_back(parameter->grad.to_host<float>(stream()));
    EXPECT_EQ(current_bytes(), before);
    return result;
  }

  Network network_;
};

TEST_F(CheckpointTest, GradientsAreBitwiseTheSameAndMemoryIsLess) {
  const Gradients recorded = gradients(Network::Mode::recorded);
  const Gradients recomputed = gradients(Network::Mode::checkpointed);
  EXPECT_EQ(recorded.values, recomputed.values);
  EXPECT_LT(recomputed.peak_bytes, recorded.peak_bytes / 2);
}

TEST_F(CheckpointTest, RemadeValuesAreBitwiseTheSameAndMemoryIsLess) {
  const Gradients recorded = gradients(Network::Mode::recorded);
  const Gradients remade = gradients(Network::Mode::remade);
  EXPECT_EQ(recorded.values, remade.values);
  // A layer keeps h, gate and up, of h, its norm, gate, up and their product.
  const double kept = static_cast<double>(Network::dim + 2 * Network::wide) / (2 * Network::dim + 3 * Network::wide);
  EXPECT_LT(static_cast<double>(remade.peak_bytes), (kept + 0.15) * static_cast<double>(recorded.peak_bytes));
}

TEST_F(CheckpointTest, WithoutATapeItJustRuns) {
  const Variable x{random({3, Network::dim}, 1)};
  const auto plain = network_.forward({stream()}, x, Network::Mode::recorded).value.to_host<float>(stream());
  EXPECT_EQ(network_.forward({stream()}, x, Network::Mode::checkpointed).value.to_host<float>(stream()), plain);
}

TEST_F(TapeTest, SavedTensorsAreFreedAsTheWalkGoes) {
  constexpr int64_t rows = 64;
  constexpr int64_t cols = 64;
  constexpr int chain = 20;
  Parameter weight;
  weight.value = random({2 * cols, cols}, 1);
  Tape tape(stream());
  int64_t at_the_end = 0;
  Variable h = tape.record("probe", {random({rows, cols}, 2)},
                           [&](Tape&, std::span<const Tensor>) { at_the_end = current_bytes(); })[0];
  const int64_t before = current_bytes();
  for (int i = 0; i < chain; ++i) h = ops::swiglu({stream(), &tape}, ops::linear({stream(), &tape}, h, weight));
  const int64_t matrix = rows * cols * 4;
  EXPECT_GE(current_bytes() - before, chain * 2 * matrix);  // each step saves gate and up
  const Tensor seed = random({rows, cols}, 3);
  const Tensor value = std::exchange(h.value, Tensor());
  tape.backward(h, seed);
  EXPECT_LE(at_the_end - before, 4 * matrix);  // the seed, the result, and the gradient in flight
  EXPECT_EQ(tape.nodes(), 0U);
}

TEST_F(TapeTest, SharedGradientsAreNotOverwritten) {
  Tape tape(stream());
  const Variable a = tape.leaf(random({2, 2}, 1));
  const Variable b = tape.leaf(random({2, 2}, 2));
  const Execution on{stream(), &tape};
  // The gradient of the sum reaches a and b as one tensor; then a's grows.
  const Variable y = ops::add(on, ops::add(on, a, b), ops::add(on, a, a));
  const Tensor seed = Tensor::from_host<float>(stream(), std::vector<float>{1, 2, 3, 4}, {2, 2});
  tape.backward(y, seed);
  EXPECT_EQ(tape.grad(a).to_host<float>(stream()), (std::vector<float>{3, 6, 9, 12}));
  EXPECT_EQ(tape.grad(b).to_host<float>(stream()), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(seed.to_host<float>(stream()), (std::vector<float>{1, 2, 3, 4}));
}

TEST_F(TapeTest, PartsOfTheGraphThatAreNotUsedGetNoGradient) {
  Tape tape(stream());
  const Variable a = tape.leaf(random({2, 2}, 1));
  const Variable unused = ops::add({stream(), &tape}, a, a);
  const Variable y = ops::swiglu({stream(), &tape}, a);
  tape.backward(y, random({2, 1}, 2));
  EXPECT_TRUE(tape.grad(a).defined());
  EXPECT_FALSE(tape.grad(unused).defined());
}

TEST_F(TapeTest, GradientsOfAnotherShapeAreErrors) {
  Tape tape(stream());
  const Variable a = tape.leaf(random({2, 2}, 1));
  tape.accumulate(a, random({2, 2}, 2));
  EXPECT_THROW(tape.accumulate(a, random({4}, 3)), Error);
}

TEST_F(TapeTest, AMarkIsReachedWhenWhatFollowsItWasWalked) {
  std::vector<int> reached;
  Tape tape(stream());
  const Variable x = tape.leaf(random({4}, 1));
  const auto step = [&](const Variable& in, int number) {
    return tape.record("step", {in.value}, [&reached, in, number](Tape& t, std::span<const Tensor> grads) {
      reached.push_back(number);
      t.accumulate(in, grads[0]);
    })[0];
  };
  const Variable y = step(x, 1);
  tape.mark([&] { reached.push_back(0); });
  const Variable z = step(step(y, 2), 3);
  tape.backward(z, random({4}, 2));
  EXPECT_EQ(reached, (std::vector<int>{3, 2, 0, 1}));
}

}  // namespace
}  // namespace subspect::runtime
