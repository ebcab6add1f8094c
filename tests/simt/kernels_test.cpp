// The CUDA kernels, run by the shim, against the CPU kernels: float32 and bfloat16, shapes with ragged ends, several
// orders of the threads.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "kernels/bias.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/gated_activation.h"
#include "kernels/optimizer.h"
#include "kernels/rms_norm.h"
#include "tests/kernels/support.h"
#include "tests/simt/simt.h"

namespace subspect::kernels::test {
namespace {

using simt::DeviceBuffer;

/// The orders of threads that every case runs under: the last two also switch inside of accesses.
class SimtCase : public ::testing::Test {
 protected:
  template <class Body>
  static void for_each_schedule(const Body& body) {
    for (const simt::Options options : {simt::Options{1, 0}, {2, 0}, {3, 0}, {4, 61}, {5, 509}}) {
      SCOPED_TRACE("seed " + std::to_string(options.seed));
      simt::set_options(options);
      body();
    }
  }
};

template <class T>
std::vector<T> zeros(int64_t count) {
  return std::vector<T>(static_cast<size_t>(count));
}

template <class T>
void expect_same(const DeviceBuffer<T>& actual, const std::vector<T>& expected) {
  EXPECT_TRUE(same_bits(actual.values(), expected));
}

template <class T>
void expect_near(const DeviceBuffer<T>& actual, const std::vector<T>& expected, double growth = 32) {
  expect_close(actual.values(), widen(expected), growth);
}

constexpr Context<Cuda> gpu{};

#define SIMT_SUITE(name)           \
  template <class T>               \
  class name : public SimtCase {}; \
  TYPED_TEST_SUITE(name, StorageTypes, StorageNames)

// ---- elementwise

SIMT_SUITE(SimtElementwise);

TYPED_TEST(SimtElementwise, AddEqualsCpu) {
  using T = TypeParam;
  for (const int64_t count : {1, 7, 8, 256, 1031, 4104}) {
    const std::vector<T> a = random_values<T>(count, 1);
    const std::vector<T> b = random_values<T>(count, 2);
    std::vector<T> y(a.size());
    add<Cpu, T>(context(), a.data(), b.data(), y.data(), count);
    this->for_each_schedule([&] {
      const DeviceBuffer<T> da(a), db(b), dy(y.size());
      add<Cuda, T>(gpu, da.data(), db.data(), dy.data(), count);
      expect_same(dy, y);
      add<Cuda, T>(gpu, da.data(), db.data(), da.data(), count);  // in place
      expect_same(da, y);
    });
  }
}

TYPED_TEST(SimtElementwise, UnalignedRowsEqualCpu) {
  using T = TypeParam;
  constexpr int64_t count = 264;
  const std::vector<T> a = random_values<T>(count + 1, 1);
  std::vector<T> y(count);
  add<Cpu, T>(context(), a.data() + 1, a.data(), y.data(), count);
  this->for_each_schedule([&] {
    const DeviceBuffer<T> da(a), dy(y.size());
    add<Cuda, T>(gpu, da.data() + 1, da.data(), dy.data(), count);
    expect_same(dy, y);
  });
}

TYPED_TEST(SimtElementwise, ScaleEqualsCpu) {
  using T = TypeParam;
  for (const int64_t count : {1, 16, 1031, 2048}) {
    const std::vector<T> x = random_values<T>(count, 1);
    std::vector<T> y(x.size());
    scale<Cpu, T>(context(), x.data(), -1.7F, y.data(), count);
    this->for_each_schedule([&] {
      const DeviceBuffer<T> dx(x), dy(y.size());
      scale<Cuda, T>(gpu, dx.data(), -1.7F, dy.data(), count);
      expect_same(dy, y);
    });
  }
}

TYPED_TEST(SimtElementwise, NothingToDoLaunchesNothing) {
  using T = TypeParam;
  EXPECT_NO_THROW((add<Cuda, T>(gpu, nullptr, nullptr, nullptr, 0)));
  EXPECT_NO_THROW((scale<Cuda, T>(gpu, nullptr, 1, nullptr, 0)));
  EXPECT_NO_THROW((fill<Cuda, T>(gpu, nullptr, 1, 0)));
}

template <class From, class To>
struct Conversion {
  using Source = From;
  using Target = To;
};

template <class Pair>
class SimtCast : public SimtCase {};
using Conversions =
    ::testing::Types<Conversion<float, float>, Conversion<float, bfloat16>, Conversion<float, float16>,
                     Conversion<float, double>, Conversion<bfloat16, float>, Conversion<bfloat16, bfloat16>,
                     Conversion<bfloat16, float16>, Conversion<bfloat16, double>, Conversion<float16, float>,
                     Conversion<float16, bfloat16>, Conversion<float16, float16>, Conversion<float16, double>,
                     Conversion<double, float>, Conversion<double, bfloat16>, Conversion<double, float16>,
                     Conversion<double, double>>;
TYPED_TEST_SUITE(SimtCast, Conversions);

/// Every bit pattern of 2-byte types; of the others, numbers of all sizes, ties, and what is not a number.
template <class T>
std::vector<T> interesting() {
  std::vector<T> values;
  if constexpr (sizeof(T) == 2) {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) values.push_back({static_cast<uint16_t>(bits)});
  } else {
    for (int exponent = -60; exponent < 60; ++exponent) {
      for (const double mantissa :
           {1.0, 1.00390625, 1.001953125, 1.01171875, 1.00048828125, 1.3, 1.9999999, 1.0 + 0x1p-30,
            // next to the ties of bfloat16 and of float16, nearer than a float can tell
            1.00390625 - 0x1p-30, 1.01171875 + 0x1p-30, 1.00048828125 - 0x1p-30, 1.00146484375 + 0x1p-30}) {
        values.push_back(static_cast<T>(std::ldexp(mantissa, exponent)));
        values.push_back(static_cast<T>(-std::ldexp(mantissa, exponent)));
      }
    }
    for (const double value : {0.0, -0.0, 65504.0, 65519.0, 65520.0, 1e30, 3.39e38})
      values.push_back(static_cast<T>(value));
    values.push_back(std::numeric_limits<T>::infinity());
    values.push_back(-std::numeric_limits<T>::infinity());
    values.push_back(std::numeric_limits<T>::quiet_NaN());
  }
  return values;
}

TYPED_TEST(SimtCast, EqualsCpu) {
  using From = typename TypeParam::Source;
  using To = typename TypeParam::Target;
  std::vector<From> x = interesting<From>();
  for (int ragged = 0; ragged < 2; ++ragged, x.pop_back()) {  // counts that do and do not divide by 4
    const auto count = static_cast<int64_t>(x.size());
    std::vector<To> y(x.size());
    cast<Cpu, From, To>(context(), x.data(), y.data(), count);
    simt::set_options({7, 0});
    const DeviceBuffer<From> dx(x);
    const DeviceBuffer<To> dy(y.size());
    cast<Cuda, From, To>(gpu, dx.data(), dy.data(), count);
    expect_same(dy, y);
  }
}

template <class T>
class SimtFill : public SimtCase {};
using FillTypes = ::testing::Types<float, bfloat16, float16, double, int32_t, int64_t>;
TYPED_TEST_SUITE(SimtFill, FillTypes);

TYPED_TEST(SimtFill, EqualsCpu) {
  using T = TypeParam;
  for (const int64_t count : {1, 255, 1031}) {
    std::vector<T> y(static_cast<size_t>(count));
    fill<Cpu, T>(context(), y.data(), -3.0, count);
    this->for_each_schedule([&] {
      const DeviceBuffer<T> dy(y.size());
      fill<Cuda, T>(gpu, dy.data(), -3.0, count);
      expect_same(dy, y);
    });
  }
}

// ---- bias

SIMT_SUITE(SimtBias);

TYPED_TEST(SimtBias, AddEqualsCpu) {
  using T = TypeParam;
  for (const int64_t rows : {1, 5, 33}) {
    for (const int64_t cols : {1, 9, 64, 257}) {
      const std::vector<T> x = random_values<T>(rows * cols, 1);
      const std::vector<T> bias = random_values<T>(cols, 2);
      std::vector<T> y(x.size());
      bias_add<Cpu, T>(context(), {x.data(), bias.data(), y.data(), rows, cols});
      this->for_each_schedule([&] {
        const DeviceBuffer<T> dx(x), dbias(bias), dy(y.size());
        bias_add<Cuda, T>(gpu, {dx.data(), dbias.data(), dy.data(), rows, cols});
        expect_same(dy, y);
      });
    }
  }
}

TYPED_TEST(SimtBias, GradientEqualsCpuAndAdds) {
  using T = TypeParam;
  for (const int64_t rows : {1, 5, 263, 530, 1100}) {
    for (const int64_t cols : {1, 9, 257}) {
      const std::vector<T> dy = random_values<T>(rows * cols, 1);
      std::vector<float> expected(static_cast<size_t>(cols), 0.5F);
      BiasGradientParams<T> p{dy.data(), expected.data(), rows, cols};
      const Workspace workspace(bias_gradient_workspace_bytes<Cpu>(p));
      p.workspace = workspace.get();
      bias_gradient(context(), p);
      std::vector<float> first;
      for (const uint64_t seed : {1, 2}) {
        simt::set_options({seed, 0});
        const DeviceBuffer<T> ddy(dy);
        const DeviceBuffer<float> dbias(std::vector<float>(static_cast<size_t>(cols), 0.5F));
        BiasGradientParams<T> q{ddy.data(), dbias.data(), rows, cols};
        const DeviceBuffer<std::byte> scratch(static_cast<size_t>(bias_gradient_workspace_bytes<Cuda>(q)));
        q.workspace = scratch.data();
        bias_gradient(gpu, q);
        expect_near(dbias, expected);
        if (first.empty()) first = dbias.values();
        expect_same(dbias, first);  // the same bits in every order
      }
    }
  }
}

// ---- RMS norm

SIMT_SUITE(SimtRmsNorm);

template <class T>
struct NormCase {
  int64_t rows;
  int64_t cols;
  bool fused;
  std::vector<T> x = random_values<T>(rows * cols, 1);
  std::vector<T> residual = random_values<T>(rows * cols, 2);
  std::vector<T> weight = random_values<T>(cols, 3);
  std::vector<T> dy = random_values<T>(rows * cols, 4);
  std::vector<T> sum = x;
  std::vector<T> y = x;
  std::vector<T> dx = x;
  std::vector<float> inv_rms = zeros<float>(rows);
  std::vector<float> dweight = std::vector<float>(static_cast<size_t>(cols), 0.25F);

