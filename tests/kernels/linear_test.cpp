// The three products of a linear layer, and the bias kernels.
#include "kernels/linear.h"

#include "kernels/bias.h"
#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

/// [rows, cols] = a b with strides of the elements, in double.
Doubles naive(const Doubles& a, int64_t a_row, int64_t a_col, const Doubles& b, int64_t b_row, int64_t b_col,
              int64_t rows, int64_t cols, int64_t depth) {
  Doubles c(static_cast<size_t>(rows * cols));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t k = 0; k < depth; ++k) {
      const double element = a[static_cast<size_t>(i * a_row + k * a_col)];
      for (int64_t j = 0; j < cols; ++j) {
        c[static_cast<size_t>(i * cols + j)] += element * b[static_cast<size_t>(k * b_row + j * b_col)];
      }
    }
  }
  return c;
}

struct Shape {
  int64_t rows, in, out;
};

const std::vector<Shape> shapes = {{1, 1, 1},     {3, 7, 5},       {2, 64, 300},   {31, 127, 33},
                                   {300, 20, 40}, {130, 257, 259}, {17, 600, 129}, {600, 128, 384}};

/// Errors grow with the depth of the sums: one float32 epsilon per product, at worst.
double growth(int64_t depth) {
  return 8 + static_cast<double>(depth);
}

template <class T>
class LinearTest : public ::testing::Test {};
TYPED_TEST_SUITE(LinearTest, StorageTypes, StorageNames);

TYPED_TEST(LinearTest, ForwardEqualsDefinition) {
  for (const auto& [rows, in, out] : shapes) {
    const auto x = random_values<TypeParam>(rows * in, 1);
    const auto w = random_values<TypeParam>(out * in, 2);
    const auto bias = random_values<TypeParam>(out, 3);
    std::vector<TypeParam> y(static_cast<size_t>(rows * out), from_float<TypeParam>(NAN));
    std::vector<float> logits(y.size(), NAN);
    linear_forward(context(), LinearForwardParams<TypeParam>{x.data(), w.data(), bias.data(), y.data(), rows, in, out});
    linear_forward<Cpu, TypeParam, float>(context(), {x.data(), w.data(), nullptr, logits.data(), rows, in, out});
    Doubles expected = naive(widen(x), in, 1, widen(w), 1, in, rows, out, in);
    expect_close(logits, expected, growth(in));
    for (size_t i = 0; i < expected.size(); ++i) {
      expected[i] += static_cast<double>(to_float(bias[i % static_cast<size_t>(out)]));
    }
    expect_close(y, expected, growth(in));
  }
}

TYPED_TEST(LinearTest, BackwardEqualsDefinition) {
  for (const auto& [rows, in, out] : shapes) {
    const auto x = random_values<TypeParam>(rows * in, 1);
    const auto w = random_values<TypeParam>(out * in, 2);
    const auto dy = random_values<TypeParam>(rows * out, 3);
    std::vector<TypeParam> dx(x.size(), from_float<TypeParam>(NAN));
    std::vector<float> dw(w.size(), 0.5F);
    linear_backward_input(context(),
                          LinearBackwardInputParams<TypeParam>{dy.data(), w.data(), dx.data(), rows, in, out});
    linear_backward_weight(context(),
                           LinearBackwardWeightParams<TypeParam>{dy.data(), x.data(), dw.data(), rows, in, out});
    expect_close(dx, naive(widen(dy), out, 1, widen(w), in, 1, rows, in, out), growth(out));
    Doubles expected = naive(widen(dy), 1, out, widen(x), in, 1, out, in, rows);
    for (double& e : expected) e += 0.5;
    expect_close(dw, expected, growth(rows));
  }
}

TYPED_TEST(LinearTest, GradientsEqualFiniteDifferences) {
  const int64_t rows = 3;
  const int64_t in = 5;
  const int64_t out = 4;
  const auto x = random_values<TypeParam>(rows * in, 1);
  const auto w = random_values<TypeParam>(out * in, 2);
  const auto dy = random_values<TypeParam>(rows * out, 3);
  std::vector<TypeParam> dx(x.size());
  std::vector<float> dw(w.size());
  linear_backward_input(context(), LinearBackwardInputParams<TypeParam>{dy.data(), w.data(), dx.data(), rows, in, out});
  linear_backward_weight(context(),
                         LinearBackwardWeightParams<TypeParam>{dy.data(), x.data(), dw.data(), rows, in, out});
  const auto loss = [&](const Doubles& a, const Doubles& b) {
    return inner(naive(a, in, 1, b, 1, in, rows, out, in), dy);
  };
  expect_close(dx, numeric_gradient([&](const Doubles& at) { return loss(at, widen(w)); }, widen(x)));
  expect_close(dw, numeric_gradient([&](const Doubles& at) { return loss(widen(x), at); }, widen(w)));
}

