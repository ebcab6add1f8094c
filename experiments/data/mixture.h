// Mixtures: several sources as one dataset, without duplicates, in given shares; and how long its examples are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/data/dataset.h"
#include "experiments/table.h"

namespace subspect::experiments {

/// Which examples count as the same.
enum class Duplicates {
  keep,        ///< none: every row stays
  exact,       ///< equal prompt and response
  normalized,  ///< equal but for upper and lower case and for the amount of white space
};

struct MixtureOptions {
  uint64_t seed = 0;
  bool shuffle = false;  ///< one shuffle of the whole by the seed
  Duplicates duplicates = Duplicates::keep;
};

/// All sources one after the other, each read with a seed of its own made from the seed and its place. Then duplicates
/// are left out, of which the first stays, whichever source it is from. Then, where the sources have weights, each
/// gives its share: source i has weight_i / (sum of weights) of the mixture, which is as large as it can be without
/// using an example twice, and gives the first of its examples (`shuffle` of a source draws them by the seed instead).
/// Shares are rounded by largest remainder. Throws UsageError where only some of the sources have a weight.
Dataset read_mixture(const std::vector<DataSource>& sources, const MixtureOptions& options);

/// The table of what became of each source: rows read and left out, and the quantiles of its examples' lengths.
/// @param lengths tokens of each example of the mixture before any truncation, in the order of the sources.
/// @param max_seq_length counts the examples that exceed it; 0: no limit.
Table data_table(const Dataset& mixture, const std::vector<int64_t>& lengths, int64_t max_seq_length);

}  // namespace subspect::experiments
