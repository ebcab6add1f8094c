// Energies and cosines of projected updates.
#include "experiments/subspace/update_split.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace subspect::experiments::subspace {

namespace {

double ratio(double numerator, double denominator) {
  return denominator > 0.0 ? numerator / denominator : std::numeric_limits<double>::quiet_NaN();
}

double cosine(double product, double a, double b) {
  return std::clamp(ratio(product, std::sqrt(a) * std::sqrt(b)), -1.0, 1.0);  // NaN stays NaN
}

}  // namespace

std::string_view name(Mode mode) {
  switch (mode) {
    case Mode::orth:
      return "orth";
    case Mode::opp:
      return "opp";
    case Mode::same:
      break;
  }
  return "same";
}

SplitSums& SplitSums::operator+=(const SplitSums& other) {
  update += other.update;
  alignment += other.alignment;
  update_alignment += other.update_alignment;
  applied += other.applied;
  applied_update += other.applied_update;
  return *this;
}

double SplitSums::energy_kept() const {
  return ratio(applied, update);
}

double SplitSums::energy_removed() const {
  return 1.0 - energy_kept();
}

double SplitSums::cosine_task_proj() const {
  return cosine(applied_update, update, applied);
}

double SplitSums::cosine_task_align() const {
  return cosine(update_alignment, update, alignment);
}

double SplitSums::published_cosine_task_align() const {
  return update_alignment > 0.0 ? ratio(std::sqrt(update_alignment), std::sqrt(alignment))
                                : std::numeric_limits<double>::quiet_NaN();
}

SplitSums apply_mode(SplitSums sums, Mode mode, double parallel_energy) {
  const double parallel = std::clamp(parallel_energy, 0.0, sums.update);  // rounding may leave it just above ||D||^2
  switch (mode) {
    case Mode::same:
      sums.applied = parallel;
      sums.applied_update = parallel;
      break;
    case Mode::orth:
      sums.applied = sums.update - parallel;
      sums.applied_update = sums.update - parallel;
      break;
    case Mode::opp:
      sums.applied = parallel;
      sums.applied_update = -parallel;
      break;
  }
  return sums;
}

}  // namespace subspect::experiments::subspace
