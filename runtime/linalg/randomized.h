// Leading singular vectors from random ones: block Krylov iteration until the residual meets a tolerance.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/tensor.h"

namespace subspect::runtime::linalg {

struct RandomizedOptions {
  int64_t rank = 0;           ///< vectors wanted; 0: as many as hold `energy`
  double energy = 1.0;        ///< share of `squared_norm`
  double squared_norm = 0.0;  ///< ||V||_F^2
  double scale = 1.0;         ///< a power of two that brings the entries of V near 1
  double tolerance =
      0.0;  ///< of ||V V^T u - sigma^2 u|| / sigma^2, for every wanted u; 0: whatever max_iterations reach
  int64_t max_iterations = 0;
};

struct LeadingVectors {
  Tensor vectors;              ///< [r, min(rows, cols)] float64, orthonormal rows: of the smaller side
  std::vector<double> values;  ///< r singular values of V, descending
  double next = 0.0;           ///< the singular value after them, or a little less; 0 where there is none
  bool complete = false;       ///< V has no further direction that float32 resolves
  int64_t iterations = 0;
};

/// sigma_i / sigma_1 below which a direction is noise of the float32 products, and not returned.
inline constexpr double float32_resolution = 0x1p-18;

/// Left singular vectors of V ([rows, cols] float32; right ones where rows > cols), the leading ones. Nothing when the
/// tolerance is not met: after max_iterations, or earlier where the residual stands still.
///
/// Method: block Krylov (Musco and Musco, "Randomized block Krylov methods for stronger and faster approximate
/// singular value decomposition", 2015) in the form of a block Davidson iteration: the space grows by the residuals of
/// its Ritz vectors, and is cut back to these when it is too large, so that any number of iterations needs bounded
/// memory. Products with V are in float32, every Gram matrix and small eigenproblem in float64; a last
/// Rayleigh-Ritz step in float64 makes the singular values as exact as the square of the residual. The start is
/// Gaussian (Philox, fixed seed): the result is always the same, on any number of threads.
std::optional<LeadingVectors> leading_vectors(Stream& stream, const Tensor& v, const RandomizedOptions& options);

}  // namespace subspect::runtime::linalg
