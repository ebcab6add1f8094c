// Random orthonormal bases: the controls of the projection experiment. Also the repair of nearly orthonormal rows.
#pragma once

#include <cstdint>

#include "runtime/random.h"
#include "runtime/tensor.h"

namespace subspect::runtime::linalg {

/// Makes the rows of `vectors` ([k, m] float32, k <= m) orthonormal in place; row i stays in the span of rows 0..i of
/// the input, so every prefix keeps its span. Cholesky QR with a float64 Gram matrix, repeated until max |Q Q^T - I| is
/// at most 5e-7; Householder QR where the rows are too dependent for it. Returns the max |Q Q^T - I| reached.
double orthonormalize_rows(Stream& stream, const Tensor& vectors);

struct RandomBasis {
  Tensor vectors;          ///< [k, m] float32, orthonormal rows
  double deviation = 0.0;  ///< max |Q Q^T - I|
};

/// k <= m orthonormal vectors of length m, uniformly distributed: the QR factor of a Gaussian [m, k]
/// block. Prefixes are nested: the first j rows are the same subspace for every k >= j. The numbers are those of
/// `philox`, on any number of threads.
RandomBasis random_basis(Stream& stream, int64_t m, int64_t k, const Philox& philox);

}  // namespace subspect::runtime::linalg
