// Kernels between the library calls of the linear algebra, at the size of a model's largest layer.
#include "kernels/linalg.h"

#include <array>

#include "bench/kernels/bench.h"

namespace subspect::bench {
namespace {

using kernels::Context;

struct Matrix {
  const KernelBench& on;
  int64_t rows;
  int64_t cols;
  Tensor x;

  explicit Matrix(const KernelBench& bench)
      : on(bench),
        rows(bench.config.intermediate_size),
        cols(bench.config.hidden_size),
        x(on.normal({rows, cols}, 1)) {}

  void measure(std::string_view kernel, const std::function<void()>& run, const std::function<bool()>& correct) const {
    on.measure(kernel, fmt::format("rows={} cols={}", rows, cols),
               {.rows = static_cast<double>(rows), .cols = static_cast<double>(cols)}, run, correct);
  }
  void measure_flat(std::string_view kernel, const std::function<void()>& run,
                    const std::function<bool()>& correct) const {
    on.measure(kernel, fmt::format("cols={}", rows * cols), {.cols = static_cast<double>(rows * cols)}, run, correct);
  }
  /// Calls `body.operator()<D>(context)`.
  template <class Body>
  void launch(const Body& body) const {
    runtime::dispatch_device(on.stream(), body);
  }
};

void copy_rows(const KernelBench& on) {
  const Matrix m(on);
  const Tensor y = on.floats({m.rows, m.cols});
  std::vector<int64_t> index(static_cast<size_t>(m.rows));
  std::iota(index.rbegin(), index.rend(), 0);
  const Tensor device_index = on.upload(index);
  const auto run = [&] {
    m.launch([&]<class D>(Context<D> context) {
      kernels::copy_rows<D, float, float>(context, {.x = m.x.data<float>(),
                                                    .x_stride = m.cols,
                                                    .y = y.data<float>(),
                                                    .y_stride = m.cols,
                                                    .rows = m.rows,
                                                    .cols = m.cols,
                                                    .index = device_index.data<int64_t>()});
    });
  };
  m.measure("copy_rows", run, [&] { return on.row(y, 1) == on.row(m.x, m.rows - 2); });
}

void add_rows(const KernelBench& on) {
  const Matrix m(on);
  const Tensor y = on.floats({m.rows, m.cols});
  const auto run = [&] {
    m.launch([&]<class D>(Context<D> context) {
      kernels::add_rows<D>(context,
                           {.x = m.x.data<float>(), .y = y.data<float>(), .rows = m.rows, .cols = m.cols, .scale = 2});
    });
  };
  const auto correct = [&] {
    Values expected = on.row(m.x, m.rows - 1);
    for (double& value : expected) value *= 2;
    return on.row(y, m.rows - 1) == expected;
  };
  m.measure("add_rows", run, correct);
}

void transpose(const KernelBench& on) {
  const Matrix m(on);
  const Tensor y = on.floats({m.cols, m.rows});
  const auto run = [&] {
    m.launch([&]<class D>(Context<D> context) {
      kernels::transpose<D, float>(context, m.x.data<float>(), m.rows, m.cols, y.data<float>());
    });
  };
  m.measure("transpose", run, [&] { return on.row(y, m.cols - 1) == on.column(m.x, m.cols - 1); });
}

void chunk_products(const KernelBench& on) {
  const Matrix m(on);
  const Tensor other = on.normal({m.rows, m.cols}, 2);
  const Tensor sums = Tensor::empty(on.stream(), {m.rows}, DType::float64);
  const auto run = [&] {
    m.launch([&]<class D>(Context<D> context) {
      kernels::chunk_products<D>(context, {.a = m.x.data<float>(),
                                           .b = other.data<float>(),
                                           .count = m.rows * m.cols,
                                           .chunk = m.cols,
                                           .sums = sums.data<double>()});
    });
  };
  const auto correct = [&] {
    return std::abs(sums.to_host<double>(on.stream()).back() -
                    inner(on.row(m.x, m.rows - 1), on.row(other, m.rows - 1))) <= 1e-9 * static_cast<double>(m.cols);
  };
  m.measure_flat("chunk_products", run, correct);
}

void chunk_magnitudes(const KernelBench& on) {
  const Matrix m(on);
  const Tensor largest = on.floats({m.rows});
  const auto run = [&] {
    m.launch([&]<class D>(Context<D> context) {
      kernels::chunk_magnitudes<D>(
          context,
          {.x = m.x.data<float>(), .count = m.rows * m.cols, .chunk = m.cols, .largest = largest.data<float>()});
    });
  };
  const auto correct = [&] {
    double expected = 0;
    for (const double value : on.row(m.x, m.rows - 1)) expected = std::max(expected, std::abs(value));
    return on.rows(largest, m.rows - 1, 1)[0] == expected;
  };
  m.measure_flat("chunk_magnitudes", run, correct);
}

/// Of a matrix of zeros: 1 in every row, from its diagonal.
void identity_deviation(const KernelBench& on) {
  const int64_t n = on.config.hidden_size;
  const Tensor gram = Tensor::zeros(on.stream(), {n, n}, DType::float64);
  const Tensor largest = Tensor::zeros(on.stream(), {n}, DType::float64);
  const auto run = [&] {
    runtime::dispatch_device(on.stream(), [&]<class D>(Context<D> context) {
      kernels::identity_deviation<D>(context, gram.data<double>(), n, largest.data<double>());
    });
  };
  const auto correct = [&] { return largest.to_host<double>(on.stream()) == Values(static_cast<size_t>(n), 1.0); };
  on.measure("identity_deviation", fmt::format("cols={}", n), {.cols = static_cast<double>(n)}, run, correct);
}

constexpr std::array cases = {
    KernelCase{"copy_rows", copy_rows, true},
    KernelCase{"add_rows", add_rows, true},
    KernelCase{"transpose", transpose, true},
    KernelCase{"chunk_products", chunk_products, true},
    KernelCase{"chunk_magnitudes", chunk_magnitudes, true},
    KernelCase{"identity_deviation", identity_deviation, true},
};

}  // namespace

std::span<const KernelCase> linalg_cases() {
  return cases;
}

}  // namespace subspect::bench