TYPED_TEST(LinearTest, NothingToAddLeavesTheGradient) {
  std::vector<float> dw(6, 1.5F);
  linear_backward_weight(context(), LinearBackwardWeightParams<TypeParam>{nullptr, nullptr, dw.data(), 0, 2, 3});
  for (const float g : dw) EXPECT_EQ(g, 1.5F);
}

TYPED_TEST(LinearTest, ThreadsDoNotMatter) {
  const auto x = random_values<TypeParam>(700 * 200, 1);
  const auto w = random_values<TypeParam>(333 * 200, 2);
  const auto dy = random_values<TypeParam>(700 * 333, 3);
  expect_same_for_all_teams([&](Context<Cpu> on) {
    std::vector<TypeParam> y(dy.size());
    std::vector<TypeParam> dx(x.size());
    std::vector<float> dw(w.size());
    linear_forward(on, LinearForwardParams<TypeParam>{x.data(), w.data(), nullptr, y.data(), 700, 200, 333});
    linear_backward_input(on, LinearBackwardInputParams<TypeParam>{dy.data(), w.data(), dx.data(), 700, 200, 333});
    linear_backward_weight(on, LinearBackwardWeightParams<TypeParam>{dy.data(), x.data(), dw.data(), 700, 200, 333});
    return joined(y, dx, dw);
  });
}

// A token's activations are the same bits alone and in a batch of any size, so that generation does not depend on what
// else runs.
TYPED_TEST(LinearTest, RowsDoNotDependOnTheirNumber) {
  for (const auto& shape : std::vector<std::pair<int64_t, int64_t>>{{32, 96}, {128, 384}, {384, 128}, {1024, 257}}) {
    const int64_t in = shape.first;
    const int64_t out = shape.second;
    const auto x = random_values<TypeParam>(300 * in, 1);
    const auto w = random_values<TypeParam>(out * in, 2);
    const auto run = [&](int64_t first, int64_t rows) {
      std::vector<float> y(static_cast<size_t>(rows * out));
      linear_forward<Cpu, TypeParam, float>(context(),
                                            {x.data() + first * in, w.data(), nullptr, y.data(), rows, in, out});
      return y;
    };
    const auto all = run(0, 300);
    for (const int64_t rows : {1, 2, 3, 7, 8, 9, 33, 64, 100}) {
      const int64_t first = 150;
      const auto part = run(first, rows);
      EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + first * out))
          << rows << " rows of " << in << " -> " << out;
    }
  }
}

TYPED_TEST(LinearTest, BiasAddsToEveryRow) {
  for (const int64_t cols : {1, 7, 130}) {
    auto x = random_values<TypeParam>(9 * cols, 1);
    const auto bias = random_values<TypeParam>(cols, 2);
    Doubles expected = widen(x);
    for (size_t i = 0; i < expected.size(); ++i) {
      expected[i] += static_cast<double>(to_float(bias[i % static_cast<size_t>(cols)]));
    }
    bias_add(context(), BiasAddParams<TypeParam>{x.data(), bias.data(), x.data(), 9, cols});
    expect_close(x, expected, 1);
  }
}

template <class T>
std::vector<float> gradient_of_bias(Context<Cpu> on, const std::vector<T>& dy, int64_t rows, int64_t cols) {
  std::vector<float> dbias(static_cast<size_t>(cols), 1.0F);
  BiasGradientParams<T> p{dy.data(), dbias.data(), rows, cols};
  const Workspace workspace(bias_gradient_workspace_bytes<Cpu>(p));
  p.workspace = workspace.get();
  bias_gradient(on, p);
  return dbias;
}

TYPED_TEST(LinearTest, BiasGradientSumsRows) {
  for (const int64_t rows : {1, 33, 5000}) {
    for (const int64_t cols : {1, 19, 1500}) {
      const auto dy = random_values<TypeParam>(rows * cols, 3);
      Doubles expected(static_cast<size_t>(cols), 1.0);
      for (size_t i = 0; i < dy.size(); ++i) {
        expected[i % static_cast<size_t>(cols)] += static_cast<double>(to_float(dy[i]));
      }
      expect_close(gradient_of_bias(context(), dy, rows, cols), expected, 200);
    }
  }
  const auto dy = random_values<TypeParam>(1001 * 77, 3);
  expect_same_for_all_teams([&](Context<Cpu> on) { return gradient_of_bias(on, dy, 1001, 77); });
}

}  // namespace
}  // namespace subspect::kernels::test
