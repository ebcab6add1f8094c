// Two bases compared at a list of energy fractions: the rows of overlap and activation tables.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/statistics/intervals.h"
#include "runtime/linalg/left_basis.h"

namespace subspect::experiments::subspace {

/// Which singular vectors of an update span the subspaces: the left ones (of its rows' space) or the right ones.
enum class Side { left, right };
std::string_view name(Side side);

/// A principal angle of random subspaces: the mean of its cosine, and what 95 % of the draws lie in.
struct RandomCosine {
  double mean = 0;
  statistics::Interval interval;
};

/// The mode subspace overlap of two bases at one energy fraction.
struct EnergyOverlap {
  double energy = 0;
  int64_t k_a = 0;  ///< 0: the matrix is zero and the overlap undefined
  int64_t k_b = 0;
  int64_t d = 0;                             ///< ambient dimension
  double mso = 0;                            ///< NaN when undefined
  double mso_random = 0;                     ///< expected of random subspaces, max(k_a, k_b) / d; NaN when undefined
  statistics::Interval random_interval;      ///< 95 % of random subspaces lie in it; NaN when undefined
  std::vector<double> angle_cosines;         ///< of the principal angles, when asked for
  std::vector<RandomCosine> random_cosines;  ///< of drawn pairs, one for each angle, when both are asked for
  double mso_random_mc = std::numeric_limits<double>::quiet_NaN();  ///< mean over drawn pairs, when asked for
};

/// Compares the subspaces that hold each energy fraction, those in `angle_energies` by their principal angles, too. k
/// is capped at the numerical rank.
std::vector<EnergyOverlap> compare_subspaces(runtime::Stream& stream, const runtime::linalg::LeftBasis& a,
                                             const runtime::linalg::LeftBasis& b, const std::vector<double>& energies,
                                             const std::vector<double>& angle_energies = {});

/// Random subspaces that check the closed form of `mso_random`.
struct BaselineDraws {
  int64_t count = 0;  ///< pairs of subspaces; 0: none
  uint64_t seed = 0;
  std::string label;  ///< an independent sequence for each
};

/// Sets `mso_random_mc` of every defined row: its ranks' MSO, averaged over independent pairs of uniformly random
/// bases. A draw is two QR factors [d, largest k] and one product, and serves all rows (their bases are nested), so
/// that the rows are correlated but each is unbiased. Rows that have principal angles also get those of the draws, for
/// one decomposition [k_a, k_b] more each.
void draw_baseline(runtime::Stream& stream, const BaselineDraws& draws, std::vector<EnergyOverlap>& rows);

}  // namespace subspect::experiments::subspace
