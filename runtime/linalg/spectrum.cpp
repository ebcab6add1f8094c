// Ranks at energies, effective and stable rank.
#include "runtime/linalg/spectrum.h"

#include <cmath>

namespace subspect::runtime::linalg {

namespace {

// Summed from the smallest up, so that a long tail is not lost.
double total_energy(std::span<const double> singular_values) {
  double total = 0.0;
  for (size_t i = singular_values.size(); i-- > 0;) total += singular_values[i] * singular_values[i];
  return total;
}

}  // namespace

int64_t rank_at_energy(std::span<const double> singular_values, double energy) {
  const double total = total_energy(singular_values);
  if (!(total > 0.0)) return 0;
  const double wanted = (energy - 1e-12) * total;
  double sum = 0.0;
  for (size_t i = 0; i < singular_values.size(); ++i) {
    sum += singular_values[i] * singular_values[i];
    if (sum >= wanted) return static_cast<int64_t>(i) + 1;
  }
  return static_cast<int64_t>(singular_values.size());
}

double effective_rank(std::span<const double> singular_values) {
  const double total = total_energy(singular_values);
  if (!(total > 0.0)) return 0.0;
  double entropy = 0.0;
  for (size_t i = singular_values.size(); i-- > 0;) {
    const double share = singular_values[i] * singular_values[i] / total;
    if (share > 0.0) entropy -= share * std::log(share);
  }
  return std::exp(entropy);
}

double stable_rank(std::span<const double> singular_values) {
  const double total = total_energy(singular_values);
  if (!(total > 0.0)) return 0.0;
  return total / (singular_values[0] * singular_values[0]);
}

bool unique_at(std::span<const double> singular_values, int64_t k) {
  constexpr double unique_gap = 1e-6;
  if (k <= 0 || k >= static_cast<int64_t>(singular_values.size())) return true;
  const double here = singular_values[static_cast<size_t>(k - 1)];
  return here > 0.0 && (here - singular_values[static_cast<size_t>(k)]) / here >= unique_gap;
}

std::vector<double> cumulative_energy(std::span<const double> singular_values, double total) {
  std::vector<double> share(singular_values.size(), 0.0);
  double sum = 0.0;
  for (size_t i = 0; i < singular_values.size(); ++i) {
    sum += singular_values[i] * singular_values[i];
    if (total > 0.0) share[i] = sum / total;
  }
  return share;
}

}  // namespace subspect::runtime::linalg