  void run_cpu() {
    RmsNormForwardParams<T> f{x.data(),      fused ? residual.data() : nullptr,
                              weight.data(), fused ? sum.data() : nullptr,
                              y.data(),      inv_rms.data(),
                              rows,          cols};
    rms_norm_forward(context(), f);
    RmsNormBackwardParams<T> b{sum.data(), weight.data(),  inv_rms.data(), dy.data(), fused ? residual.data() : nullptr,
                               dx.data(),  dweight.data(), rows,           cols};
    const Workspace workspace(rms_norm_backward_workspace_bytes<Cpu>(b));
    b.workspace = workspace.get();
    rms_norm_backward(context(), b);
  }

  /// With one column dx is a difference of nearly equal terms: its error is an epsilon of those.
  void expect_cancelled(const std::vector<T>& actual) const {
    for (size_t i = 0; i < actual.size(); ++i) {
      const float term = std::abs(to_float(dy[i]) * to_float(weight[0]) * inv_rms[i]);
      const double expected = static_cast<double>(to_float(dx[i]));
      EXPECT_NEAR(static_cast<double>(to_float(actual[i])), expected,
                  32 * epsilon<float> * static_cast<double>(term) + epsilon<T> * std::abs(expected));
    }
  }

  void expect_forward() const {
    const DeviceBuffer<T> d_x(x), d_residual(residual), d_weight(weight), d_sum(sum.size()), d_y(y.size());
    const DeviceBuffer<float> d_inv(inv_rms.size());
    RmsNormForwardParams<T> p{d_x.data(),
                              fused ? d_residual.data() : nullptr,
                              d_weight.data(),
                              fused ? d_sum.data() : nullptr,
                              d_y.data(),
                              d_inv.data(),
                              rows,
                              cols};
    rms_norm_forward(gpu, p);
    expect_near(d_y, y);
    expect_near(d_inv, inv_rms);
    if (fused) expect_same(d_sum, sum);
    p.y = const_cast<T*>(p.x);  // in place, without inv_rms
    p.inv_rms = nullptr;
    rms_norm_forward(gpu, p);
    expect_near(d_x, y);
  }

