// Copies of columns.
#include "experiments/subspace/columns.h"

#include <cmath>

#include "runtime/linalg/products.h"

namespace subspect::experiments::subspace {

using runtime::Tensor;

namespace {

Tensor copied_columns(const Tensor& states, const std::vector<int64_t>& columns) {
  const auto count = static_cast<int64_t>(columns.size());
  Tensor part = runtime::linalg::host_matrix(states.size(0), count);
  const float* source = states.values<float>().data();
  float* target = part.values<float>().data();
  for (int64_t d = 0; d < states.size(0); ++d) {
    for (int64_t j = 0; j < count; ++j) {
      target[d * count + j] = source[d * states.size(1) + columns[static_cast<size_t>(j)]];
    }
  }
  return part;
}

}  // namespace

Tensor every_column(const Tensor& states, int64_t begin, int64_t step) {
  std::vector<int64_t> columns;
  for (int64_t j = begin; j < states.size(1); j += step) columns.push_back(j);
  return copied_columns(states, columns);
}

Tensor other_columns(const Tensor& states, int64_t begin, int64_t step) {
  std::vector<int64_t> columns;
  for (int64_t j = 0; j < states.size(1); ++j) {
    if (j % step != begin) columns.push_back(j);
  }
  return copied_columns(states, columns);
}

Tensor resampled_columns(const Tensor& states, const std::vector<int64_t>& counts, bool center) {
  std::vector<int64_t> drawn;  // distinct columns
  double total = 0.0;
  for (size_t j = 0; j < counts.size(); ++j) {
    if (counts[j] > 0) drawn.push_back(static_cast<int64_t>(j));
    total += static_cast<double>(counts[j]);
  }
  const auto width = static_cast<int64_t>(drawn.size());
  Tensor part = runtime::linalg::host_matrix(states.size(0), width);
  for (int64_t d = 0; d < states.size(0); ++d) {
    const float* source = states.values<float>().data() + d * states.size(1);
    float* target = part.values<float>().data() + d * width;
    double sum = 0.0;
    for (const int64_t j : drawn) {
      sum += static_cast<double>(counts[static_cast<size_t>(j)]) * static_cast<double>(source[j]);
    }
    const double mean = center ? sum / total : 0.0;
    for (int64_t i = 0; i < width; ++i) {
      const int64_t j = drawn[static_cast<size_t>(i)];
      const double weight = std::sqrt(static_cast<double>(counts[static_cast<size_t>(j)]));
      target[i] = static_cast<float>((static_cast<double>(source[j]) - mean) * weight);
    }
  }
  return part;
}

std::vector<double> row_means(const Tensor& states) {
  const int64_t count = states.size(1);
  std::vector<double> means(static_cast<size_t>(states.size(0)));
  for (size_t d = 0; d < means.size(); ++d) {
    const float* row = states.values<float>().data() + static_cast<int64_t>(d) * count;
    double sum = 0.0;
    for (int64_t j = 0; j < count; ++j) sum += static_cast<double>(row[j]);
    means[d] = sum / static_cast<double>(count);
  }
  return means;
}

void center_rows(const Tensor& states) {
  const std::vector<double> means = row_means(states);
  const int64_t count = states.size(1);
  for (size_t d = 0; d < means.size(); ++d) {
    float* row = states.values<float>().data() + static_cast<int64_t>(d) * count;
    for (int64_t j = 0; j < count; ++j) row[j] = static_cast<float>(static_cast<double>(row[j]) - means[d]);
  }
}

}  // namespace subspect::experiments::subspace
