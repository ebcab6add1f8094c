// Columns of a matrix of states in host memory: picking, weighting and centring them.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/tensor.h"

namespace subspect::experiments::subspace {

/// Columns begin, begin + step, ... of a float32 matrix [hidden, prompts], copied.
runtime::Tensor every_column(const runtime::Tensor& states, int64_t begin, int64_t step);

/// The other columns: those j with j mod step != begin, copied.
runtime::Tensor other_columns(const runtime::Tensor& states, int64_t begin, int64_t step);

/// The resample that has column j `counts[j]` times, each distinct column once and scaled by sqrt(counts[j]): the same
/// Gram matrix of rows, hence the same left singular vectors and values, from about 63 % of the columns. With `center`
/// the resample's mean is subtracted first.
runtime::Tensor resampled_columns(const runtime::Tensor& states, const std::vector<int64_t>& counts, bool center);

/// The mean over the columns of each row, in float64.
std::vector<double> row_means(const runtime::Tensor& states);

/// Subtracts from every row its mean over the columns.
void center_rows(const runtime::Tensor& states);

}  // namespace subspect::experiments::subspace