  std::vector<float> expect_backward(bool with_dweight) const {
    const DeviceBuffer<T> d_h(sum), d_weight(weight), d_dy(dy), d_residual(residual), d_dx(dx.size());
    const DeviceBuffer<float> d_inv(inv_rms), d_dweight(std::vector<float>(static_cast<size_t>(cols), 0.25F));
    RmsNormBackwardParams<T> p{d_h.data(),
                               d_weight.data(),
                               d_inv.data(),
                               d_dy.data(),
                               fused ? d_residual.data() : nullptr,
                               d_dx.data(),
                               with_dweight ? d_dweight.data() : nullptr,
                               rows,
                               cols};
    const DeviceBuffer<std::byte> scratch(static_cast<size_t>(rms_norm_backward_workspace_bytes<Cuda>(p)));
    p.workspace = scratch.data();
    rms_norm_backward(gpu, p);
    if (cols > 1) {
      expect_near(d_dx, dx);
    } else {
      expect_cancelled(d_dx.values());
    }
    if (with_dweight) expect_near(d_dweight, dweight);
    return joined(d_dx.values(), d_dweight.values());
  }
};

template <class T, class Body>
void for_each_norm(bool fused, const Body& body) {
  for (const int64_t rows : {1, 3, 19}) {
    for (const int64_t cols : {1, 7, 64, 257, 520, 2056}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(cols));
      NormCase<T> c{rows, cols, fused};
      c.run_cpu();
      body(c);
    }
  }
}

