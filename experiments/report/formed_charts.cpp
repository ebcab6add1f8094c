// Plots of models formed in memory: scores over the coefficients of task arithmetic, by group of an ablation, of
// defended models.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/report/charts.h"
#include "experiments/report/markup.h"
#include "experiments/report/support.h"

namespace subspect::experiments::report {

namespace {

constexpr std::string_view coefficient = "coefficient_";

/// A score: its column, what it is called, and the axis that shows it.
struct Score {
  std::string column;
  std::string title;
  Axis axis;
};

std::vector<Score> scores_of(const CsvTable& table) {
  std::vector<Score> scores;
  for (const std::string& column : score_columns(table)) {
    if (is_utility(column)) {
      scores.push_back({column, "Utility", {"Utility (share of problems solved)", Scale::linear, 0.0, 1.0, {}}});
    } else if (is_harmfulness(column)) {
      scores.push_back({column, "Harmfulness", {"Harmfulness (1 refuses … 5 fulfils)", Scale::linear, 1.0, 5.0, {}}});
    } else {
      scores.push_back({column, column, {column, Scale::linear, {}, {}, {}}});
    }
  }
  return scores;
}

std::string score_tooltip(const CsvTable& table, int64_t row, const Score& score) {
  std::string text = fmt::format("{}: {}", formed_name(table, row), format_fixed(table.number(row, score.column), 3));
  const Interval interval = interval_of(table, row, score.column);
  return is_known(interval) ? fmt::format("{} ({})", text, interval_text(interval, 3)) : text;
}

void set_bounds(Point& point, const Interval& interval) {
  if (!is_known(interval)) return;
  point.low = interval.low;
  point.high = interval.high;
}

/// The updates of a table of task arithmetic, in order.
std::vector<std::string> updates_of(const CsvTable& table) {
  std::vector<std::string> names;
  for (const std::string& column : table.columns()) {
    if (column.starts_with(coefficient)) names.push_back(column.substr(coefficient.size()));
  }
  return names;
}

double coefficient_of(const CsvTable& table, int64_t row, const std::string& update) {
  return table.number(row, std::string(coefficient) + update);
}

/// The coefficients of an update, ascending, and their places on an axis.
struct Ladder {
  std::set<double> values;

  Ladder(const CsvTable& table, const std::string& update) {
    for (int64_t row = 0; row < table.rows(); ++row) values.insert(coefficient_of(table, row, update));
  }
  double place(double value) const { return static_cast<double>(std::distance(values.begin(), values.find(value))); }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const double value : values) names.push_back(format_number(value));
    return names;
  }
};

/// The first update to the right, the second upwards; darker is more.
Plot map_of(const CsvTable& table, const Score& score, const std::vector<std::string>& updates) {
  const Ladder across(table, updates[0]), up(table, updates[1]);
  Plot plot;
  plot.name = "map-" + slug(score.column);
  plot.title = fmt::format("{} over the coefficients of {} and {}", score.title, updates[0], updates[1]);
  plot.caption = fmt::format("Each cell is the aligned model plus so much of either update; darker is more {}.",
                             is_utility(score.column)       ? "useful"
                             : is_harmfulness(score.column) ? "harmful"
                                                            : score.title);
  plot.x.title = fmt::format("Coefficient of {}", updates[0]);
  plot.y.title = fmt::format("Coefficient of {}", updates[1]);
  plot.x.categories = across.names();
  plot.y.categories = up.names();
  std::reverse(plot.y.categories.begin(), plot.y.categories.end());
  plot.tile_colour = is_harmfulness(score.column) ? 1 : 0;
  double low = score.axis.minimum.value_or(std::nan("")), high = score.axis.maximum.value_or(std::nan(""));
  for (int64_t row = 0; row < table.rows(); ++row) {
    low = std::fmin(low, table.number(row, score.column));
    high = std::fmax(high, table.number(row, score.column));
  }
  for (int64_t row = 0; row < table.rows(); ++row) {
    const double value = table.number(row, score.column);
    if (!std::isfinite(value)) continue;
    Tile tile;
    tile.x = across.place(coefficient_of(table, row, updates[0]));
    tile.y = static_cast<double>(up.values.size()) - 1 - up.place(coefficient_of(table, row, updates[1]));
    tile.shade = high > low ? (value - low) / (high - low) : 0.5;
    tile.label = format_fixed(value, 2);
    tile.tooltip = score_tooltip(table, row, score);
    plot.tiles.push_back(std::move(tile));
  }
  return plot;
}

