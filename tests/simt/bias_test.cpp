// The bias kernels, run by the shim, against the CPU kernels.
#include "kernels/bias.h"

#include <utility>

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

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
        set_schedule(seed, 0);
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

TYPED_TEST(SimtBias, NothingToDoLaunchesNothing) {
  using T = TypeParam;
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{0, 8}, {8, 0}}) {
    EXPECT_NO_THROW((bias_add<Cuda, T>(gpu, {nullptr, nullptr, nullptr, rows, cols})));
    EXPECT_NO_THROW((bias_gradient<Cuda, T>(gpu, {nullptr, nullptr, rows, cols, nullptr})));
  }
}

}  // namespace
}  // namespace subspect::kernels::test
