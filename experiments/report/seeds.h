// Copies of a stage that a study ran with several seeds, as one stage whose figures are means over the seeds.
#pragma once

#include <string>
#include <vector>

#include "experiments/report/csv_table.h"
#include "experiments/report/run_files.h"

namespace subspect::experiments::report {

/// One table of several with the same columns, one for each seed: a row for each row that all of them have (told by its
/// texts and by fraction, layer, energy, draw and index), in the order of the first. Numbers are means over the seeds;
/// X_low and X_high (`low` and `high` belong to `value` or `difference`) become Student's interval of X over the seeds,
/// and p_holm the largest: a difference is supported where it is with every seed. Columns of the interval of random
/// subspaces stay means. One more column `seeds` counts them.
CsvTable mean_over_seeds(const std::vector<const CsvTable*>& tables);

/// The stages with the copies of each repeated stage replaced by one named "NAME, 3 seeds", in the place of the first.
/// Copies of fine-tunings stay as they are.
std::vector<RunFiles> folded_stages(const std::vector<RunFiles>& stages);

}  // namespace subspect::experiments::report
