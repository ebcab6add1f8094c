// Plots of projected models.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/report/charts.h"
#include "experiments/report/markup.h"
#include "experiments/report/support.h"
#include "experiments/statistics/summary.h"

namespace subspect::experiments::report {

using statistics::mean;

namespace {

using Value = double ProjectionRow::*;

const std::string& basis_of(const ProjectionRow& row) {
  return row.basis;
}
const std::string& mode_of(const ProjectionRow& row) {
  return row.mode;
}

/// One cell of the grid: the draws of a random basis together.
struct Cell {
  double fraction = 0;
  std::vector<double> energy, utility, harmfulness;
};

std::vector<Cell> cells(const std::vector<ProjectionRow>& rows, const std::string& model, const std::string& basis,
                        const std::string& mode) {
  std::map<double, Cell> by_fraction;
  for (const ProjectionRow& row : rows) {
    if (row.model != model || row.basis != basis || row.mode != mode || std::isnan(row.fraction)) continue;
    Cell& cell = by_fraction[row.fraction];
    cell.fraction = row.fraction;
    cell.energy.push_back(row.energy_kept);
    cell.utility.push_back(row.utility);
    cell.harmfulness.push_back(row.harmfulness);
  }
  std::vector<Cell> sorted;
  for (auto& entry : by_fraction) sorted.push_back(std::move(entry.second));
  std::sort(sorted.begin(), sorted.end(), [](const Cell& a, const Cell& b) { return mean(a.energy) < mean(b.energy); });
  return sorted;
}

/// Everything about names and looks that the plots of one table share.
class Projections {
 public:
  explicit Projections(const ProjectionTables& tables) : tables_(tables), rows_(tables.rows) {
    for (const std::string& basis : distinct(rows_, basis_of)) {
      if (basis != "none" && !basis.empty()) bases_.push_back(basis);
    }
    for (const std::string& mode : distinct(rows_, mode_of)) {
      if (mode != "none" && !mode.empty()) modes_.push_back(mode);
    }
    for (const ProjectionRow& row : rows_) {
      if (row.basis != "none" && std::find(models_.begin(), models_.end(), row.model) == models_.end()) {
        models_.push_back(row.model);
      }
    }
  }

  const std::vector<std::string>& modes() const { return modes_; }
  const std::vector<std::string>& models() const { return models_; }
  bool measured(Value value) const {
    return std::any_of(rows_.begin(), rows_.end(), [&](const ProjectionRow& r) { return std::isfinite(r.*value); });
  }

  /// The unprojected model, the aligned one by role; nullptr where the table lacks it.
  const ProjectionRow* unprojected(const std::string& model) const {
    const auto found = std::find_if(rows_.begin(), rows_.end(),
                                    [&](const ProjectionRow& r) { return r.basis == "none" && r.model == model; });
    return found == rows_.end() ? nullptr : &*found;
  }
  const ProjectionRow* aligned() const {
    const auto found = std::find_if(rows_.begin(), rows_.end(), [](const ProjectionRow& r) {
      return r.basis == "none" && role_of(r.model) == Role::aligned;
    });
    return found == rows_.end() ? nullptr : &*found;
  }

  /// Models whose value fine-tuning moved by at least `range` from the aligned one; all of them if none did.
  std::vector<std::string> moved(Value value, double range) const {
    std::vector<std::string> chosen;
    for (const std::string& model : models_) {
      const ProjectionRow* whole = unprojected(model);
      if (whole && aligned() && std::abs(whole->*value - aligned()->*value) >= range) chosen.push_back(model);
    }
    return chosen.empty() ? models_ : chosen;
  }

  /// Colour tells the basis; marker and dash tell the model.
  Style style(const std::string& model, const std::string& basis) const {
    constexpr Marker markers[] = {Marker::circle, Marker::square, Marker::triangle, Marker::diamond, Marker::cross};
    constexpr Dash dashes[] = {Dash::solid, Dash::dashed, Dash::dotted};
    const auto position = [](const std::vector<std::string>& names, const std::string& name) {
      return static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    };
    const size_t model_index = position(models_, model);
    Style style;
    style.colour = static_cast<int>(position(bases_, basis));
    style.marker = markers[model_index % 5];
    style.dash = dashes[model_index % 3];
    return style;
  }

  std::vector<LegendEntry> legend(const std::vector<std::string>& models) const {
    std::vector<LegendEntry> entries;
    for (const std::string& basis : bases_) {
      Style swatch = style("", basis);
      swatch.marker = Marker::none;
      swatch.dash = Dash::solid;
      entries.push_back({basis, swatch});
    }
    for (const std::string& model : models) {
      Style swatch = style(model, "");
      swatch.colour = ink;
      if (models.size() > 1 || models_.size() > 1) entries.push_back({model, swatch});
    }
    return entries;
  }

