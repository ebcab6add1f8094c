// One matrix on its way to a LeftBasis. Gram matrices whose whole eigensystem is wanted may be solved elsewhere
// (bases.cpp): several at once, or on the host.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/linalg/left_basis.h"

namespace subspect::runtime::linalg {

/// Throws Error unless the tensor is a contiguous float32 matrix on the stream's device or the host.
void require_matrix(const Stream& stream, const Tensor& tensor, std::string_view op);

class Decomposition {
 public:
  /// Checks `v` and chooses the method. Arguments and errors as LeftBasis::compute.
  Decomposition(Stream& stream, const Tensor& v, std::string_view tensor_name, const BasisOptions& options);

  /// Decomposes.
  LeftBasis run();

  /// The smaller side where all eigenvectors of the Gram matrix are wanted, and it may be solved elsewhere; 0 else.
  int64_t gram_side() const;
  /// The lower triangle of `gram` [gram_side, gram_side] in float64 becomes the scaled Gram matrix.
  void form_gram(double* gram) const;
  /// In place of run(): from the eigenvalues, ascending, and the eigenvectors (rows) of the Gram matrix, on the device.
  LeftBasis finish(bool converged, const std::vector<double>& eigenvalues, const Tensor& vectors);

 private:
  LeftBasis conclude(bool converged);
  int64_t side() const { return std::min(basis_.rows_, basis_.cols_); }
  int64_t wanted() const;
  // All are false when the method failed.
  bool decompose(BasisMethod method);
  bool decompose_gram();
  bool decompose_exact();
  bool decompose_randomized();
  bool solve(const Tensor& gram, int64_t count, std::vector<double>& eigenvalues);
  void take_eigen(const std::vector<double>& eigenvalues, const Tensor& vectors);
  void set_spectrum(std::vector<double> singular_values);
  void set_small_side(const Tensor& vectors, const std::vector<int64_t>& order);

  Stream& stream_;
  std::string tensor_name_;
  BasisOptions options_;
  double scale_ = 1.0;  // a power of two that brings the entries of V near 1
  LeftBasis basis_;
};

}  // namespace subspect::runtime::linalg
