// What the kernel benchmarks share: the sizes of one model, tensors on the device, rows of them on the host for the
// check, and the row that the registry's formulas describe.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/session.h"
#include "kernels/registry.h"
#include "model/config.h"
#include "runtime/dispatch.h"
#include "runtime/random.h"
#include "runtime/tensor.h"

namespace subspect::bench {

using runtime::DType;
using runtime::Shape;
using runtime::Tensor;
using Values = std::vector<double>;

/// The kernels at the sizes of one model and one element type.
struct KernelBench {
  Session& session;
  std::string model;  ///< "0.5b"
  const model::DecoderConfig& config;
  DType dtype = DType::float32;
  int64_t tokens = 0;  ///< of matrix products, attention and the loss

  runtime::Stream& stream() const { return session.stream(); }

  /// Rows of a kernel that moves `bytes_per_row`: at least `tokens`; on a GPU so many that they move 1 GB, which no
  /// cache holds.
  int64_t rows_moving(int64_t bytes_per_row) const {
    constexpr int64_t bytes = 1'000'000'000;
    return session.on_gpu() && !session.quick() ? std::max(tokens, bytes / bytes_per_row) : tokens;
  }

  int64_t element() const { return runtime::element_size(dtype); }

  Tensor empty(Shape shape) const { return Tensor::empty(stream(), std::move(shape), dtype); }
  Tensor floats(Shape shape) const { return Tensor::zeros(stream(), std::move(shape), DType::float32); }
  /// Of the element type, N(0, scale^2).
  Tensor normal(Shape shape, uint64_t seed, double scale = 1) const {
    return normal(std::move(shape), seed, scale, dtype);
  }
  Tensor normal(Shape shape, uint64_t seed, double scale, DType type) const {
    Tensor values = Tensor::empty(stream(), std::move(shape), type);
    fill_normal(stream(), values, scale, runtime::Philox(seed));
    return values;
  }
  template <class T>
  Tensor upload(const std::vector<T>& values) const {
    return Tensor::from_host<T>(stream(), values, {static_cast<int64_t>(values.size())});
  }
  Tensor scratch(int64_t bytes) const { return Tensor::empty(stream(), {std::max<int64_t>(bytes, 1)}, DType::uint8); }

  /// Consecutive rows of a matrix, one after the other.
  Values rows(const Tensor& matrix, int64_t begin, int64_t count) const {
    const auto values = matrix.narrow(0, begin, count).to_host<float>(stream());
    return {values.begin(), values.end()};
  }
  Values row(const Tensor& matrix, int64_t index) const { return rows(matrix, index, 1); }
  Values column(const Tensor& matrix, int64_t index) const {
    const auto values = matrix.narrow(1, index, 1).to_host<float>(stream());
    return {values.begin(), values.end()};
  }

  /// Whether a result agrees to the rounding of the element type. @param scale of the numbers that were added up
  bool near(double actual, double expected, double scale = 1) const {
    const double epsilon = dtype == DType::float32 ? 1e-4 : 2e-2;
    return std::abs(actual - expected) <= epsilon * (std::abs(expected) + scale);
  }
  bool near(std::span<const double> actual, std::span<const double> expected, double scale = 1) const {
    return std::equal(actual.begin(), actual.end(), expected.begin(), expected.end(),
                      [&](double a, double e) { return near(a, e, scale); });
  }

  /// Calls `body.operator()<D, T>(context)` for the device and the element type.
  template <class Body>
  void launch(Body&& body) const {
    runtime::dispatch(stream(), dtype, "bench", std::forward<Body>(body));
  }

  void measure(std::string_view kernel, const std::string& shape, const kernels::CostSizes& sizes,
               const std::function<void()>& run, const std::function<bool()>& correct) const {
    const kernels::KernelCost cost = kernels::find_kernel(kernel)->cost(sizes);
    session.measure({.name = std::string(kernel),
                     .dtype = dtype,
                     .shape = fmt::format("model={} {}", model, shape),
                     .bytes = cost.bytes,
                     .flops = cost.flops},
                    run, correct);
  }
};

inline double inner(const Values& a, const Values& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// How one kernel is measured.
struct KernelCase {
  std::string_view kernel;
  void (*measure)(const KernelBench& on);
  bool float32_only = false;
};

std::span<const KernelCase> row_cases();        ///< norms, activations, embedding, elementwise, random
std::span<const KernelCase> attention_cases();  ///< rotary, attention, paged cache
std::span<const KernelCase> product_cases();    ///< linear layers, loss
std::span<const KernelCase> optimizer_cases();
std::span<const KernelCase> sampling_cases();
std::span<const KernelCase> linalg_cases();

}  // namespace subspect::bench
