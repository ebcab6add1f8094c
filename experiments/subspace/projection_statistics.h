// What the grid of projected models supports: means over the draws of random bases, paired comparisons between cells on
// the same prompts, and how steadily scores follow the energy that is kept.
#pragma once

#include "experiments/evaluation/score_intervals.h"
#include "experiments/run_dir.h"

namespace subspect::experiments::subspace {

/// Reads results.csv of a projection whose models were evaluated and writes
/// - cells.csv: a row for each model, basis, mode and fraction; energies with Student's interval over the draws, scores
///   (means over draws and prompts) with the bootstrap interval over prompts and Student's interval over the draws;
/// - comparisons.csv, families `models` (unprojected ones, with base and aligned), `aligned` and `unprojected` (each
///   cell against those), `bases` (two bases at the same model, mode and fraction) and `equal_energy` (two bases of a
///   model, mode `same`: the mean over the energies 0.05, 0.1, ..., 0.95 of the lines through the cells, from the
///   aligned model to the unprojected one);
/// - trends.csv, statistic `concordance`: of all two points of a basis' curve whose scores differ by more than a tenth
///   of what fine-tuning moved, the share in which the one with more energy scores higher; mean over the bases of a
///   side, mode `same`, percentile interval over prompts.
/// Scores of several draws are averaged prompt by prompt before they are compared.
void write_projection_statistics(const RunDir& dir, const OutcomeTable& outcomes, ScoreIntervals& intervals);

}  // namespace subspect::experiments::subspace
