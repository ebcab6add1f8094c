// SwiGLU and GeGLU.
#include "kernels/gated_activation.h"

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

double activate(GatedActivation kind, double z) {
  if (kind == GatedActivation::silu) return z / (1 + std::exp(-z));
  return 0.5 * z * (1 + std::tanh(std::sqrt(2 / M_PI) * (z + 0.044715 * z * z * z)));
}

Doubles naive(GatedActivation kind, const Doubles& gate_up, int64_t rows, int64_t cols) {
  Doubles y(static_cast<size_t>(rows * cols));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      y[static_cast<size_t>(i * cols + j)] = activate(kind, gate_up[static_cast<size_t>(2 * i * cols + j)]) *
                                             gate_up[static_cast<size_t>((2 * i + 1) * cols + j)];
    }
  }
  return y;
}

template <class T>
std::vector<T> forward(Context<Cpu> on, GatedActivation kind, const std::vector<T>& gate_up, int64_t rows,
                       int64_t cols) {
  std::vector<T> y(static_cast<size_t>(rows * cols));
  gated_activation_forward(on, GatedActivationForwardParams<T>{gate_up.data(), y.data(), rows, cols, kind});
  return y;
}

template <class T>
std::vector<T> backward(Context<Cpu> on, GatedActivation kind, std::vector<T> gate_up, const std::vector<T>& dy,
                        int64_t rows, int64_t cols) {
  gated_activation_backward(
      on, GatedActivationBackwardParams<T>{gate_up.data(), dy.data(), gate_up.data(), rows, cols, kind});
  return gate_up;
}

template <class T>
class GatedActivationTest : public ::testing::Test {};
TYPED_TEST_SUITE(GatedActivationTest, StorageTypes, StorageNames);

TYPED_TEST(GatedActivationTest, ForwardEqualsDefinition) {
  for (const auto kind : {GatedActivation::silu, GatedActivation::gelu_tanh}) {
    for (const int64_t cols : {1, 5, 16, 97}) {
      const auto gate_up = random_values<TypeParam>(7 * 2 * cols, 1, 3.0F);
      expect_close(forward(context(), kind, gate_up, 7, cols), naive(kind, widen(gate_up), 7, cols));
    }
  }
}

TYPED_TEST(GatedActivationTest, GradientEqualsFiniteDifferences) {
  for (const auto kind : {GatedActivation::silu, GatedActivation::gelu_tanh}) {
    for (const int64_t cols : {1, 19}) {
      const auto gate_up = random_values<TypeParam>(3 * 2 * cols, 2, 2.0F);
      const auto dy = random_values<TypeParam>(3 * cols, 3);
      const Doubles expected =
          numeric_gradient([&](const Doubles& at) { return inner(naive(kind, at, 3, cols), dy); }, widen(gate_up));
      expect_close(backward(context(), kind, gate_up, dy, 3, cols), expected);
    }
  }
}

TYPED_TEST(GatedActivationTest, LargeGatesStayFinite) {
  for (const auto kind : {GatedActivation::silu, GatedActivation::gelu_tanh}) {
    std::vector<TypeParam> gate_up;
    for (const float z : {-1e4F, -200.0F, -90.0F, 90.0F, 200.0F, 1e4F}) gate_up.push_back(from_float<TypeParam>(z));
    for (int i = 0; i < 6; ++i) gate_up.push_back(from_float<TypeParam>(1.0F));
    const auto y = forward(context(), kind, gate_up, 1, 6);
    const auto dx = backward(context(), kind, gate_up, std::vector<TypeParam>(6, from_float<TypeParam>(1.0F)), 1, 6);
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_NEAR(to_float(y[i]), i < 3 ? 0.0F : to_float(gate_up[i]), 1e-30);
      EXPECT_NEAR(to_float(dx[i]), i < 3 ? 0.0F : 1.0F, 1e-30);
    }
  }
}

TYPED_TEST(GatedActivationTest, ThreadsDoNotMatter) {
  const auto gate_up = random_values<TypeParam>(501 * 2 * 131, 4);
  const auto dy = random_values<TypeParam>(501 * 131, 5);
  expect_same_for_all_teams([&](Context<Cpu> on) {
    return joined(forward(on, GatedActivation::silu, gate_up, 501, 131),
                  backward(on, GatedActivation::silu, gate_up, dy, 501, 131));
  });
}

}  // namespace
}  // namespace subspect::kernels::test
