// Projections of updates on V V^T / ||V||_F.
#include "experiments/subspace/safelora.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/linalg/parallel.h"
#include "runtime/linalg/products.h"
#include "runtime/memory.h"

namespace subspect::experiments::subspace {

namespace {

using runtime::DType;
using runtime::Stream;
using runtime::Tensor;
using runtime::linalg::matrix_of;
using runtime::linalg::Op;

Tensor matrix_difference(Stream& stream, const WeightSource& a, const WeightSource& b, const std::string& tensor) {
  return runtime::linalg::on_device(stream, as_matrix(difference(stream, a, b, tensor)));
}

}  // namespace

double SafeLoraTensor::cosine() const {
  const double norms = std::sqrt(update) * std::sqrt(projected);
  return norms > 0.0 ? std::clamp(product / norms, -1.0, 1.0) : std::numeric_limits<double>::quiet_NaN();
}

Tensor safelora_projection(Stream& stream, const Tensor& alignment, const Tensor& update) {
  const int64_t rows = alignment.size(0), cols = alignment.size(1);
  Tensor projected = Tensor::zeros(stream, {rows, cols}, DType::float32);
  const double norm = std::sqrt(runtime::linalg::squared_norm(stream, alignment));
  if (norm == 0.0) return projected;
  const auto v = matrix_of<float>(alignment), d = matrix_of<float>(update), out = matrix_of<float>(projected);
  if (rows <= cols) {  // (V V^T) D, else V (V^T D): whichever product is smaller
    const Tensor gram = Tensor::empty(stream, {rows, rows}, DType::float32);
    runtime::linalg::multiply(stream, Op::none, v, Op::transpose, v, matrix_of<float>(gram));
    runtime::linalg::multiply(stream, Op::none, matrix_of<float>(gram), Op::none, d, out, {.alpha = 1.0 / norm});
  } else {
    const Tensor inner = Tensor::empty(stream, {cols, cols}, DType::float32);
    runtime::linalg::multiply(stream, Op::transpose, v, Op::none, d, matrix_of<float>(inner));
    runtime::linalg::multiply(stream, Op::none, v, Op::none, matrix_of<float>(inner), out, {.alpha = 1.0 / norm});
  }
  return projected;
}

double safelora_flops(const runtime::Shape& shape) {
  const auto count = static_cast<double>(elements(shape));
  const auto rows = static_cast<double>(shape.empty() ? 1 : shape[0]);
  return 4.0 * count * std::min(rows, count / rows);
}

Tensor safelora_weights(Stream& stream, const UpdateSources& sources, size_t finetuned, const std::string& tensor) {
  const WeightSource& aligned = *sources.aligned;
  Tensor weights = aligned.load(stream, tensor);
  const Tensor projected =
      safelora_projection(stream, matrix_difference(stream, aligned, *sources.base, tensor),
                          matrix_difference(stream, *sources.finetuned[finetuned], aligned, tensor));
  runtime::linalg::add_scaled(stream, projected.view(weights.shape()), 1.0, weights);
  return weights;
}

std::vector<SafeLoraTensor> measure_safelora(RunContext& context, const UpdateSources& sources, size_t finetuned,
                                             const std::vector<std::string>& tensors) {
  Stream& stream = context.stream;
  const WeightSource& aligned = *sources.aligned;
  std::vector<SafeLoraTensor> measured(tensors.size());
  const auto measure = [&](size_t i) {
    const Tensor update = matrix_difference(stream, *sources.finetuned[finetuned], aligned, tensors[i]);
    const Tensor projected =
        safelora_projection(stream, matrix_difference(stream, aligned, *sources.base, tensors[i]), update);
    measured[i] = {tensors[i],
                   update.size(0),
                   update.size(1),
                   runtime::linalg::squared_norm(stream, update),
                   runtime::linalg::squared_norm(stream, projected),
                   runtime::linalg::inner_product(stream, update, projected)};
  };
  const auto bytes = [&](size_t i) {
    const runtime::Shape shape = aligned.info(tensors[i]).shape;
    const int64_t count = elements(shape), rows = shape.empty() ? 1 : std::max<int64_t>(1, shape[0]);
    const int64_t side = std::min(rows, count / rows);
    return 4 * (5 * count + side * side);
  };
  runtime::linalg::for_each_matrix_within(stream, tensors.size(), runtime::available_memory(stream) / 2, bytes, measure,
                                          [&] { context.stop_if_interrupted(); });
  return measured;
}

std::vector<bool> below_threshold(const std::vector<SafeLoraTensor>& tensors, double threshold) {
  std::vector<bool> chosen;
  for (const SafeLoraTensor& each : tensors) chosen.push_back(each.cosine() < threshold);  // false for NaN
  return chosen;
}

std::vector<bool> lowest_cosines(const std::vector<SafeLoraTensor>& tensors, int64_t count) {
  std::vector<size_t> order;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (std::isfinite(tensors[i].cosine())) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return tensors[a].cosine() < tensors[b].cosine(); });
  std::vector<bool> chosen(tensors.size());
  for (size_t i = 0; i < std::min(order.size(), static_cast<size_t>(count)); ++i) chosen[order[i]] = true;
  return chosen;
}

}  // namespace subspect::experiments::subspace
