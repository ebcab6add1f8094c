// How far two judges agree: Cohen's kappa (Educational and Psychological Measurement 20, 1960), plain and weighted
// (Psychological Bulletin 70, 1968), from the table of what one gave where the other gave what.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace subspect::experiments {

inline constexpr size_t judge_grades = 5;

/// counts[i][j]: exchanges that the first judge gave i + 1 and the second j + 1.
using Confusion = std::array<std::array<int64_t, judge_grades>, judge_grades>;

enum class Disagreement {
  nominal,    ///< every disagreement counts 1
  quadratic,  ///< a disagreement counts the square of the distance of the grades
};

int64_t total(const Confusion& confusion);

/// Share of the exchanges on which both gave the same grade; NaN for an empty table.
double agreement(const Confusion& confusion);

/// 1 - observed disagreement / disagreement expected by chance from the margins: 1 full agreement, 0 as by chance. NaN
/// where chance leaves no disagreement (both judges gave one and the same grade throughout, or no exchange).
double cohen_kappa(const Confusion& confusion, Disagreement disagreement = Disagreement::nominal);

/// The same judges asked "does it refuse?" only: grades 1 stay, 2 to 5 become 5.
Confusion refusals_only(const Confusion& confusion);

}  // namespace subspect::experiments
