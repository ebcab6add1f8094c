// LeftBasis: the left singular vectors and singular values of one matrix, made once and asked for every rank, energy
// and projection. Random bases of the same shape and their overlap are in random_basis.h and overlap.h.
//
// Vectors are handed out transposed, [k, rows] with one unit vector per row: a prefix of the basis is a prefix of
// memory, coefficients are C = U^T D, and a projection is the transpose of the vectors times rows of C.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/linalg/eigensolver.h"
#include "runtime/linalg/spectrum.h"
#include "runtime/tensor.h"

namespace subspect::runtime::linalg {

/// How a basis is computed.
enum class BasisMethod : uint8_t {
  automatic,   ///< see choose_method; another one if the first fails
  gram,        ///< float64 Gram matrix of the smaller side and its eigendecomposition: the leading eigenvectors alone
               ///< for a rank of at most 1/8 of that side
  exact,       ///< float64 singular value decomposition
  randomized,  ///< leading vectors alone, by block Krylov iteration in float32 (randomized.h)
};

/// "auto", "gram", "exact", "randomized".
std::string_view name(BasisMethod method);
/// Reads `name(method)`; throws UsageError for anything else.
BasisMethod parse_basis_method(std::string_view text);

/// Of the randomized method, where nothing else is asked for: docs/linear-algebra.md has the measurements behind it.
inline constexpr double default_tolerance = 1e-3;

struct BasisOptions {
  BasisMethod method = BasisMethod::automatic;
  int64_t rank = 0;                      ///< leading vectors that will be asked for; 0: see `energy`
  double energy = 1.0;                   ///< share of ||V||^2 that the vectors asked for hold; 1: all of them
  double tolerance = default_tolerance;  ///< of the randomized method: ||V V^T u - sigma^2 u|| / sigma^2 of each
                                         ///< vector. 0: take what max_iterations reach
  int64_t max_iterations = 60;           ///< of the randomized method; each costs two products of V with its block
  int64_t memory_bytes = 0;              ///< for the decomposition, which `automatic` regards; 0: enough
  Eigensolver eigensolver = Eigensolver::automatic;  ///< of gram, on a GPU
};

/// What `automatic` means for a matrix of this shape: exact where the smaller side is at most 64, for it costs nothing;
/// randomized where a few leading vectors of a large matrix are wanted (rank given, at most 1/20 of the smaller side,
/// which is at least 512), or up to 1/4 of it where the Gram matrix does not fit into memory; gram for everything else.
BasisMethod choose_method(int64_t rows, int64_t cols, const BasisOptions& options);

/// U^T D for one D: what every fraction, mode and cosine is computed from.
struct Coefficients {
  Tensor values;                   ///< [rank, D.cols] float32
  std::vector<double> row_energy;  ///< squared norm of each row, float64
};

class LeftBasis {
 public:
  /// An empty basis (rank 0, no rows).
  LeftBasis() = default;

  /// Decomposes `v`: [rows, cols], contiguous float32, on the stream's device or on the host; a tall `v` is kept
  /// (shared, not copied) to form vectors on demand. `tensor_name` is for errors. Throws Error when `v` has a NaN or
  /// infinity, when LAPACK does not converge, or when the randomized method was asked for and misses its tolerance. The
  /// result does not depend on the number of threads.
  static LeftBasis compute(Stream& stream, const Tensor& v, std::string_view tensor_name,
                           const BasisOptions& options = {});

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  /// How many vectors there are: the numerical rank (how many sigma_i^2 exceed max(rows, cols) eps sigma_1^2, eps of
  /// float64; float32_resolution^2 sigma_1^2 for the randomized method), or fewer where truncated(). 0 for V = 0.
  int64_t rank() const { return rank_; }
  /// True when only the leading vectors were computed and V has, or may have, others.
  bool truncated() const { return truncated_; }
  /// Descending; min(rows, cols) of them, those beyond the rank 0 or noise. Where truncated: rank() of them.
  const std::vector<double>& singular_values() const { return singular_values_; }
  /// V, as it was given; undefined for an empty basis.
  const Tensor& matrix() const { return matrix_; }
  /// The one after them where truncated (or a little less); 0 otherwise.
  double next_singular_value() const { return next_singular_value_; }
  /// ||V||_F^2, summed from V itself.
  double squared_norm() const { return squared_norm_; }

  /// What was used; never `automatic`.
  BasisMethod method() const { return method_; }
  /// ||V V^T U g - U S^2 g|| / (sigma_1^2 ||g||), the largest of eight random g (Philox, fixed seed). Of the randomized
  /// method ||V V^T U S^-2 g - U g|| / ||g||: each vector's error relative to its own sigma^2.
  double residual() const { return residual_; }
  /// ||U^T U g - g|| / ||g||, likewise: the root-mean-square over the rows of U^T U - I.
  double orthogonality() const { return orthogonality_; }
  /// linalg::unique_at of the singular values.
  bool unique_at(int64_t k) const;
  /// The smallest k whose vectors hold the share `energy` of ||V||^2, at most rank(); 0 for V = 0. Throws Error where
  /// the basis is truncated and its vectors hold less.
  int64_t rank_at_energy(double energy) const;

  /// The first k <= rank() vectors, [k, rows] float32. Shares memory where the vectors are stored, else forms them.
  Tensor vectors(Stream& stream, int64_t k) const;

  /// The left basis of V^T: V's right singular vectors. A tall gram basis holds those already and is not decomposed
  /// again; any other decomposes V^T by `options`, for the vectors of the longer side are best formed from float64
  /// ones.
  LeftBasis transposed(Stream& stream, std::string_view tensor_name, const BasisOptions& options = {}) const;

  /// C = U^T D for all rank() vectors; `d`: [rows, any], contiguous float32. Tall matrices need no U for it.
  Coefficients coefficients(Stream& stream, const Tensor& d) const;

 private:
  friend class Decomposition;
  void measure(Stream& stream);

  int64_t rows_ = 0;
  int64_t cols_ = 0;
  int64_t rank_ = 0;
  bool truncated_ = false;
  double next_singular_value_ = 0.0;
  double squared_norm_ = 0.0;
  double residual_ = 0.0;
  double orthogonality_ = 0.0;
  BasisMethod method_ = BasisMethod::gram;
  std::vector<double> singular_values_;
  Tensor matrix_;   ///< V
  Tensor vectors_;  ///< [rank, rows] float32; undefined for a tall matrix (gram, randomized), which has the map:
  Tensor map_;      ///< [rank, cols] float64, row i = w_i / sigma_i, so that U^T = map V^T
};

/// C = U^T D of vectors given as rows ([k, m] float32) for D [m, n] float32: values and row energies.
Coefficients project_onto(Stream& stream, const Tensor& vectors, const Tensor& d);

/// out += alpha vectors^T coefficients, all float32: vectors [k, m], coefficients [k, n], out [m, n] contiguous, on the
/// stream's device; the others may be in host memory.
void add_projection(Stream& stream, const Tensor& vectors, const Tensor& coefficients, double alpha, const Tensor& out);

}  // namespace subspect::runtime::linalg
