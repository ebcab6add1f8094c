// Overlap of two subspaces for every pair of ranks, from one cross Gram matrix.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/tensor.h"

namespace subspect::runtime::linalg {

/// G = U_a^T U_b and the 2-D prefix sums of its squared entries in float64.
class CrossOverlap {
 public:
  /// `a`: [k_a, d], `b`: [k_b, d] float32, orthonormal rows.
  CrossOverlap(Stream& stream, const Tensor& a, const Tensor& b);

  int64_t rank_a() const { return rank_a_; }
  int64_t rank_b() const { return rank_b_; }

  /// ||U_a[:, :k_a]^T U_b[:, :k_b]||_F^2, for 0 <= k_a <= rank_a(), 0 <= k_b <= rank_b().
  double shared_energy(int64_t k_a, int64_t k_b) const;
  /// Mode subspace overlap: shared energy / min(k_a, k_b); both ranks positive.
  double mso(int64_t k_a, int64_t k_b) const;
  /// Cosines of the principal angles between the two prefixes, descending, min(k_a, k_b) of them, clamped to [0, 1].
  std::vector<double> principal_cosines(Stream& stream, int64_t k_a, int64_t k_b) const;

 private:
  int64_t rank_a_ = 0;
  int64_t rank_b_ = 0;
  Tensor cross_;                // [rank_a, rank_b] float32
  std::vector<double> prefix_;  // [rank_a + 1, rank_b + 1]
};

/// The MSO expected of two independent uniformly random subspaces of dimension d: max(k_a, k_b) / d.
double expected_random_mso(int64_t k_a, int64_t k_b, int64_t d);

}  // namespace subspect::runtime::linalg
