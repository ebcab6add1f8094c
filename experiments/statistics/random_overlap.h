// What two random subspaces share: the closed forms behind the baseline of the mode subspace overlap.
#pragma once

#include <cstdint>

#include "experiments/statistics/intervals.h"

namespace subspect::experiments::statistics {

/// Variance of MSO = ||A^T B||_F^2 / min(k_a, k_b) of independent uniformly random subspaces A, B of dimensions k_a,
/// k_b in R^d. With P a projection of rank p and Q one of rank q turned at random, E tr(PQ) = pq / d and Var tr(PQ) = 2
/// p q (d - p)(d - q) / (d^2 (d - 1)(d + 2)) (second moments of the orthogonal group: Collins and Sniady,
/// Communications in Mathematical Physics 264, 2006). 0 where a subspace is all of R^d.
double random_mso_variance(int64_t k_a, int64_t k_b, int64_t d);

/// 2.5 % and 97.5 % quantile of that MSO: of the beta distribution with the same mean and variance on the possible
/// values, from max(0, k_a + k_b - d) / min(k_a, k_b) to 1. Exact where min(k_a, k_b) = 1, else an approximation that a
/// test compares with random subspaces. NaN where a k is not in 1..d.
Interval random_mso_interval(int64_t k_a, int64_t k_b, int64_t d);

}  // namespace subspect::experiments::statistics
