// Rotary embedding and the norms of queries and keys on CUDA against the CPU.
#include "kernels/rotary.h"

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

struct Sizes {
  int64_t tokens, heads, kv_heads, head_dim, rotary_dim;
};

/// Inputs, and a copy of them for each backend.
template <class T>
struct Problem {
  Sizes sizes;
  bool norms;
  int32_t furthest;
  int64_t width = (sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim;
  std::vector<int32_t> positions = random_ids(sizes.tokens, furthest, 1);
  std::vector<float> inv_freq = frequencies();
  std::vector<T> qkv = random_values<T>(sizes.tokens * width, 2);
  std::vector<T> q_norm = random_values<T>(sizes.head_dim, 3);
  std::vector<T> k_norm = random_values<T>(sizes.head_dim, 4);
  std::vector<T> dout = random_values<T>(sizes.tokens * width, 5);

  std::vector<float> frequencies() const {
    std::vector<float> result;
    for (int64_t i = 0; i < sizes.rotary_dim / 2; ++i) {
      const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(sizes.rotary_dim);
      result.push_back(static_cast<float>(std::pow(10000.0, exponent)));
    }
    return result;
  }

  RotaryShape shape(const int32_t* at, const float* freq) const {
    return {at, freq, 1.25F, sizes.tokens, sizes.heads, sizes.kv_heads, sizes.head_dim, sizes.rotary_dim, 0x1p-4F};
  }
  RotaryShape shape() const { return shape(positions.data(), inv_freq.data()); }

  std::vector<T> forward() const {
    std::vector<T> out(qkv.size());
    rotary_forward(context(), RotaryForwardParams<T>{shape(), qkv.data(), out.data(), norms ? q_norm.data() : nullptr,
                                                     norms ? k_norm.data() : nullptr});
    return out;
  }
};

/// The inputs on the device; `shift` elements before each keep it from 16-byte alignment.
template <class T>
struct OnDevice {
  const Problem<T>& problem;
  size_t shift;
  DeviceBuffer<int32_t> positions{problem.positions};
  DeviceBuffer<float> inv_freq{problem.inv_freq};
  DeviceBuffer<T> qkv = shifted(problem.qkv);
  DeviceBuffer<T> q_norm = shifted(problem.q_norm);
  DeviceBuffer<T> k_norm = shifted(problem.k_norm);
  DeviceBuffer<T> dout = shifted(problem.dout);

  DeviceBuffer<T> shifted(const std::vector<T>& values) const {
    std::vector<T> padded(shift);
    padded.insert(padded.end(), values.begin(), values.end());
    return DeviceBuffer<T>(padded);
  }
  std::vector<T> unshifted(const DeviceBuffer<T>& buffer) const {
    const std::vector<T> all = buffer.values();
    return std::vector<T>(all.begin() + static_cast<std::ptrdiff_t>(shift), all.end());
  }
  const T* norm(const DeviceBuffer<T>& weight) const { return problem.norms ? weight.data() + shift : nullptr; }

  std::vector<T> forward(bool in_place) {
    const DeviceBuffer<T> out(qkv.values().size());
    T* target = in_place ? qkv.data() : out.data();
    rotary_forward(gpu, RotaryForwardParams<T>{problem.shape(positions.data(), inv_freq.data()), qkv.data() + shift,
                                               target + shift, norm(q_norm), norm(k_norm)});
    return unshifted(in_place ? qkv : out);
  }

