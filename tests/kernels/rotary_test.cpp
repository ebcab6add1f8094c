// Rotary embedding with and without the norms of queries and keys.
#include "kernels/rotary.h"

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

template <class T>
struct Problem {
  int64_t tokens, heads, kv_heads, head_dim, rotary_dim;
  bool norms;
  float factor = 1.25F;
  std::vector<int32_t> positions;
  std::vector<float> inv_freq;
  std::vector<T> qkv, q_norm, k_norm, out, dout, dqkv;
  std::vector<float> dq_norm, dk_norm;

  Problem(int64_t t, int64_t h, int64_t g, int64_t d, int64_t r, bool with_norms)
      : tokens(t),
        heads(h),
        kv_heads(g),
        head_dim(d),
        rotary_dim(r),
        norms(with_norms),
        positions(random_ids(t, 4000, 1)),
        qkv(random_values<T>(t * width(), 2)),
        q_norm(random_values<T>(d, 3)),
        k_norm(random_values<T>(d, 4)),
        out(qkv.size()),
        dout(random_values<T>(t * width(), 5)),
        dqkv(qkv.size()),
        dq_norm(static_cast<size_t>(d), 0.5F),
        dk_norm(static_cast<size_t>(d), 0.25F) {
    for (int64_t i = 0; i < r / 2; ++i) {
      inv_freq.push_back(static_cast<float>(std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(r))));
    }
  }

  int64_t width() const { return (heads + 2 * kv_heads) * head_dim; }

  RotaryShape shape() const {
    return {positions.data(), inv_freq.data(), factor, tokens, heads, kv_heads, head_dim, rotary_dim, 1e-5F};
  }

  void forward(Context<Cpu> on, bool in_place = false) {
    if (in_place) out = qkv;
    rotary_forward(on, RotaryForwardParams<T>{shape(), in_place ? out.data() : qkv.data(), out.data(),
                                              norms ? q_norm.data() : nullptr, norms ? k_norm.data() : nullptr});
  }

  void backward(Context<Cpu> on, bool in_place = false) {
    if (in_place) dqkv = dout;
    RotaryBackwardParams<T> p{shape(),
                              in_place ? dqkv.data() : dout.data(),
                              dqkv.data(),
                              norms ? qkv.data() : nullptr,
                              norms ? q_norm.data() : nullptr,
                              norms ? k_norm.data() : nullptr,
                              norms ? dq_norm.data() : nullptr,
                              norms ? dk_norm.data() : nullptr};
    const Workspace workspace(rotary_backward_workspace_bytes<Cpu>(p));
    p.workspace = workspace.get();
    rotary_backward(on, p);
  }

  /// The definition, in double; the angle is the float32 product that Transformers takes.
  Doubles naive(const Doubles& x, const Doubles& wq, const Doubles& wk) const {
    Doubles y = x;
    for (int64_t row = 0; row < tokens * (heads + 2 * kv_heads); ++row) {
      const int64_t t = row / (heads + 2 * kv_heads);
      const int64_t head = row % (heads + 2 * kv_heads);
      if (head >= heads + kv_heads) continue;
      double* h = y.data() + row * head_dim;
      if (norms) {
        double squares = 0;
        for (int64_t j = 0; j < head_dim; ++j) squares += h[j] * h[j];
        const double inv_rms = 1 / std::sqrt(squares / static_cast<double>(head_dim) + static_cast<double>(1e-5F));
        for (int64_t j = 0; j < head_dim; ++j) h[j] *= inv_rms * (head < heads ? wq : wk)[static_cast<size_t>(j)];
      }
      for (int64_t i = 0; i < rotary_dim / 2; ++i) {
        const float angle = static_cast<float>(positions[static_cast<size_t>(t)]) * inv_freq[static_cast<size_t>(i)];
        const double c = static_cast<double>(factor) * std::cos(static_cast<double>(angle));
        const double s = static_cast<double>(factor) * std::sin(static_cast<double>(angle));
        const double first = h[i];
        const double second = h[i + rotary_dim / 2];
        h[i] = first * c - second * s;
        h[i + rotary_dim / 2] = second * c + first * s;
      }
    }
    return y;
  }
};

template <class T>
class RotaryTest : public ::testing::Test {};
TYPED_TEST_SUITE(RotaryTest, StorageTypes, StorageNames);

TYPED_TEST(RotaryTest, ForwardEqualsDefinition) {
  for (const bool norms : {false, true}) {
    for (const auto& [d, r] :
         std::vector<std::pair<int64_t, int64_t>>{{2, 2}, {8, 8}, {13, 6}, {64, 64}, {96, 24}, {80, 0}}) {
      Problem<TypeParam> p(29, 3, 1, d, r, norms);
      p.forward(context());
      expect_close(p.out, p.naive(widen(p.qkv), widen(p.q_norm), widen(p.k_norm)));
    }
  }
}

TYPED_TEST(RotaryTest, LargePositions) {
  Problem<TypeParam> p(4, 2, 1, 32, 32, false);
  p.positions = {131071, 100003, 1, 0};
  p.forward(context());
  expect_close(p.out, p.naive(widen(p.qkv), {}, {}));
}

TYPED_TEST(RotaryTest, GradientsEqualFiniteDifferences) {
  for (const bool norms : {false, true}) {
    Problem<TypeParam> p(3, 2, 1, 11, 8, norms);
    p.backward(context());
    const Doubles qkv = widen(p.qkv);
    const Doubles wq = widen(p.q_norm);
    const Doubles wk = widen(p.k_norm);
    const auto loss = [&](const Doubles& x, const Doubles& a, const Doubles& b) {
      return inner(p.naive(x, a, b), p.dout);
    };
    expect_close(p.dqkv, numeric_gradient([&](const Doubles& at) { return loss(at, wq, wk); }, qkv), 64);
    if (!norms) continue;
    Doubles dq = numeric_gradient([&](const Doubles& at) { return loss(qkv, at, wk); }, wq);
    Doubles dk = numeric_gradient([&](const Doubles& at) { return loss(qkv, wq, at); }, wk);
    for (double& g : dq) g += 0.5;
    for (double& g : dk) g += 0.25;
    expect_close(p.dq_norm, dq, 64);
    expect_close(p.dk_norm, dk, 64);
  }
}

TYPED_TEST(RotaryTest, InPlaceGivesTheSame) {
  for (const bool norms : {false, true}) {
    Problem<TypeParam> p(17, 4, 2, 24, 16, norms);
    Problem<TypeParam> q = p;
    p.forward(context());
    p.backward(context());
    q.forward(context(), true);
    q.backward(context(), true);
    EXPECT_TRUE(same_bits(p.out, q.out));
    EXPECT_TRUE(same_bits(p.dqkv, q.dqkv));
  }
}

TYPED_TEST(RotaryTest, ThreadsDoNotMatter) {
  expect_same_for_all_teams([](Context<Cpu> on) {
    Problem<TypeParam> p(777, 3, 1, 20, 20, true);
    p.forward(on);
    p.backward(on);
    return joined(p.out, p.dqkv, p.dq_norm, p.dk_norm);
  });
}

}  // namespace
}  // namespace subspect::kernels::test
