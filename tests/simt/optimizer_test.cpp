// The optimizer kernels, run by the shim, against the CPU kernels.
#include "kernels/optimizer.h"

#include <limits>

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

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
        set_schedule(static_cast<uint64_t>(step), step == 3 ? 61 : 0);
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
  set_schedule(1);
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
