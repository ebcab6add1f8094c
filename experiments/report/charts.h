// The plots of each experiment, made from its rows. Names of plots are unique within one call only.
#pragma once

#include <vector>

#include "experiments/report/plot.h"
#include "experiments/report/rows.h"
#include "experiments/report/run_files.h"

namespace subspect::experiments::report {

/// Utility and harmfulness over the energy kept, per basis, for the models whose scores fine-tuning moved and the
/// parallel projections: the picture at the top. Energy over fraction where nothing was evaluated.
std::vector<Plot> projection_picture(const ProjectionTables& tables);

/// Per mode: utility against harmfulness, either over the energy kept; and the energy kept over the fraction.
std::vector<Plot> projection_charts(const ProjectionTables& tables);

/// Per granularity: mean MSO of each pair over the energy fraction, with its random baseline dashed; by layer where
/// layers were stacked.
std::vector<Plot> overlap_charts(const std::vector<OverlapRow>& rows);

/// Cumulative energy and decay of the singular values, per model.
std::vector<Plot> spectrum_charts(const std::vector<SpectrumRow>& rows);

/// MSO by layer per model with its control and random baseline, and over the energy fraction.
std::vector<Plot> activation_charts(const std::vector<ActivationRow>& rows);

/// Held-out accuracy of the probes by layer, per method.
std::vector<Plot> probe_charts(const std::vector<ProbeRow>& rows);

/// Cosines of the principal angles at the energy nearest to one half, mean over the groups, with those of random
/// subspaces.
std::vector<Plot> angle_charts(const std::vector<AngleRow>& rows);

/// Per task and metric: the models' values with their intervals, or standard errors where there are none.
std::vector<Plot> score_charts(const std::vector<ScoreRow>& rows);

/// Of a kind that forms models in memory (`kind: arithmetic`, ...), from its results.csv; none for any other kind. Each
/// score with its intervals: over the coefficients, as a map where there are two updates;
/// by group of tensors; over the tensors that a defence projected.
std::vector<Plot> formed_charts(const std::string& kind, const CsvTable& table);

/// Per score: the unsteered model, and what the direction and random ones do in each intervention.
std::vector<Plot> steering_charts(const std::vector<SteeringCell>& cells);

/// Loss curves (and, of a single run, learning rate, gradient norm and speed). Pointers must not be null.
std::vector<Plot> training_charts(const std::vector<const RunFiles*>& runs);

/// At most `limit` of the points of a curve: of each stretch the lowest and the highest are kept, in order.
std::vector<Point> thin_out(const std::vector<Point>& points, size_t limit);

}  // namespace subspect::experiments::report
