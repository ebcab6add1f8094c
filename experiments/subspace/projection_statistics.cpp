// Cells, comparisons and trends of a projection.
#include "experiments/subspace/projection_statistics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "experiments/statistics/summary.h"
#include "experiments/subspace/keyed_table.h"
#include "experiments/subspace/projection_run.h"

namespace subspect::experiments::subspace {

namespace {

using statistics::Interval;
using Values = std::vector<double>;

/// The draws of one model, basis, mode and fraction; unprojected models have the basis "none".
struct GridCell {
  std::string model, basis, mode;  ///< of a basis on another side than the left: BASIS/SIDE
  std::optional<double> fraction;
  Values energies;                  ///< one a draw
  std::vector<std::string> labels;  ///< of the draws, as the outcomes have them

  bool projected() const { return basis != "none"; }
  double energy() const { return statistics::mean(energies); }
};

std::vector<GridCell> read_grid(const RunDir& dir) {
  const Table table = Table::read_csv(dir.path() / "results.csv");
  std::vector<GridCell> grid;
  for (const Row& row : table.rows()) {
    const auto text = [&](const char* column) { return table.cell(row, column).text(); };
    const auto number = [&](const char* column) { return table.cell(row, column).number(); };
    ProjectionCell cell{.model = text("model"), .basis = text("basis"), .mode = text("mode"), .side = text("side")};
    const std::string basis = cell.sided_basis();
    if (table.cell(row, "fraction").is_number()) cell.fraction = number("fraction");
    if (table.cell(row, "draw").is_number()) cell.draw = static_cast<int64_t>(number("draw"));
    auto found = std::find_if(grid.begin(), grid.end(), [&](const GridCell& known) {
      return std::tie(known.model, known.basis, known.mode, known.fraction) ==
             std::tie(cell.model, basis, cell.mode, cell.fraction);
    });
    if (found == grid.end()) found = grid.insert(found, {cell.model, basis, cell.mode, cell.fraction, {}, {}});
    found->energies.push_back(number("energy_kept"));
    found->labels.push_back(cell.label());
  }
  return grid;
}

/// The mean over the draws, prompt by prompt; without values where a draw was not evaluated.
Outcomes mean_outcomes(const GridCell& cell, const OutcomeTable& outcomes, const std::string& metric) {
  Outcomes result;
  for (const std::string& label : cell.labels) {
    const std::optional<Outcomes> draw = outcomes.find(label, metric);
    if (!draw) return {};
    if (result.values.empty()) {
      result = *draw;
      continue;
    }
    for (size_t i = 0; i < result.values.size(); ++i) result.values[i] += draw->values.at(i);
  }
  const auto draws = static_cast<double>(cell.labels.size());
  for (double& value : result.values) value /= draws;
  result.step /= draws;
  return result;
}

/// One metric over the whole grid.
struct Scores {
  std::string metric;
  std::vector<Outcomes> by_cell;  ///< as the grid
};

/// One basis' curve: the aligned model, the cells by energy, the unprojected model.
struct Curve {
  std::vector<double> energies;
  std::vector<const Outcomes*> outcomes;
};

/// A share, and its interval over prompts.
struct Concordance {
  double value = 0;
  Interval interval;
};

/// The side of a basis as GridCell names it.
std::string side_of(const std::string& basis) {
  const size_t slash = basis.find('/');
  return slash == std::string::npos ? std::string(name(Sides::left)) : basis.substr(slash + 1);
}

class Statistics {
 public:
  Statistics(const RunDir& dir, const OutcomeTable& outcomes, ScoreIntervals& intervals)
      : dir_(dir), outcomes_(outcomes), intervals_(intervals), grid_(read_grid(dir)) {
    for (const std::string& metric : outcomes.metrics()) {
      Scores scores{metric, {}};
      for (const GridCell& cell : grid_) scores.by_cell.push_back(mean_outcomes(cell, outcomes, metric));
      scores_.push_back(std::move(scores));
    }
  }

  void write_cells() const;
  void write_all_comparisons() const;
  void write_trends() const;

