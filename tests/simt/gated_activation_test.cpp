// The gated activations, run by the shim, against the CPU kernels.
#include "kernels/gated_activation.h"

#include <utility>

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

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

TYPED_TEST(SimtGatedActivation, NothingToDoLaunchesNothing) {
  using T = TypeParam;
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{0, 8}, {8, 0}}) {
    EXPECT_NO_THROW((gated_activation_forward<Cuda, T>(gpu, {nullptr, nullptr, rows, cols, GatedActivation::silu})));
    EXPECT_NO_THROW(
        (gated_activation_backward<Cuda, T>(gpu, {nullptr, nullptr, nullptr, rows, cols, GatedActivation::silu})));
  }
}

}  // namespace
}  // namespace subspect::kernels::test
