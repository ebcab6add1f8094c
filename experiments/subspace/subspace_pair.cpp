// Overlaps at energies from one cross Gram matrix.
#include "experiments/subspace/subspace_pair.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "experiments/statistics/random_overlap.h"
#include "experiments/statistics/summary.h"
#include "runtime/linalg/overlap.h"
#include "runtime/linalg/random_basis.h"
#include "runtime/random.h"

namespace subspect::experiments::subspace {

std::string_view name(Side side) {
  return side == Side::left ? "left" : "right";
}

std::vector<EnergyOverlap> compare_subspaces(runtime::Stream& stream, const runtime::linalg::LeftBasis& a,
                                             const runtime::linalg::LeftBasis& b, const std::vector<double>& energies,
                                             const std::vector<double>& angle_energies) {
  constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
  const auto rank = [](const runtime::linalg::LeftBasis& basis, double energy) { return basis.rank_at_energy(energy); };
  const double largest = energies.empty() ? 0.0 : *std::max_element(energies.begin(), energies.end());
  const runtime::linalg::CrossOverlap cross(stream, a.vectors(stream, rank(a, largest)),
                                            b.vectors(stream, rank(b, largest)));
  std::vector<EnergyOverlap> overlaps;
  for (const double energy : energies) {
    EnergyOverlap row;
    row.energy = energy;
    row.k_a = rank(a, energy);
    row.k_b = rank(b, energy);
    row.d = a.rows();
    row.mso = row.mso_random = undefined;
    if (row.k_a > 0 && row.k_b > 0) {
      row.mso = cross.mso(row.k_a, row.k_b);
      row.mso_random = runtime::linalg::expected_random_mso(row.k_a, row.k_b, row.d);
      row.random_interval = statistics::random_mso_interval(row.k_a, row.k_b, row.d);
      const bool angles = std::find(angle_energies.begin(), angle_energies.end(), energy) != angle_energies.end();
      if (angles) row.angle_cosines = cross.principal_cosines(stream, row.k_a, row.k_b);
    }
    overlaps.push_back(std::move(row));
  }
  return overlaps;
}

void draw_baseline(runtime::Stream& stream, const BaselineDraws& draws, std::vector<EnergyOverlap>& rows) {
  int64_t rank_a = 0;
  int64_t rank_b = 0;
  for (const EnergyOverlap& row : rows) {
    rank_a = std::max(rank_a, row.k_a);
    rank_b = std::max(rank_b, row.k_b);
  }
  if (draws.count == 0 || rank_a == 0 || rank_b == 0) return;
  std::vector<double> sums(rows.size(), 0.0);
  std::vector<std::vector<std::vector<double>>> cosines(rows.size());  // by row and angle: one value a draw
  for (size_t i = 0; i < rows.size(); ++i) cosines[i].resize(rows[i].angle_cosines.size());
  for (int64_t draw = 0; draw < draws.count; ++draw) {
    const auto random = [&](int64_t rank, std::string_view which) {
      const uint64_t sequence = runtime::stream_of(fmt::format("{}/{}/{}", draws.label, draw, which));
      return runtime::linalg::random_basis(stream, rows.front().d, rank, runtime::Philox(draws.seed, sequence)).vectors;
    };
    const runtime::linalg::CrossOverlap cross(stream, random(rank_a, "a"), random(rank_b, "b"));
    for (size_t i = 0; i < rows.size(); ++i) {
      sums[i] += cross.mso(rows[i].k_a, rows[i].k_b);
      if (cosines[i].empty()) continue;
      const std::vector<double> drawn = cross.principal_cosines(stream, rows[i].k_a, rows[i].k_b);
      for (size_t angle = 0; angle < drawn.size(); ++angle) cosines[i][angle].push_back(drawn[angle]);
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].mso_random_mc = sums[i] / static_cast<double>(draws.count);
    for (const std::vector<double>& drawn : cosines[i]) {
      rows[i].random_cosines.push_back({statistics::mean(drawn), statistics::percentile_interval(drawn)});
    }
  }
}

}  // namespace subspect::experiments::subspace
