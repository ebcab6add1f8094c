// The kernels between the library calls of the linear algebra, run by the shim, against the CPU kernels.
#include "kernels/linalg.h"

#include <cmath>
#include <limits>

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

template <class To, class From>
std::vector<To> converted(const std::vector<From>& values) {
  return std::vector<To>(values.begin(), values.end());
}

template <class Pair>
class SimtCopyRows : public SimtCase {};

template <class A, class B>
struct Types {
  using In = A;
  using Out = B;
};
using CopyTypes =
    ::testing::Types<Types<float, float>, Types<float, double>, Types<double, float>, Types<double, double>>;
TYPED_TEST_SUITE(SimtCopyRows, CopyTypes);

struct CopyCase {
  int64_t cols, x_stride, y_stride, offset;
  bool chosen;
};

TYPED_TEST(SimtCopyRows, EqualsCpu) {
  using In = typename TypeParam::In;
  using Out = typename TypeParam::Out;
  const std::vector<int64_t> index = {6, 0, 3, 3, 1};
  const std::vector<double> factor = {1.0, -2.5, 1e-3, 0.0, 7.0};
  // Packs and single elements; strides, widths and pointers that do not divide; more than one tile of a row.
  for (const CopyCase& c : {CopyCase{36, 40, 44, 0, true},
                            {1100, 1100, 1104, 0, false},
                            {37, 40, 44, 0, true},
                            {36, 41, 44, 0, true},
                            {36, 40, 45, 0, true},
                            {36, 40, 44, 1, false},
                            {1, 1, 1, 0, true}}) {
    const auto x = converted<In>(random_values<float>(7 * c.x_stride + c.offset, 1));
    const std::vector<Out> before(static_cast<size_t>(5 * c.y_stride), Out(9));
    const auto run = [&]<class D>(Context<D> on, const In* from, Out* to, const int64_t* rows, const double* factors) {
      copy_rows<D, In, Out>(on, {.x = from + c.offset,
                                 .x_stride = c.x_stride,
                                 .y = to,
                                 .y_stride = c.y_stride,
                                 .rows = 5,
                                 .cols = c.cols,
                                 .index = c.chosen ? rows : nullptr,
                                 .factor = c.chosen ? factors : nullptr,
                                 .scale = -0.5});
    };
    std::vector<Out> y = before;
    run(context(), x.data(), y.data(), index.data(), factor.data());
    this->for_each_schedule([&] {
      const DeviceBuffer<In> dx(x);
      const DeviceBuffer<Out> dy(before);
      const DeviceBuffer<int64_t> rows(index);
      const DeviceBuffer<double> factors(factor);
      run(gpu, dx.data(), dy.data(), rows.data(), factors.data());
      expect_same(dy, y);
    });
  }
}

class SimtLinalg : public SimtCase {
 protected:
  template <class T>
  static void expect_transposed();
};

TEST_F(SimtLinalg, AddRowsEqualsCpu) {
  const std::vector<double> factor = {1.0, -2.0, 0.0, 3.5, 1e-6};
  for (const int64_t cols : {1, 12, 37, 1100, 1101}) {
    for (const bool chosen : {true, false}) {
      const std::vector<float> x = random_values<float>(5 * cols, 2);
      const std::vector<float> before = random_values<float>(5 * cols, 3);
      std::vector<float> y = before;
      const auto params = [&](const float* from, float* to, const double* factors) {
        return AddRowsParams{
            .x = from, .y = to, .rows = 5, .cols = cols, .factor = chosen ? factors : nullptr, .scale = -1.5};
      };
      add_rows<Cpu>(context(), params(x.data(), y.data(), factor.data()));
      for_each_schedule([&] {
        const DeviceBuffer<float> dx(x), dy(before);
        const DeviceBuffer<double> factors(factor);
        add_rows<Cuda>(gpu, params(dx.data(), dy.data(), factors.data()));
        expect_same(dy, y);
      });
    }
  }
}

template <class T>
void SimtLinalg::expect_transposed() {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 70}, {33, 65}, {100, 31}, {64, 32}, {1, 1}}) {
    const auto x = converted<T>(random_values<float>(rows * cols, 4));
    std::vector<T> y(x.size());
    transpose<Cpu, T>(context(), x.data(), rows, cols, y.data());
    for_each_schedule([&] {
      const DeviceBuffer<T> dx(x), dy(x.size());
      transpose<Cuda, T>(gpu, dx.data(), rows, cols, dy.data());
      expect_same(dy, y);
    });
  }
}