 private:
  const Outcomes* unprojected(const Scores& scores, const std::string& model) const {
    for (size_t i = 0; i < grid_.size(); ++i) {
      if (!grid_[i].projected() && grid_[i].model == model) return &scores.by_cell[i];
    }
    return nullptr;
  }
  std::vector<std::string> projected_models() const;
  std::map<std::string, Curve> curves(const Scores& scores, const std::string& model) const;
  void contrast(std::vector<Contrast>& all, Contrast about, const Outcomes& a, const Outcomes& b) const;
  void contrast_cells(std::vector<Contrast>& all, const Scores& scores) const;
  void contrast_bases(std::vector<Contrast>& all, const Scores& scores) const;
  void contrast_curves(std::vector<Contrast>& all, const Scores& scores) const;
  Values draw_means(const GridCell& cell, const std::string& metric) const;
  Concordance concordance_of(const std::map<std::string, Curve>& by_basis) const;

  const RunDir& dir_;
  const OutcomeTable& outcomes_;
  ScoreIntervals& intervals_;
  std::vector<GridCell> grid_;
  std::vector<Scores> scores_;
};

Values Statistics::draw_means(const GridCell& cell, const std::string& metric) const {
  Values means;
  for (const std::string& label : cell.labels) {
    if (const auto draw = outcomes_.find(label, metric)) means.push_back(statistics::mean(draw->values));
  }
  return means;
}

void Statistics::write_cells() const {
  std::vector<std::string> columns = {"model", "basis",       "mode",       "fraction",
                                      "draws", "energy_kept", "energy_low", "energy_high"};
  for (const Scores& scores : scores_) {
    for (const char* part : {"", "_low", "_high", "_draws_low", "_draws_high"}) columns.push_back(scores.metric + part);
  }
  Table table(columns);
  for (size_t i = 0; i < grid_.size(); ++i) {
    const GridCell& cell = grid_[i];
    const Interval energy = statistics::student_interval(cell.energies);
    NamedCells row = {{"model", cell.model},
                      {"basis", cell.basis},
                      {"mode", cell.mode},
                      {"fraction", cell.fraction ? Cell(*cell.fraction) : Cell()},
                      {"draws", static_cast<int64_t>(cell.labels.size())},
                      {"energy_kept", cell.energy()},
                      {"energy_low", energy.low},
                      {"energy_high", energy.high}};
    for (const Scores& scores : scores_) {
      Score score;
      score.outcomes = scores.by_cell[i];
      const statistics::MeanInterval prompts = intervals_.of(score);
      const Interval draws = statistics::student_interval(draw_means(cell, scores.metric));
      row = joined(std::move(row), {{scores.metric, prompts.mean},
                                    {scores.metric + "_low", prompts.interval.low},
                                    {scores.metric + "_high", prompts.interval.high},
                                    {scores.metric + "_draws_low", draws.low},
                                    {scores.metric + "_draws_high", draws.high}});
    }
    table.append(row);
  }
  write_whole_table(dir_, "cells", table);
}

std::vector<std::string> Statistics::projected_models() const {
  std::vector<std::string> models;
  for (const GridCell& cell : grid_) {
    if (cell.projected() && std::find(models.begin(), models.end(), cell.model) == models.end()) {
      models.push_back(cell.model);
    }
  }
  return models;
}

void Statistics::contrast(std::vector<Contrast>& all, Contrast about, const Outcomes& a, const Outcomes& b) const {
  if (a.values.empty() || b.values.empty()) return;
  about.result = intervals_.compare(a, b);
  all.push_back(std::move(about));
}

void Statistics::contrast_cells(std::vector<Contrast>& all, const Scores& scores) const {
  const Outcomes* aligned = unprojected(scores, "aligned");
  std::vector<std::pair<std::string, const Outcomes*>> before;
  for (size_t i = 0; i < grid_.size(); ++i) {
    const GridCell& cell = grid_[i];
    const Outcomes& mine = scores.by_cell[i];
    if (!cell.projected()) {
      for (const auto& [name, other] : before) {
        contrast(all, {.family = "models", .metric = scores.metric, .model = cell.model, .against = name, .result = {}},
                 mine, *other);
      }
      before.emplace_back(cell.model, &mine);
      continue;
    }
    Contrast about{.family = "aligned",
                   .metric = scores.metric,
                   .model = cell.model,
                   .basis = cell.basis,
                   .mode = cell.mode,
                   .fraction = cell.fraction,
                   .against = "aligned",
                   .result = {}};
    if (aligned != nullptr) contrast(all, about, mine, *aligned);
    about.family = "unprojected";
    about.against = cell.model;
    if (const Outcomes* whole = unprojected(scores, cell.model)) contrast(all, about, mine, *whole);
  }
}

void Statistics::contrast_bases(std::vector<Contrast>& all, const Scores& scores) const {
  for (size_t a = 0; a < grid_.size(); ++a) {
    for (size_t b = 0; b < a; ++b) {
      const GridCell &one = grid_[a], &other = grid_[b];
      if (!one.projected() || !other.projected() || one.basis == other.basis) continue;
      if (std::tie(one.model, one.mode, one.fraction) != std::tie(other.model, other.mode, other.fraction)) continue;
      contrast(all,
               {.family = "bases",
                .metric = scores.metric,
                .model = one.model,
                .basis = one.basis,
                .mode = one.mode,
                .fraction = one.fraction,
                .against = other.basis,
                .result = {}},
               scores.by_cell[a], scores.by_cell[b]);
    }
  }
}

std::map<std::string, Curve> Statistics::curves(const Scores& scores, const std::string& model) const {
  std::map<std::string, std::vector<std::pair<double, const Outcomes*>>> points;
  const Outcomes *start = unprojected(scores, "aligned"), *whole = unprojected(scores, model);
  for (size_t i = 0; i < grid_.size(); ++i) {
    const GridCell& cell = grid_[i];
    if (!cell.projected() || cell.model != model || cell.mode != "same") continue;
    if (std::isfinite(cell.energy()) && !scores.by_cell[i].values.empty()) {
      points[cell.basis].emplace_back(cell.energy(), &scores.by_cell[i]);
    }
  }
  std::map<std::string, Curve> curves;
  if (start == nullptr || whole == nullptr || start->values.empty() || whole->values.empty()) return curves;
  for (auto& [basis, along] : points) {
    std::stable_sort(along.begin(), along.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    Curve curve{{0.0}, {start}};
    for (const auto& [energy, outcomes] : along) {
      curve.energies.push_back(std::clamp(energy, 0.0, 1.0));
      curve.outcomes.push_back(outcomes);
    }
    curve.energies.push_back(1.0);
    curve.outcomes.push_back(whole);
    curves.emplace(basis, std::move(curve));
  }
  return curves;
}

/// The mean over the energies 0.05, ..., 0.95 of the line through the curve's points, prompt by prompt.
Outcomes mean_along(const Curve& curve) {
  constexpr int steps = 20;
  Values weights(curve.energies.size(), 0.0);
  for (int step = 1; step < steps; ++step) {
    const double at = step / static_cast<double>(steps);
    const auto above = std::upper_bound(curve.energies.begin(), curve.energies.end(), at);
    const auto right = std::min(static_cast<size_t>(above - curve.energies.begin()), weights.size() - 1);
    const double width = curve.energies[right] - curve.energies[right - 1];
    const double share = width > 0 ? (at - curve.energies[right - 1]) / width : 0.0;
    weights[right - 1] += (1 - share) / (steps - 1);
    weights[right] += share / (steps - 1);
  }
  Outcomes result = *curve.outcomes.front();
  result.step = 0;
  std::fill(result.values.begin(), result.values.end(), 0.0);
  for (size_t point = 0; point < weights.size(); ++point) {
    if (weights[point] == 0) continue;  // an undefined judgement there does not matter
    for (size_t i = 0; i < result.values.size(); ++i) {
      result.values[i] += weights[point] * curve.outcomes[point]->values.at(i);
    }
  }
  return result;
}

void Statistics::contrast_curves(std::vector<Contrast>& all, const Scores& scores) const {
  for (const std::string& model : projected_models()) {
    std::vector<std::pair<std::string, Outcomes>> means;
    for (const auto& [basis, curve] : curves(scores, model)) means.emplace_back(basis, mean_along(curve));
    for (size_t a = 0; a < means.size(); ++a) {
      for (size_t b = 0; b < a; ++b) {
        contrast(all,
                 {.family = "equal_energy",
                  .metric = scores.metric,
                  .model = model,
                  .basis = means[a].first,
                  .mode = "same",
                  .against = means[b].first,
                  .result = {}},
                 means[a].second, means[b].second);
      }
    }
  }
}

void Statistics::write_all_comparisons() const {
  std::vector<Contrast> all;
  for (const Scores& scores : scores_) {
    contrast_cells(all, scores);
    contrast_bases(all, scores);
    contrast_curves(all, scores);
  }
  write_comparisons(dir_, all);
}

/// The concordance of each basis' curve, averaged; `mean_of` gives the score of each point.
template <class MeanOf>
double mean_concordance(const std::map<std::string, Curve>& curves, double tolerance, MeanOf mean_of) {
  Values shares;
  for (const auto& entry : curves) {
    std::vector<std::pair<double, double>> points;
    for (size_t i = 0; i < entry.second.energies.size(); ++i) {
      points.emplace_back(entry.second.energies[i], mean_of(entry.second.outcomes[i]));
    }
    shares.push_back(statistics::concordance(points, tolerance));
  }
  return statistics::mean(shares);
}

Concordance Statistics::concordance_of(const std::map<std::string, Curve>& by_basis) const {
  const Curve& any = by_basis.begin()->second;
  const auto sample_mean = [](const Outcomes* outcomes) { return statistics::mean(outcomes->values); };
  const double moved = sample_mean(any.outcomes.back()) - sample_mean(any.outcomes.front());
  const double tolerance = 0.1 * std::abs(moved);
  const statistics::Resamples& resamples =
      intervals_.resamples(static_cast<int64_t>(any.outcomes.front()->values.size()));
  std::map<const Outcomes*, Values> resampled;
  for (const auto& entry : by_basis) {
    for (const Outcomes* each : entry.second.outcomes) {
      if (!resampled.contains(each)) resampled[each] = resamples.means(each->values);
    }
  }
  Values shares;
  for (size_t r = 0; r < static_cast<size_t>(resamples.resamples()); ++r) {
    shares.push_back(mean_concordance(by_basis, tolerance, [&](const Outcomes* o) { return resampled.at(o)[r]; }));
  }
  return {mean_concordance(by_basis, tolerance, sample_mean), statistics::percentile_interval(shares)};
}

void Statistics::write_trends() const {
  Table table({"model", "metric", "statistic", "value", "low", "high", "side"});
  for (const Scores& scores : scores_) {
    for (const std::string& model : projected_models()) {
      std::map<std::string, std::map<std::string, Curve>> by_side;
      for (const auto& [basis, curve] : curves(scores, model)) by_side[side_of(basis)].emplace(basis, curve);
      for (const auto& [side, by_basis] : by_side) {
        const Concordance concordance = concordance_of(by_basis);
        table.append(NamedCells{{"model", model},
                                {"metric", scores.metric},
                                {"statistic", "concordance"},
                                {"value", concordance.value},
                                {"low", concordance.interval.low},
                                {"high", concordance.interval.high},
                                {"side", side}});
      }
    }
  }
  write_whole_table(dir_, "trends", table);
}

}  // namespace

void write_projection_statistics(const RunDir& dir, const OutcomeTable& outcomes, ScoreIntervals& intervals) {
  const Statistics statistics(dir, outcomes, intervals);
  statistics.write_cells();
  statistics.write_all_comparisons();
  statistics.write_trends();
}

}  // namespace subspect::experiments::subspace
