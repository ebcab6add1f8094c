// Numbers read off a list of singular values: ranks at energies, effective and stable rank.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace subspect::runtime::linalg {

/// The smallest k whose first k squared singular values (descending) hold at least `energy` of their sum; 0 when all
/// are 0. `energy` in (0, 1]. A tolerance of 1e-12 of the sum absorbs rounding, so that energy 1 is the numerical rank.
int64_t rank_at_energy(std::span<const double> singular_values, double energy);

/// exp of the entropy of the normalised squared singular values (Roy and Vetterli, 2007, on energies); 0 when all are
/// 0.
double effective_rank(std::span<const double> singular_values);

/// ||V||_F^2 / sigma_1^2; 0 when all are 0.
double stable_rank(std::span<const double> singular_values);

/// False where sigma_k and sigma_{k+1} (k counted from 1) differ by less than 1e-6 of sigma_k: the subspace of the
/// first k vectors is then one choice of many. True for k = 0 and for all of them.
bool unique_at(std::span<const double> singular_values, int64_t k);

/// Entry i = the share of `total` (the squared norm of the matrix) in the first i + 1 singular values; all 0 when the
/// total is 0.
std::vector<double> cumulative_energy(std::span<const double> singular_values, double total);

}  // namespace subspect::runtime::linalg