TYPED_TEST(SimtRmsNorm, ForwardEqualsCpu) {
  for_each_norm<TypeParam>(false, [&](const auto& c) { this->for_each_schedule([&] { c.expect_forward(); }); });
}

TYPED_TEST(SimtRmsNorm, ForwardWithResidualEqualsCpu) {
  for_each_norm<TypeParam>(true, [&](const auto& c) { this->for_each_schedule([&] { c.expect_forward(); }); });
}

TYPED_TEST(SimtRmsNorm, BackwardEqualsCpu) {
  for_each_norm<TypeParam>(false, [&](const auto& c) { this->for_each_schedule([&] { c.expect_backward(true); }); });
}

TYPED_TEST(SimtRmsNorm, BackwardWithResidualEqualsCpu) {
  for_each_norm<TypeParam>(true, [&](const auto& c) { this->for_each_schedule([&] { c.expect_backward(true); }); });
}

TYPED_TEST(SimtRmsNorm, BackwardWithoutWeightGradientLeavesItAlone) {
  NormCase<TypeParam> c{5, 72, false};
  c.run_cpu();
  const std::vector<float> all = c.expect_backward(false);
  for (size_t i = 5 * 72; i < all.size(); ++i) EXPECT_EQ(all[i], 0.25F);
}

TYPED_TEST(SimtRmsNorm, GroupsOfSeveralRowsGiveTheSameBitsInEveryOrder) {
  NormCase<TypeParam> c{531, 24, true};  // three rows to a group
  c.run_cpu();
  simt::set_options({1, 0});
  const std::vector<float> expected = c.expect_backward(true);
  for (const uint64_t seed : {2, 3}) {
    simt::set_options({seed, 0});
    EXPECT_TRUE(same_bits(c.expect_backward(true), expected));
  }
}