  Plot over_energy(Value value, const std::string& mode, const std::vector<std::string>& models) const;
  Plot plane(const std::string& mode) const;
  Plot energy_over_fraction(const std::string& mode) const;

 private:
  /// The interval of a score over prompts; unprojected models have the basis and mode "none". NaN where the run has no
  /// cells.csv.
  Interval score_interval(Value value, const std::string& model, const std::string& basis, const std::string& mode,
                          double fraction) const {
    for (const CellRow& row : tables_.cells) {
      const bool same_fraction = row.fraction == fraction || (std::isnan(row.fraction) && std::isnan(fraction));
      if (row.model != model || row.basis != basis || row.mode != mode || !same_fraction) continue;
      return value == &ProjectionRow::harmfulness ? row.harmfulness_interval : row.utility_interval;
    }
    return {};
  }

  static void set_bounds(Point& point, const Interval& interval) {
    if (!is_known(interval)) return;
    point.low = interval.low;
    point.high = interval.high;
    point.tooltip += fmt::format(" ({})", interval_text(interval, 3));
  }

  Point energy_point(const Cell& cell, const std::vector<double>& values, const std::string& name,
                     const Interval& interval) const {
    Point point{mean(cell.energy), mean(values)};
    point.tooltip = fmt::format("{}, fraction {}: {} with {} of the energy", name, format_number(cell.fraction),
                                format_fixed(point.y, 3), format_fixed(point.x, 3));
    set_bounds(point, interval);
    return point;
  }

  /// The two ends of a curve: no update at all (the aligned model) and all of it, where they make sense.
  void add_ends(std::vector<Point>& points, Value value, const std::string& model) const {
    if (points.empty()) return;
    if (const ProjectionRow* start = aligned(); start && std::isfinite(start->*value)) {
      Point end{0, start->*value};
      end.tooltip = fmt::format("{}: {}, no update", start->model, format_fixed(end.y, 3));
      set_bounds(end, score_interval(value, start->model, "none", "none", std::nan("")));
      points.insert(points.begin(), end);
    }
    if (const ProjectionRow* whole = unprojected(model); whole && std::isfinite(whole->*value)) {
      Point end{1, whole->*value};
      end.tooltip = fmt::format("{}: {}, the whole update", model, format_fixed(end.y, 3));
      set_bounds(end, score_interval(value, model, "none", "none", std::nan("")));
      points.push_back(end);
    }
  }

