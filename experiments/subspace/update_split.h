// An update D = F - A split by a subspace: what is applied in each mode, and what is reported of it. Only squared norms
// and inner products are needed, so every fraction and mode is read off one decomposition.
// Method: "Safety Subspaces are Not Linearly Distinct" (arXiv 2505.14185), section on projections of updates.
#pragma once

#include <string>
#include <string_view>

namespace subspect::experiments::subspace {

/// With P = U U^T D: what is added to the aligned weights.
enum class Mode {
  same,  ///< P
  orth,  ///< D - P
  opp,   ///< -P
};

std::string_view name(Mode mode);

/// Sums over one tensor, a layer or a model of D = F - A, V = A - B and an applied update Q; they add up.
struct SplitSums {
  double update = 0;            ///< ||D||^2
  double alignment = 0;         ///< ||V||^2
  double update_alignment = 0;  ///< <D, V>
  double applied = 0;           ///< ||Q||^2
  double applied_update = 0;    ///< <D, Q>

  SplitSums& operator+=(const SplitSums& other);

  // Each is NaN where it is undefined (D = 0, V = 0, Q = 0).
  double energy_kept() const;        ///< ||Q||^2 / ||D||^2
  double energy_removed() const;     ///< 1 - energy_kept
  double cosine_task_proj() const;   ///< <D, Q> / (||D|| ||Q||)
  double cosine_task_align() const;  ///< <D, V> / (||D|| ||V||)
  /// <D, V> / (sqrt(<D, V>) ||V||), the reading of the study's scripts; NaN also where <D, V> is not above 0.
  double published_cosine_task_align() const;
};

/// `sums` with Q as the mode makes it from the parallel part's energy ||P||^2 (<D, P> = ||P||^2).
SplitSums apply_mode(SplitSums sums, Mode mode, double parallel_energy);

}  // namespace subspect::experiments::subspace