// ---- gated activations

SIMT_SUITE(SimtGatedActivation);

template <class T, class Case>
void expect_gated(GatedActivation activation, const Case& for_each_schedule) {
  for (const int64_t rows : {1, 5}) {
    for (const int64_t cols : {1, 24, 131, 264}) {
      const std::vector<T> gate_up = random_values<T>(rows * 2 * cols, 1, 3.0F);
      const std::vector<T> dy = random_values<T>(rows * cols, 2);
      std::vector<T> y(dy.size());
      std::vector<T> dgate_up(gate_up.size());
      gated_activation_forward<Cpu, T>(context(), {gate_up.data(), y.data(), rows, cols, activation});
      gated_activation_backward<Cpu, T>(context(),
                                        {gate_up.data(), dy.data(), dgate_up.data(), rows, cols, activation});
      for_each_schedule([&] {
        const DeviceBuffer<T> d_gate_up(gate_up), d_dy(dy), d_y(y.size()), d_dgate_up(gate_up.size());
        gated_activation_forward<Cuda, T>(gpu, {d_gate_up.data(), d_y.data(), rows, cols, activation});
        expect_near(d_y, y);
        gated_activation_backward<Cuda, T>(gpu,
                                           {d_gate_up.data(), d_dy.data(), d_dgate_up.data(), rows, cols, activation});
        expect_near(d_dgate_up, dgate_up);
        gated_activation_backward<Cuda, T>(
            gpu, {d_gate_up.data(), d_dy.data(), d_gate_up.data(), rows, cols, activation});  // in place
        expect_same(d_gate_up, d_dgate_up.values());
      });
    }
  }
}

TYPED_TEST(SimtGatedActivation, SiluEqualsCpu) {
  expect_gated<TypeParam>(GatedActivation::silu, [this](const auto& body) { this->for_each_schedule(body); });
}

TYPED_TEST(SimtGatedActivation, GeluEqualsCpu) {
  expect_gated<TypeParam>(GatedActivation::gelu_tanh, [this](const auto& body) { this->for_each_schedule(body); });
}

TYPED_TEST(SimtGatedActivation, ExtremeGatesStayFinite) {
  using T = TypeParam;
  std::vector<T> gate_up;
  for (const float gate : {-1e30F, -200.0F, -81.0F, 0.0F, 81.0F, 200.0F, 1e30F, 1.0F})
    gate_up.push_back(from_float<T>(gate));
  for (int i = 0; i < 8; ++i) gate_up.push_back(from_float<T>(1.0F));
  std::vector<T> y(8);
  gated_activation_forward<Cpu, T>(context(), {gate_up.data(), y.data(), 1, 8, GatedActivation::silu});
  const DeviceBuffer<T> d_gate_up(gate_up), d_y(8);
  gated_activation_forward<Cuda, T>(gpu, {d_gate_up.data(), d_y.data(), 1, 8, GatedActivation::silu});
  const std::vector<T> actual = d_y.values();
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_TRUE(std::isfinite(to_float(actual[i])));
    EXPECT_NEAR(to_float(actual[i]), to_float(y[i]), 0.01F * std::abs(to_float(y[i])) + 1e-4F);
  }
}

// ---- embedding

SIMT_SUITE(SimtEmbedding);

TYPED_TEST(SimtEmbedding, ForwardEqualsCpu) {
  using T = TypeParam;
  for (const int64_t dim : {1, 24, 131}) {
    const std::vector<T> table = random_values<T>(50 * dim, 1);
    const std::vector<int32_t> ids = random_ids(77, 50, 2);
    std::vector<T> y(static_cast<size_t>(77 * dim));
    embedding_forward<Cpu, T>(context(), {table.data(), ids.data(), y.data(), 77, 50, dim});
    this->for_each_schedule([&] {
      const DeviceBuffer<T> d_table(table), d_y(y.size());
      const DeviceBuffer<int32_t> d_ids(ids);
      embedding_forward<Cuda, T>(gpu, {d_table.data(), d_ids.data(), d_y.data(), 77, 50, dim});
      expect_same(d_y, y);
    });
  }
}