  std::vector<T> backward(bool in_place, float* dq_norm, float* dk_norm) {
    const DeviceBuffer<T> dqkv(dout.values().size());
    T* target = in_place ? dout.data() : dqkv.data();
    RotaryBackwardParams<T> p{problem.shape(positions.data(), inv_freq.data()),
                              dout.data() + shift,
                              target + shift,
                              problem.norms ? qkv.data() + shift : nullptr,
                              norm(q_norm),
                              norm(k_norm),
                              dq_norm,
                              dk_norm};
    const DeviceBuffer<std::byte> workspace(static_cast<size_t>(rotary_backward_workspace_bytes<Cuda>(p)));
    p.workspace = workspace.data();
    rotary_backward(gpu, p);
    return unshifted(in_place ? dout : dqkv);
  }
};

SIMT_SUITE(SimtRotary);

// Rows of several blocks of threads, ragged and whole; pairs that one lane or many hold; dimensions that do not rotate.
const std::vector<Sizes> all_sizes = {{5, 3, 1, 2, 2},   {7, 3, 1, 13, 6},    {3, 5, 2, 64, 64},   {4, 2, 1, 96, 32},
                                      {3, 3, 1, 80, 80}, {2, 2, 1, 80, 0},    {2, 1, 1, 320, 320}, {2, 9, 3, 128, 128},
                                      {2, 40, 2, 16, 8}, {3, 2, 1, 300, 200}, {3, 2, 1, 64, 20}};

TYPED_TEST(SimtRotary, ForwardEqualsCpu) {
  using T = TypeParam;
  for (const Sizes& sizes : all_sizes) {
    for (const bool norms : {false, true}) {
      const Problem<T> problem{sizes, norms, 4000};
      const std::vector<T> expected = problem.forward();
      this->for_each_schedule([&] {
        for (const size_t shift : {0, 1}) {
          for (const bool in_place : {false, true}) {
            OnDevice<T> device{problem, shift};
            expect_close(device.forward(in_place), widen(expected), 8);
          }
        }
      });
    }
  }
}

TYPED_TEST(SimtRotary, BackwardEqualsCpu) {
  using T = TypeParam;
  for (const Sizes& sizes : all_sizes) {
    for (const bool norms : {false, true}) {
      const Problem<T> problem{sizes, norms, 4000};
      const auto dim = static_cast<size_t>(sizes.head_dim);
      std::vector<T> dqkv(problem.qkv.size());
      std::vector<float> dq_norm(dim, 0.5F);
      std::vector<float> dk_norm(dim, 0.25F);
      RotaryBackwardParams<T> p{problem.shape(),
                                problem.dout.data(),
                                dqkv.data(),
                                norms ? problem.qkv.data() : nullptr,
                                norms ? problem.q_norm.data() : nullptr,
                                norms ? problem.k_norm.data() : nullptr,
                                norms ? dq_norm.data() : nullptr,
                                norms ? dk_norm.data() : nullptr};
      const Workspace workspace(rotary_backward_workspace_bytes<Cpu>(p));
      p.workspace = workspace.get();
      rotary_backward(context(), p);
      this->for_each_schedule([&] {
        for (const size_t shift : {0, 1}) {
          for (const bool in_place : {false, true}) {
            OnDevice<T> device{problem, shift};
            const DeviceBuffer<float> q_grad(std::vector<float>(dim, 0.5F));
            const DeviceBuffer<float> k_grad(std::vector<float>(dim, 0.25F));
            expect_close(device.backward(in_place, q_grad.data(), k_grad.data()), widen(dqkv), 8);
            expect_near(q_grad, dq_norm);
            expect_near(k_grad, dk_norm);
          }
        }
      });
    }
  }
}

/// Several tokens in one block, the last block with fewer; and for the gradients more tokens than blocks.
TYPED_TEST(SimtRotary, ManyTokensEqualCpu) {
  using T = TypeParam;
  const Problem<T> problem{{1062, 2, 1, 16, 16}, true, 4000};
  const std::vector<T> expected = problem.forward();
  std::vector<float> dq_norm(16);
  RotaryBackwardParams<T> p{problem.shape(),       problem.dout.data(),   nullptr,       problem.qkv.data(),
                            problem.q_norm.data(), problem.k_norm.data(), dq_norm.data()};
  std::vector<T> dqkv(problem.qkv.size());
  p.dqkv = dqkv.data();
  const Workspace workspace(rotary_backward_workspace_bytes<Cpu>(p));
  p.workspace = workspace.get();
  rotary_backward(context(), p);
  std::vector<float> first;
  for (const uint64_t seed : {1, 2}) {
    set_schedule(seed);
    OnDevice<T> device{problem, 0};
    expect_close(device.forward(false), widen(expected), 8);
    const DeviceBuffer<float> q_grad(zeros<float>(16));
    expect_close(device.backward(false, q_grad.data(), nullptr), widen(dqkv), 8);
    expect_near(q_grad, dq_norm, 128);
    if (first.empty()) first = q_grad.values();
    expect_same(q_grad, first);  // the same bits in every order
  }
}

TYPED_TEST(SimtRotary, FarPositionsEqualCpu) {
  using T = TypeParam;
  const Problem<T> problem{{40, 1, 1, 64, 64}, false, 131072};
  set_schedule(1);
  OnDevice<T> device{problem, 0};
  expect_close(device.forward(false), widen(problem.forward()), 4);
}

TYPED_TEST(SimtRotary, NothingToDoLaunchesNothing) {
  using T = TypeParam;
  EXPECT_NO_THROW((rotary_forward<Cuda, T>(gpu, {})));
  EXPECT_NO_THROW((rotary_backward<Cuda, T>(gpu, {})));
}

}  // namespace
}  // namespace subspect::kernels::test
