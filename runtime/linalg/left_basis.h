// LeftBasis: the left singular vectors and singular values of one matrix, made once and asked for every rank, energy
// and projection. Random bases of the same shape and their overlap are in random_basis.h and overlap.h.
//
// Vectors are handed out transposed, [k, rows] with one unit vector per row: a prefix of the basis is a prefix of
// memory, coefficients are C = U^T D, and a projection is the transpose of the vectors times rows of C.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/linalg/spectrum.h"
#include "runtime/tensor.h"

namespace subspect::runtime::linalg {

/// How a basis is computed.
enum class BasisMethod : uint8_t {
  automatic,  ///< exact up to 64 x n, where it costs nothing; gram otherwise; the other one if the first fails
  gram,       ///< float64 Gram matrix of the smaller side and its eigendecomposition (dsyevd)
  exact,      ///< float64 singular value decomposition (dgesdd)
};

/// "auto", "gram", "exact".
std::string_view name(BasisMethod method);
/// Reads `name(method)`; throws UsageError for anything else.
BasisMethod parse_basis_method(std::string_view text);

/// U^T D for one D: what every fraction, mode and cosine is computed from.
struct Coefficients {
  Tensor values;                   ///< [rank, D.cols] float32
  std::vector<double> row_energy;  ///< squared norm of each row, float64
};

class LeftBasis {
 public:
  /// An empty basis (rank 0, no rows).
  LeftBasis() = default;

  /// Decomposes `v`: [rows, cols], contiguous float32 on the CPU; a tall `v` is kept (shared, not copied) to form
  /// vectors on demand. `tensor_name` is for errors. Throws Error when `v` has a NaN or infinity or when LAPACK does
  /// not converge. The result does not depend on the number of threads.
  static LeftBasis compute(Stream& stream, const Tensor& v, std::string_view tensor_name,
                           BasisMethod method = BasisMethod::automatic);

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  /// Numerical rank: how many sigma_i^2 exceed max(rows, cols) eps sigma_1^2, eps of float64. 0 for V = 0.
  int64_t rank() const { return rank_; }
  /// min(rows, cols) singular values, descending; those beyond the rank are 0 or noise.
  const std::vector<double>& singular_values() const { return singular_values_; }
  /// ||V||_F^2, summed from V itself.
  double squared_norm() const { return squared_norm_; }

  /// What was used; never `automatic`.
  BasisMethod method() const { return method_; }
  /// ||V V^T U g - U S^2 g|| / (sigma_1^2 ||g||), the largest of eight random g (Philox, fixed seed).
  double residual() const { return residual_; }
  /// ||U^T U g - g|| / ||g||, likewise: the root-mean-square over the rows of U^T U - I.
  double orthogonality() const { return orthogonality_; }
  /// linalg::unique_at of the singular values.
  bool unique_at(int64_t k) const { return linalg::unique_at(singular_values_, k); }

  /// The first k <= rank() vectors, [k, rows] float32. Shares memory where the vectors are stored, else forms them.
  Tensor vectors(Stream& stream, int64_t k) const;

  /// The left basis of V^T: V's right singular vectors. A tall gram basis holds those already and is not decomposed
  /// again; any other decomposes V^T by `method`, for the vectors of the longer side are best formed from float64 ones.
  LeftBasis transposed(Stream& stream, std::string_view tensor_name, BasisMethod method = BasisMethod::automatic) const;

  /// C = U^T D for all rank() vectors; `d`: [rows, any], contiguous float32. Tall matrices need no U for it.
  Coefficients coefficients(Stream& stream, const Tensor& d) const;

 private:
  // Both are false when LAPACK did not converge. `scale` is a power of two that brings the entries of V near 1.
  bool decompose_gram(Stream& stream, double scale);
  bool decompose_exact(Stream& stream, double scale);
  void set_spectrum(std::vector<double> singular_values);
  void measure(Stream& stream);

  int64_t rows_ = 0;
  int64_t cols_ = 0;
  int64_t rank_ = 0;
  double squared_norm_ = 0.0;
  double residual_ = 0.0;
  double orthogonality_ = 0.0;
  BasisMethod method_ = BasisMethod::gram;
  std::vector<double> singular_values_;
  Tensor matrix_;   ///< V
  Tensor vectors_;  ///< [rank, rows] float32, or undefined for a tall gram basis:
  Tensor map_;      ///< [rank, cols] float64, row i = w_i / sigma_i, so that U^T = map V^T
};

/// C = U^T D of vectors given as rows ([k, m] float32) for D [m, n] float32: values and row energies.
Coefficients project_onto(Stream& stream, const Tensor& vectors, const Tensor& d);

/// out += alpha vectors^T coefficients, all float32: vectors [k, m], coefficients [k, n], out [m, n] contiguous.
void add_projection(Stream& stream, const Tensor& vectors, const Tensor& coefficients, double alpha, const Tensor& out);

}  // namespace subspect::runtime::linalg