TEST_F(SimtLinalg, TransposeEqualsCpu) {
  expect_transposed<float>();
  expect_transposed<double>();
}

TEST_F(SimtLinalg, ChunkProductsAgreeWithCpu) {
  for (const auto& [count, chunk] :
       {std::pair<int64_t, int64_t>{1, 1}, {333, 7}, {333, 1000}, {3000, 1400}, {3001, 1400}, {2100, 5}}) {
    const std::vector<float> a = random_values<float>(count, 5);
    const std::vector<float> b = random_values<float>(count, 6);
    std::vector<double> sums(static_cast<size_t>((count + chunk - 1) / chunk));
    chunk_products<Cpu>(context(), {.a = a.data(), .b = b.data(), .count = count, .chunk = chunk, .sums = sums.data()});
    for_each_schedule([&] {
      const DeviceBuffer<float> da(a), db(b);
      const DeviceBuffer<double> ds(sums.size());
      chunk_products<Cuda>(gpu, {.a = da.data(), .b = db.data(), .count = count, .chunk = chunk, .sums = ds.data()});
      const std::vector<double> actual = ds.values();
      for (size_t i = 0; i < sums.size(); ++i) EXPECT_NEAR(actual[i], sums[i], 1e-11);
    });
  }
}

TEST_F(SimtLinalg, ChunkMagnitudesEqualCpu) {
  for (const auto& [count, chunk] : {std::pair<int64_t, int64_t>{1, 1}, {3000, 1400}, {3001, 1400}, {500, 30}}) {
    std::vector<float> x = random_values<float>(count, 7, 1e-3F);
    for (const int64_t at : {0, 255, 256, 1399, 1400, 2999}) {
      if (at < count) x[static_cast<size_t>(at)] = static_cast<float>(-2 - at);
    }
    for (const float bad : {0.0F, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      x[static_cast<size_t>(count / 2)] = -bad;
      std::vector<float> largest(static_cast<size_t>((count + chunk - 1) / chunk));
      chunk_magnitudes<Cpu>(context(), {.x = x.data(), .count = count, .chunk = chunk, .largest = largest.data()});
      for_each_schedule([&] {
        const DeviceBuffer<float> dx(x), found(largest.size());
        chunk_magnitudes<Cuda>(gpu, {.x = dx.data(), .count = count, .chunk = chunk, .largest = found.data()});
        expect_same(found, largest);
      });
    }
  }
}

TEST_F(SimtLinalg, IdentityDeviationEqualsCpu) {
  for (const int64_t n : {1, 31, 300}) {
    auto gram = converted<double>(random_values<float>(n * n, 8));
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i + 1; j < n; ++j) gram[static_cast<size_t>(i * n + j)] = 1e6;  // not read
      if (i % 3 == 0) gram[static_cast<size_t>(i * n + i)] += i % 2 == 0 ? 40.0 : -40.0;
    }
    std::vector<double> largest(static_cast<size_t>(n));
    identity_deviation<Cpu>(context(), gram.data(), n, largest.data());
    for_each_schedule([&] {
      const DeviceBuffer<double> dg(gram), found(largest.size());
      identity_deviation<Cuda>(gpu, dg.data(), n, found.data());
      expect_same(found, largest);
    });
  }
}

TEST_F(SimtLinalg, NothingToDoLaunchesNothing) {
  EXPECT_NO_THROW((copy_rows<Cuda, float, double>(gpu, {.rows = 0, .cols = 5})));
  EXPECT_NO_THROW(add_rows<Cuda>(gpu, {.rows = 5, .cols = 0}));
  EXPECT_NO_THROW((transpose<Cuda, float>(gpu, nullptr, 0, 3, nullptr)));
  EXPECT_NO_THROW(chunk_products<Cuda>(gpu, {}));
  EXPECT_NO_THROW(chunk_magnitudes<Cuda>(gpu, {}));
  EXPECT_NO_THROW(identity_deviation<Cuda>(gpu, nullptr, 0, nullptr));
}

}  // namespace
}  // namespace subspect::kernels::test
