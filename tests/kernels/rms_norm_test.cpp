// RMSNorm, alone and fused with the residual addition.
#include "kernels/rms_norm.h"

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

constexpr float eps = 1e-5F;

/// The definition, in double: y, and inv_rms.
Doubles naive(const Doubles& h, const Doubles& weight, int64_t rows, int64_t cols) {
  Doubles y(h.size());
  for (int64_t i = 0; i < rows; ++i) {
    double squares = 0;
    for (int64_t j = 0; j < cols; ++j)
      squares += h[static_cast<size_t>(i * cols + j)] * h[static_cast<size_t>(i * cols + j)];
    const double inv_rms = 1 / std::sqrt(squares / static_cast<double>(cols) + static_cast<double>(eps));
    for (int64_t j = 0; j < cols; ++j) {
      const auto at = static_cast<size_t>(i * cols + j);
      y[at] = h[at] * inv_rms * weight[static_cast<size_t>(j)];
    }
  }
  return y;
}

template <class T>
struct Problem {
  int64_t rows;
  int64_t cols;
  std::vector<T> x, residual, weight, dy, dresidual;
  std::vector<T> sum, y, dx;
  std::vector<float> inv_rms, dweight;

  Problem(int64_t r, int64_t c)
      : rows(r),
        cols(c),
        x(random_values<T>(r * c, 1)),
        residual(random_values<T>(r * c, 2)),
        weight(random_values<T>(c, 3)),
        dy(random_values<T>(r * c, 4)),
        dresidual(random_values<T>(r * c, 5)),
        sum(x.size()),
        y(x.size()),
        dx(x.size()),
        inv_rms(static_cast<size_t>(r)),
        dweight(static_cast<size_t>(c), 0.25F) {}

  void forward(Context<Cpu> on, bool fused) {
    RmsNormForwardParams<T> p{
        x.data(), fused ? residual.data() : nullptr, weight.data(), sum.data(), y.data(), inv_rms.data(), rows, cols,
        eps};
    rms_norm_forward(on, p);
    if (!fused) sum = x;
  }

  void backward(Context<Cpu> on, bool with_residual) {
    RmsNormBackwardParams<T> p{
        sum.data(), weight.data(),  inv_rms.data(), dy.data(), with_residual ? dresidual.data() : nullptr,
        dx.data(),  dweight.data(), rows,           cols};
    const Workspace workspace(rms_norm_backward_workspace_bytes<Cpu>(p));
    p.workspace = workspace.get();
    rms_norm_backward(on, p);
  }
};

template <class T>
class RmsNormTest : public ::testing::Test {};
TYPED_TEST_SUITE(RmsNormTest, StorageTypes, StorageNames);

TYPED_TEST(RmsNormTest, ForwardEqualsDefinition) {
  for (const int64_t rows : {1, 3, 257}) {
    for (const int64_t cols : {1, 7, 16, 31, 128, 1031}) {
      Problem<TypeParam> p(rows, cols);
      p.forward(context(), false);
      expect_close(p.y, naive(widen(p.x), widen(p.weight), rows, cols));
    }
  }
}

TYPED_TEST(RmsNormTest, FusedFormAddsTheResidualFirst) {
  for (const int64_t cols : {1, 13, 130}) {
    Problem<TypeParam> p(5, cols);
    p.forward(context(), true);
    Doubles sum = widen(p.x);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(to_float(p.residual[i]));
    expect_close(p.sum, sum, 1);
    expect_close(p.y, naive(widen(p.sum), widen(p.weight), 5, cols));
  }
}

TYPED_TEST(RmsNormTest, GradientsEqualFiniteDifferences) {
  for (const int64_t cols : {1, 7, 37}) {
    const int64_t rows = 3;
    Problem<TypeParam> p(rows, cols);
    p.forward(context(), true);
    p.backward(context(), true);
    const Doubles dy = widen(p.dy);
    const Doubles weight = widen(p.weight);
    const Doubles h = widen(p.sum);
    Doubles dx = numeric_gradient([&](const Doubles& at) { return inner(naive(at, weight, rows, cols), dy); }, h);
    for (size_t i = 0; i < dx.size(); ++i) dx[i] += static_cast<double>(to_float(p.dresidual[i]));
    Doubles dweight = numeric_gradient([&](const Doubles& at) { return inner(naive(h, at, rows, cols), dy); }, weight);
    for (double& g : dweight) g += 0.25;
    expect_close(p.dx, dx, 64);
    expect_close(p.dweight, dweight, 64);
  }
}

TYPED_TEST(RmsNormTest, ManyRowsOfWeightGradient) {
  Problem<TypeParam> p(5003, 9);
  p.forward(context(), false);
  p.backward(context(), false);
  const Doubles h = widen(p.x);
  const Doubles dy = widen(p.dy);
  const Doubles normed = naive(h, Doubles(9, 1.0), 5003, 9);
  Doubles expected(9, 0.25);
  for (size_t i = 0; i < h.size(); ++i) expected[i % 9] += dy[i] * normed[i];
  expect_close(p.dweight, expected, 256);
}

TYPED_TEST(RmsNormTest, InPlaceGivesTheSame) {
  Problem<TypeParam> p(4, 50);
  p.forward(context(), true);
  p.backward(context(), true);
  Problem<TypeParam> q(4, 50);
  rms_norm_forward(context(),
                   RmsNormForwardParams<TypeParam>{q.x.data(), q.residual.data(), q.weight.data(), q.residual.data(),
                                                   q.x.data(), q.inv_rms.data(), 4, 50, eps});
  EXPECT_TRUE(same_bits(q.x, p.y));
  EXPECT_TRUE(same_bits(q.residual, p.sum));
  RmsNormBackwardParams<TypeParam> b{q.residual.data(),
                                     q.weight.data(),
                                     q.inv_rms.data(),
                                     q.dy.data(),
                                     q.dresidual.data(),
                                     q.dresidual.data(),
                                     nullptr,
                                     4,
                                     50};
  rms_norm_backward(context(), b);
  EXPECT_TRUE(same_bits(q.dresidual, p.dx));
}

TYPED_TEST(RmsNormTest, ThreadsDoNotMatter) {
  expect_same_for_all_teams([](Context<Cpu> on) {
    Problem<TypeParam> p(1009, 67);
    p.forward(on, true);
    p.backward(on, true);
    return joined(p.y, p.sum, p.dx, p.dweight, p.inv_rms);
  });
}

}  // namespace
}  // namespace subspect::kernels::test