  const ProjectionTables& tables_;
  const std::vector<ProjectionRow>& rows_;
  std::vector<std::string> bases_, modes_, models_;
};

std::string mode_words(const std::string& mode) {
  if (mode == "same") return "parallel to the basis";
  if (mode == "orth") return "orthogonal to the basis";
  if (mode == "opp") return "the parallel part subtracted";
  return mode;
}

std::string mode_caption(const std::string& mode) {
  if (mode == "same") return "Only the part of the update inside the basis is applied (mode same).";
  if (mode == "orth") return "The part of the update inside the basis is removed (mode orth).";
  if (mode == "opp") return "The part inside the basis is applied with the opposite sign (mode opp).";
  return "";
}

Axis utility_axis() {
  return {"Utility (share of problems solved)", Scale::linear, 0.0, 1.0, {}};
}
Axis harmfulness_axis() {
  return {"Harmfulness (1 refuses … 5 fulfils)", Scale::linear, 1.0, 5.0, {}};
}
Axis energy_axis() {
  return {"Energy of the update kept (share)", Scale::linear, 0.0, 1.0, {}};
}

bool is_harm(Value value) {
  return value == &ProjectionRow::harmfulness;
}

Plot Projections::over_energy(Value value, const std::string& mode, const std::vector<std::string>& models) const {
  const char* name = is_harm(value) ? "harmfulness" : "utility";
  Plot plot;
  plot.name = fmt::format("{}-energy-{}", name, slug(mode));
  plot.title = fmt::format("{} over energy kept, {}", is_harm(value) ? "Harmfulness" : "Utility", mode_words(mode));
  plot.caption =
      mode_caption(mode) + " Colour is the basis; lines start at the aligned model and end at the whole update.";
  if (!tables_.cells.empty()) plot.caption += " Bars: 95 % over prompts, of the mean over the draws.";
  plot.x = energy_axis();
  plot.y = is_harm(value) ? harmfulness_axis() : utility_axis();
  plot.legend = legend(models);
  for (const std::string& model : models) {
    for (const std::string& basis : bases_) {
      Series series{fmt::format("{}, {}", model, basis), style(model, basis), {}, false, false, true};
      for (const Cell& cell : cells(rows_, model, basis, mode)) {
        series.points.push_back(energy_point(cell, is_harm(value) ? cell.harmfulness : cell.utility, series.label,
                                             score_interval(value, model, basis, mode, cell.fraction)));
      }
      add_ends(series.points, value, model);
      plot.series.push_back(std::move(series));
    }
  }
  return plot;
}

Plot Projections::plane(const std::string& mode) const {
  Plot plot;
  plot.name = fmt::format("utility-harmfulness-{}", slug(mode));
  plot.title = fmt::format("Utility against harmfulness, {}", mode_words(mode));
  plot.caption = mode_caption(mode) +
                 " Larger marks keep more energy. A basis that separated the two would leave the line of "
                 "the others.";
  plot.x = utility_axis();
  plot.y = harmfulness_axis();
  plot.legend = legend(models_);
  for (const std::string& model : models_) {
    for (const std::string& basis : bases_) {
      Series series{fmt::format("{}, {}", model, basis), style(model, basis), {}, false, false, true};
      for (const Cell& cell : cells(rows_, model, basis, mode)) {
        Point point{mean(cell.utility), mean(cell.harmfulness)};
        point.size = 0.5 + 0.8 * std::sqrt(std::clamp(mean(cell.energy), 0.0, 1.0));
        point.tooltip = fmt::format("{}, fraction {}: utility {}, harmfulness {}, {} of the energy", series.label,
                                    format_number(cell.fraction), format_fixed(point.x, 3), format_fixed(point.y, 2),
                                    format_fixed(mean(cell.energy), 3));
        series.points.push_back(point);
      }
      plot.series.push_back(std::move(series));
    }
  }
  for (const ProjectionRow& row : rows_) {
    if (row.basis != "none") continue;
    Style style{ink, Join::none, Dash::solid, Marker::circle, true, false};
    const auto index = std::find(models_.begin(), models_.end(), row.model);
    if (index != models_.end()) style.marker = this->style(row.model, "").marker;
    Point point{row.utility, row.harmfulness};
    point.size = 1.7;
    point.tooltip = fmt::format("{}, unprojected: utility {}, harmfulness {}", row.model, format_fixed(row.utility, 3),
                                format_fixed(row.harmfulness, 2));
    plot.series.push_back({row.model, style, {point}, false, false, false});
  }
  plot.legend.push_back({"not projected", {ink, Join::none, Dash::solid, Marker::circle, true, false}});
  return plot;
}

Plot Projections::energy_over_fraction(const std::string& mode) const {
  Plot plot;
  plot.name = fmt::format("energy-fraction-{}", slug(mode));
  plot.title = fmt::format("Energy kept over the fraction of directions, {}", mode_words(mode));
  plot.caption = mode_caption(mode) + " Bars: 95 % over the draws of random bases.";
  plot.x = {"Directions in the basis (share of the rank)", Scale::linear, 0.0, 1.0, {}};
  plot.y = energy_axis();
  plot.legend = legend(models_);
  for (const std::string& model : models_) {
    for (const std::string& basis : bases_) {
      Series series{fmt::format("{}, {}", model, basis), style(model, basis), {}, false, false, true};
      for (const Cell& cell : cells(rows_, model, basis, mode)) {
        Point point{cell.fraction, mean(cell.energy)};
        set_bounds(point, statistics::student_interval(cell.energy));
        series.points.push_back(point);
      }
      std::sort(series.points.begin(), series.points.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
      plot.series.push_back(std::move(series));
    }
  }
  return plot;
}

std::string first_mode(const Projections& projections) {
  const auto& modes = projections.modes();
  const bool same = std::find(modes.begin(), modes.end(), "same") != modes.end();
  return same || modes.empty() ? "same" : modes.front();
}

}  // namespace

std::vector<Plot> projection_picture(const ProjectionTables& tables) {
  const Projections projections(tables);
  const std::string mode = first_mode(projections);
  std::vector<Plot> plots;
  const Value utility = &ProjectionRow::utility, harmfulness = &ProjectionRow::harmfulness;
  if (projections.measured(utility))
    plots.push_back(projections.over_energy(utility, mode, projections.moved(utility, 0.05)));
  if (projections.measured(harmfulness)) {
    plots.push_back(projections.over_energy(harmfulness, mode, projections.moved(harmfulness, 0.25)));
  }
  for (Plot& plot : plots) plot.name = "picture-" + plot.name;
  keep_drawable(plots);
  if (plots.empty()) plots.push_back(projections.energy_over_fraction(mode));
  keep_drawable(plots);
  return plots;
}

std::vector<Plot> projection_charts(const ProjectionTables& tables) {
  const Projections projections(tables);
  std::vector<Plot> plots;
  for (const std::string& mode : projections.modes()) {
    plots.push_back(projections.plane(mode));
    plots.push_back(projections.energy_over_fraction(mode));
    plots.push_back(projections.over_energy(&ProjectionRow::utility, mode, projections.models()));
    plots.push_back(projections.over_energy(&ProjectionRow::harmfulness, mode, projections.models()));
  }
  keep_drawable(plots);
  return plots;
}

}  // namespace subspect::experiments::report