template <class T>
void expect_embedding_backward(int64_t tokens, int64_t vocab, int64_t dim) {
  SCOPED_TRACE(std::to_string(tokens) + " tokens of " + std::to_string(vocab));
  const std::vector<T> dy = random_values<T>(tokens * dim, 1);
  const std::vector<int32_t> ids = random_ids(tokens, vocab, 2);
  const std::vector<float> before = random_values<float>(vocab * dim, 3);
  std::vector<float> expected = before;
  EmbeddingBackwardParams<T> p{dy.data(), ids.data(), expected.data(), tokens, vocab, dim};
  const Workspace workspace(embedding_backward_workspace_bytes<Cpu>(p));
  p.workspace = workspace.get();
  embedding_backward(context(), p);
  for (const uint64_t seed : {1, 2, 3}) {
    simt::set_options({seed, seed == 3 ? 101 : 0});
    const DeviceBuffer<T> d_dy(dy);
    const DeviceBuffer<int32_t> d_ids(ids);
    const DeviceBuffer<float> d_table(before);
    EmbeddingBackwardParams<T> q{d_dy.data(), d_ids.data(), d_table.data(), tokens, vocab, dim};
    const DeviceBuffer<std::byte> scratch(static_cast<size_t>(embedding_backward_workspace_bytes<Cuda>(q)));
    q.workspace = scratch.data();
    embedding_backward(gpu, q);
    expect_same(d_table, expected);
  }
}

TYPED_TEST(SimtEmbedding, BackwardHasTheBitsOfTheCpu) {
  expect_embedding_backward<TypeParam>(1, 1, 1);
  expect_embedding_backward<TypeParam>(77, 20, 24);
  expect_embedding_backward<TypeParam>(300, 3, 131);
}

TYPED_TEST(SimtEmbedding, BackwardLinksTokensAcrossBlocks) {
  expect_embedding_backward<TypeParam>(700, 500, 5);
  expect_embedding_backward<TypeParam>(512, 1, 3);
  expect_embedding_backward<TypeParam>(257, 100000, 2);
}

// ---- optimizer

SIMT_SUITE(SimtOptimizer);

TYPED_TEST(SimtOptimizer, AdamWEqualsCpu) {
  using T = TypeParam;
  for (const bool with_master : {false, true}) {
    for (const int64_t count : {1, 255, 1031}) {
      std::vector<T> param = random_values<T>(count, 1);
      std::vector<float> master = random_values<float>(count, 2);
      std::vector<float> m = zeros<float>(count);
      std::vector<float> v = zeros<float>(count);
      const DeviceBuffer<T> d_param(param);
      const DeviceBuffer<float> d_master(master), d_m(m), d_v(v);
      for (int64_t step = 1; step <= 3; ++step) {
        simt::set_options({static_cast<uint64_t>(step), step == 3 ? 61 : 0});
        const std::vector<float> grad = random_values<float>(count, static_cast<uint64_t>(step) + 10);
        const DeviceBuffer<float> d_grad(grad);
        AdamWParams<T> p{param.data(), with_master ? master.data() : nullptr, grad.data(), m.data(), v.data(), count};
        p.lr = 0.01F;
        p.weight_decay = 0.1F;
        p.step = step;
        p.grad_scale = 0.5F;
        p.eps = with_master ? 0.05F : 1e-8F;  // once large enough to show
        AdamWParams<T> q = p;
        q.param = d_param.data();
        q.master = with_master ? d_master.data() : nullptr;
        q.grad = d_grad.data();
        q.moment1 = d_m.data();
        q.moment2 = d_v.data();
        adamw_step(context(), p);
        adamw_step(gpu, q);
        expect_near(d_m, m);
        expect_near(d_v, v);
        expect_near(d_param, param, 256);
        expect_near(d_master, master, 256);
      }
    }
  }
}