/// One line for each update, the coefficients of the others 0.
Plot lines_of(const CsvTable& table, const Score& score, const std::vector<std::string>& updates) {
  Plot plot;
  plot.name = "line-" + slug(score.column);
  plot.title = fmt::format("{} along {}", score.title, updates.size() > 1 ? "each update" : "the update");
  plot.caption = "0 is the aligned model, 1 the fine-tuned one. Bars: 95 % over prompts.";
  if (updates.size() > 1) plot.caption += " The other updates are left out (their coefficients are 0).";
  plot.x = {"Coefficient of the update", Scale::linear, {}, {}, {}};
  plot.y = score.axis;
  for (size_t i = 0; i < updates.size(); ++i) {
    Series series{updates[i], {}, {}, false, false, true};
    series.style.colour = static_cast<int>(i % palette_size);
    series.style.marker = i % 2 == 0 ? Marker::circle : Marker::square;
    for (int64_t row = 0; row < table.rows(); ++row) {
      const bool alone = std::all_of(updates.begin(), updates.end(), [&](const std::string& other) {
        return other == updates[i] || coefficient_of(table, row, other) == 0.0;
      });
      if (!alone) continue;
      Point point{coefficient_of(table, row, updates[i]), table.number(row, score.column)};
      set_bounds(point, interval_of(table, row, score.column));
      point.tooltip = score_tooltip(table, row, score);
      series.points.push_back(std::move(point));
    }
    std::sort(series.points.begin(), series.points.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
    plot.series.push_back(std::move(series));
  }
  return plot;
}

/// Utility against harmfulness, every model a point; none where one of them was not measured.
std::vector<Plot> plane_of(const CsvTable& table, const std::vector<Score>& scores) {
  const auto find = [&](bool (*is)(const std::string&)) {
    return std::find_if(scores.begin(), scores.end(), [&](const Score& score) { return is(score.column); });
  };
  const auto utility = find(is_utility), harmfulness = find(is_harmfulness);
  if (utility == scores.end() || harmfulness == scores.end()) return {};
  Plot plot;
  plot.name = "utility-harmfulness";
  plot.title = "Utility against harmfulness";
  plot.caption =
      "Every model is a mark; a defence, or a sum of updates, that kept one and not the other would be at "
      "the lower right.";
  plot.x = utility->axis;
  plot.y = harmfulness->axis;
  Series others{"models", {0, Join::none, Dash::solid, Marker::circle, false, false}, {}, false, false, true};
  Series aligned{"aligned", {ink, Join::none, Dash::solid, Marker::circle, true, false}, {}, false, false, true};
  for (int64_t row = 0; row < table.rows(); ++row) {
    const std::string name = formed_name(table, row);
    Point point{table.number(row, utility->column), table.number(row, harmfulness->column)};
    point.tooltip =
        fmt::format("{}: utility {}, harmfulness {}", name, format_fixed(point.x, 3), format_fixed(point.y, 2));
    if (name == "aligned") point.size = 1.7;
    (name == "aligned" ? aligned : others).points.push_back(std::move(point));
  }
  plot.series = {std::move(others), std::move(aligned)};
  return {std::move(plot)};
}

std::vector<Plot> arithmetic_charts(const CsvTable& table, const std::vector<Score>& scores) {
  const std::vector<std::string> updates = updates_of(table);
  std::vector<Plot> plots;
  for (const Score& score : scores) {
    if (updates.size() == 2) plots.push_back(map_of(table, score, updates));
    if (updates.size() != 2) plots.push_back(lines_of(table, score, updates));
  }
  return plots;
}

/// The different texts of a column over the rows of formed models, in order; "none" is left out.
std::vector<std::string> texts_of(const CsvTable& table, const char* column) {
  std::vector<std::string> texts;
  for (int64_t row = 0; row < table.rows(); ++row) {
    const std::string& text = table.text(row, column);
    const bool known = std::find(texts.begin(), texts.end(), text) != texts.end();
    if (!known && text != "none") texts.push_back(text);
  }
  return texts;
}

/// The groups of an ablation on one axis, a value on the other: groups go down where there is room for their names,
/// else to the right.
class GroupPlot {
 public:
  GroupPlot(const CsvTable& table, Axis values) : table_(table), groups_(texts_of(table, "group")) {
    downwards_ = groups_.size() <= 12;
    (downwards_ ? plot.x : plot.y) = std::move(values);
    (downwards_ ? plot.y : plot.x).categories = groups_;
  }

  /// The value of `column` for each group of a model and mode.
  void add(const std::string& label, const Style& style, const std::string& model, const std::string& mode,
           const std::string& column) {
    Series series{label, style, {}, false, downwards_, true};
    for (int64_t row = 0; row < table_.rows(); ++row) {
      if (table_.text(row, "model") != model || table_.text(row, "mode") != mode) continue;
      const auto group = std::find(groups_.begin(), groups_.end(), table_.text(row, "group"));
      const double place = static_cast<double>(group - groups_.begin()), value = table_.number(row, column);
      Point point = at(place, value);
      set_bounds(point, interval_of(table_, row, column));
      point.tooltip = fmt::format("{}: {}, {} of the energy", formed_name(table_, row), format_number(value),
                                  format_fixed(table_.number(row, "energy_share"), 3));
      series.points.push_back(std::move(point));
    }
    plot.series.push_back(std::move(series));
  }

  /// A line across all groups.
  void add_reference(const std::string& label, Dash dash, double value) {
    Series series{label, {ink, Join::line, dash, Marker::none, false, false}, {}, false, false, true};
    for (const double place : {-0.5, static_cast<double>(groups_.size()) - 0.5}) {
      series.points.push_back(at(place, value));
    }
    plot.series.push_back(std::move(series));
  }

  Plot plot;

 private:
  Point at(double place, double value) const { return downwards_ ? Point{value, place} : Point{place, value}; }

  const CsvTable& table_;
  std::vector<std::string> groups_;
  bool downwards_ = true;
};

/// A score of one model by group: the group alone, and all but the group.
Plot groups_of(const CsvTable& table, const Score& score, const std::string& model) {
  GroupPlot groups(table, score.axis);
  groups.plot.name = fmt::format("groups-{}-{}", slug(model), slug(score.column));
  groups.plot.title = fmt::format("{} of {} by group of tensors", score.title, model);
  groups.plot.caption = "Only: the update in that group alone. Without: everywhere else. Bars: 95 % over prompts.";
  const std::vector<std::string> modes = texts_of(table, "mode");
  for (size_t i = 0; i < modes.size(); ++i) {
    Style style{static_cast<int>(i), Join::none, Dash::solid, i == 0 ? Marker::circle : Marker::square, false, false};
    groups.add(modes[i], style, model, modes[i], score.column);
  }
  for (int64_t row = 0; row < table.rows(); ++row) {
    if (table.text(row, "group") != "none") continue;
    const double value = table.number(row, score.column);
    if (table.text(row, "model") == "aligned") groups.add_reference("aligned", Dash::dotted, value);
    if (table.text(row, "model") == model) groups.add_reference("whole update", Dash::dashed, value);
  }
  return std::move(groups.plot);
}

std::vector<Plot> ablation_charts(const CsvTable& table, const std::vector<Score>& scores) {
  std::vector<std::string> models = texts_of(table, "model");
  std::erase(models, "aligned");
  std::vector<Plot> plots;
  for (const Score& score : scores) {
    for (const std::string& model : models) plots.push_back(groups_of(table, score, model));
  }
  GroupPlot shares(table, {"Share of the update's energy", Scale::linear, 0.0, {}, {}});
  shares.plot.name = "groups-energy";
  shares.plot.title = "Energy of the updates by group of tensors";
  shares.plot.caption = "The share of the squared norm of the update that the group holds.";
  const std::vector<std::string> modes = texts_of(table, "mode");
  for (size_t i = 0; i < models.size() && !modes.empty(); ++i) {
    const Marker marker = i % 2 == 0 ? Marker::circle : Marker::square;
    shares.add(models[i], {static_cast<int>(i % palette_size), Join::none, Dash::solid, marker, false, false},
               models[i], modes.front(), "energy_share");
  }
  plots.push_back(std::move(shares.plot));
  return plots;
}

/// A score over how many tensors SafeLoRA projected, one line a model.
Plot projected_of(const CsvTable& table, const Score& score) {
  Plot plot;
  plot.name = "safelora-" + slug(score.column);
  plot.title = score.title + " over the tensors that are projected";
  plot.caption =
      "SafeLoRA replaces the update of so many tensors by its projection on the alignment. Bars: 95 % over "
      "prompts.";
  plot.x = {"Projected tensors", Scale::linear, 0.0, {}, {}};
  plot.y = score.axis;
  std::vector<std::string> models = texts_of(table, "model");
  std::erase(models, "aligned");
  for (size_t i = 0; i < models.size(); ++i) {
    Series series{models[i], {}, {}, false, false, true};
    series.style.colour = static_cast<int>(i % palette_size);
    series.style.marker = i % 2 == 0 ? Marker::circle : Marker::square;
    for (int64_t row = 0; row < table.rows(); ++row) {
      if (table.text(row, "model") != models[i]) continue;
      Point point{table.number(row, "projected"), table.number(row, score.column)};
      set_bounds(point, interval_of(table, row, score.column));
      point.tooltip = score_tooltip(table, row, score);
      series.points.push_back(std::move(point));
    }
    std::stable_sort(series.points.begin(), series.points.end(),
                     [](const Point& a, const Point& b) { return a.x < b.x; });
    plot.series.push_back(std::move(series));
  }
  for (int64_t row = 0; row < table.rows(); ++row) {
    const double value = table.number(row, score.column);
    if (table.text(row, "model") == "aligned" && std::isfinite(value)) plot.guides.push_back({value, "aligned"});
  }
  return plot;
}

/// A score of every row, as a list.
Plot list_of(const CsvTable& table, const Score& score) {
  Plot plot;
  plot.name = "models-" + slug(score.column);
  plot.title = score.title + " of each model";
  plot.caption = "Bars: 95 % over prompts.";
  plot.x = score.axis;
  Series series{score.title, {0, Join::none, Dash::solid, Marker::circle, false, false}, {}, false, true, false};
  for (int64_t row = 0; row < table.rows(); ++row) {
    Point point{table.number(row, score.column), static_cast<double>(plot.y.categories.size())};
    set_bounds(point, interval_of(table, row, score.column));
    point.tooltip = score_tooltip(table, row, score);
    series.points.push_back(std::move(point));
    plot.y.categories.push_back(formed_name(table, row));
  }
  plot.series.push_back(std::move(series));
  return plot;
}

std::vector<Plot> defence_charts(const CsvTable& table, const std::vector<Score>& scores) {
  std::vector<Plot> plots;
  for (const Score& score : scores) {
    plots.push_back(table.find("projected") ? projected_of(table, score) : list_of(table, score));
  }
  return plots;
}

}  // namespace

std::vector<Plot> formed_charts(const std::string& kind, const CsvTable& table) {
  const std::vector<Score> scores = scores_of(table);
  std::vector<Plot> plots;
  if (kind == "ablation") plots = ablation_charts(table, scores);
  if (kind == "defence") plots = defence_charts(table, scores);
  if (kind == "arithmetic") plots = arithmetic_charts(table, scores);
  for (Plot& plane : plane_of(table, scores)) plots.push_back(std::move(plane));
  keep_drawable(plots);
  return plots;
}

}  // namespace subspect::experiments::report
