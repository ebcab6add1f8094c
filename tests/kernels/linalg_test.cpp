// The kernels between the library calls of the linear algebra against plain loops.
#include "kernels/linalg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

TEST(CopyRows, ChoosesScalesAndConverts) {
  constexpr int64_t rows = 5;
  constexpr int64_t cols = 37;
  const std::vector<float> x = random_values<float>(7 * 40, 1);
  const std::vector<int64_t> index = {6, 0, 3, 3, 1};
  const std::vector<double> factor = {1.0, -2.5, 1e-3, 0.0, 7.0};
  std::vector<double> y(rows * 50, 9.0);
  copy_rows<Cpu, float, double>(context(), {.x = x.data(),
                                            .x_stride = 40,
                                            .y = y.data(),
                                            .y_stride = 50,
                                            .rows = rows,
                                            .cols = cols,
                                            .index = index.data(),
                                            .factor = factor.data(),
                                            .scale = 0.5});
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < 50; ++j) {
      const auto from = static_cast<double>(x[static_cast<size_t>(index[static_cast<size_t>(i)] * 40 + j % 40)]);
      const double expected = j < cols ? 0.5 * factor[static_cast<size_t>(i)] * from : 9.0;
      EXPECT_EQ(y[static_cast<size_t>(i * 50 + j)], expected) << i << ", " << j;
    }
  }
  std::vector<float> back(rows * cols);
  copy_rows<Cpu, double, float>(
      context(), {.x = y.data(), .x_stride = 50, .y = back.data(), .y_stride = cols, .rows = rows, .cols = cols});
  for (int64_t i = 0; i < rows * cols; ++i) {
    EXPECT_EQ(back[static_cast<size_t>(i)], static_cast<float>(y[static_cast<size_t>(i / cols * 50 + i % cols)]));
  }
}

TEST(AddRows, AddsScaledRows) {
  const std::vector<float> x = random_values<float>(6 * 11, 2);
  const std::vector<float> before = random_values<float>(6 * 11, 3);
  const std::vector<double> factor = {1.0, -2.0, 0.0, 3.5, 1e-6, 1.0};
  std::vector<float> y = before;
  add_rows<Cpu>(context(),
                {.x = x.data(), .y = y.data(), .rows = 6, .cols = 11, .factor = factor.data(), .scale = -1.0});
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(y[i], static_cast<float>(static_cast<double>(before[i]) - factor[i / 11] * static_cast<double>(x[i])));
  }
  y = before;
  add_rows<Cpu>(context(), {.x = x.data(), .y = y.data(), .rows = 1, .cols = 66, .scale = -1.0});
  for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], before[i] - x[i]);
}

TEST(Transpose, MovesEveryElement) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 70}, {33, 65}, {100, 31}}) {
    const std::vector<float> x = random_values<float>(rows * cols, 4);
    std::vector<float> y(x.size());
    transpose<Cpu, float>(context(), x.data(), rows, cols, y.data());
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) {
        ASSERT_EQ(y[static_cast<size_t>(j * rows + i)], x[static_cast<size_t>(i * cols + j)]);
      }
    }
  }
}

TEST(ChunkProducts, SumEveryChunk) {
  for (const int64_t chunk : {1, 7, 16, 100, 1000}) {
    constexpr int64_t count = 333;
    const std::vector<float> a = random_values<float>(count, 5);
    const std::vector<float> b = random_values<float>(count, 6);
    std::vector<double> sums(static_cast<size_t>((count + chunk - 1) / chunk));
    chunk_products<Cpu>(context(), {.a = a.data(), .b = b.data(), .count = count, .chunk = chunk, .sums = sums.data()});
    std::vector<double> expected(sums.size(), 0.0);
    for (size_t i = 0; i < count; ++i) {
      expected[i / static_cast<size_t>(chunk)] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    for (size_t i = 0; i < sums.size(); ++i) EXPECT_NEAR(sums[i], expected[i], 1e-12);
  }
}

TEST(ChunkMagnitudes, FindTheLargestAndWhatIsNotFinite) {
  std::vector<float> x = random_values<float>(100, 7);
  x[42] = -9.0F;
  x[99] = 8.0F;
  std::vector<float> largest(4);
  const ChunkMagnitudesParams p = {.x = x.data(), .count = 100, .chunk = 30, .largest = largest.data()};
  chunk_magnitudes<Cpu>(context(), p);
  EXPECT_EQ(largest[1], 9.0F);
  EXPECT_EQ(largest[3], 8.0F);
  EXPECT_LT(largest[0], 8.0F);
  x[0] = -std::numeric_limits<float>::infinity();
  x[59] = -std::numeric_limits<float>::quiet_NaN();
  chunk_magnitudes<Cpu>(context(), p);
  EXPECT_TRUE(std::isinf(largest[0]));
  EXPECT_TRUE(std::isnan(largest[1]));
  EXPECT_TRUE(std::isfinite(largest[2]));
}

TEST(IdentityDeviation, RegardsTheLowerTriangle) {
  std::vector<double> gram = {1.0, 99.0, 99.0, -0.25, 1.5, 99.0, 0.0, 0.125, 1.0};
  std::vector<double> largest(3);
  identity_deviation<Cpu>(context(), gram.data(), 3, largest.data());
  EXPECT_EQ(largest, (std::vector<double>{0.0, 0.5, 0.125}));
}

}  // namespace
}  // namespace subspect::kernels::test