TYPED_TEST(SimtOptimizer, SgdEqualsCpu) {
  using T = TypeParam;
  for (const bool with_momentum : {false, true}) {
    for (const int64_t count : {1, 300}) {
      std::vector<T> param = random_values<T>(count, 1);
      std::vector<float> master = random_values<float>(count, 2);
      std::vector<float> velocity = random_values<float>(count, 3);
      const std::vector<float> grad = random_values<float>(count, 4);
      this->for_each_schedule([&] {
        const DeviceBuffer<T> d_param(param);
        const DeviceBuffer<float> d_master(master), d_velocity(velocity), d_grad(grad);
        std::vector<T> cpu_param = param;
        std::vector<float> cpu_master = master;
        std::vector<float> cpu_velocity = velocity;
        SgdParams<T> p{
            cpu_param.data(), cpu_master.data(), grad.data(), cpu_velocity.data(), count, 0.1F, 0.9F, 0.01F, 2};
        SgdParams<T> q{d_param.data(), d_master.data(), d_grad.data(), d_velocity.data(), count, 0.1F, 0.9F, 0.01F, 2};
        if (!with_momentum) {
          p.velocity = q.velocity = nullptr;
          p.master = q.master = nullptr;
        }
        sgd_step(context(), p);
        sgd_step(gpu, q);
        expect_near(d_param, cpu_param);
        expect_near(d_master, cpu_master);
        expect_near(d_velocity, cpu_velocity);
      });
    }
  }
}

TYPED_TEST(SimtOptimizer, SquaredNormEqualsCpu) {
  using T = TypeParam;
  for (const int64_t count : {1, 1031, 4097, 20000}) {
    std::vector<T> x = random_values<T>(count, 1);
    if (count > 1) {
      x[3] = from_float<T>(std::numeric_limits<float>::infinity());
      x.back() = from_float<T>(std::numeric_limits<float>::quiet_NaN());
    }
    double sum = 2;
    int64_t nonfinite = 5;
    SquaredNormParams<T> p{x.data(), &sum, &nonfinite, count};
    const Workspace workspace(squared_norm_workspace_bytes<Cpu>(p));
    p.workspace = workspace.get();
    squared_norm(context(), p);
    this->for_each_schedule([&] {
      const DeviceBuffer<T> d_x(x);
      const DeviceBuffer<double> d_sum(std::vector<double>{2});
      const DeviceBuffer<int64_t> d_nonfinite(std::vector<int64_t>{5});
      SquaredNormParams<T> q{d_x.data(), d_sum.data(), d_nonfinite.data(), count};
      const DeviceBuffer<std::byte> scratch(static_cast<size_t>(squared_norm_workspace_bytes<Cuda>(q)));
      q.workspace = scratch.data();
      squared_norm(gpu, q);
      EXPECT_NEAR(d_sum.values()[0], sum, 1e-12 * sum);
      EXPECT_EQ(d_nonfinite.values()[0], nonfinite);
    });
  }
}

/// More blocks than the last kernel has threads, each with one element that is not finite.
TEST(SimtSquaredNorm, AddsMoreBlocksThanThreads) {
  constexpr int64_t count = 4096 * 300;
  std::vector<bfloat16> x(static_cast<size_t>(count), from_float<bfloat16>(0.5F));
  for (size_t i = 0; i < x.size(); i += 256) x[i] = from_float<bfloat16>(std::numeric_limits<float>::infinity());
  simt::set_options({1, 0});
  const DeviceBuffer<bfloat16> d_x(x);
  const DeviceBuffer<double> sum(std::vector<double>{0});
  const DeviceBuffer<int64_t> nonfinite(std::vector<int64_t>{0});
  SquaredNormParams<bfloat16> p{d_x.data(), sum.data(), nonfinite.data(), count};
  const DeviceBuffer<std::byte> scratch(static_cast<size_t>(squared_norm_workspace_bytes<Cuda>(p)));
  p.workspace = scratch.data();
  squared_norm(gpu, p);
  EXPECT_EQ(nonfinite.values()[0], count / 256);
  EXPECT_EQ(sum.values()[0], 0.25 * static_cast<double>(count - count / 256));
}

}  // namespace
}  // namespace subspect::kernels::test
