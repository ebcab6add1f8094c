// Steering: rows, plots and findings of a direction that is ablated or added, beside random directions.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "experiments/report/charts.h"
#include "experiments/report/findings.h"
#include "experiments/report/markup.h"
#include "experiments/report/support.h"

namespace subspect::experiments::report {

namespace {

/// Columns with an interval: those NAME for which there is NAME_low.
std::vector<std::string> metrics_of(const CsvTable& table) {
  std::vector<std::string> metrics;
  for (const std::string& column : table.columns()) {
    if (table.find(column + "_low")) metrics.push_back(column);
  }
  return metrics;
}

/// What a score is called on the page.
std::string words(const std::string& metric) {
  if (metric == "refusal_harmful") return "Probability of refusing a harmful prompt";
  if (metric == "refusal_harmless") return "Probability of refusing a harmless prompt";
  return metric;
}

/// "unsteered", "ablated (layer 2)", "+1 x added (layer 2)".
std::string action_of(const CsvTable& table, int64_t row, const std::string& layer) {
  const std::string& intervention = table.text(row, "intervention");
  if (intervention == "none") return "unsteered";
  const std::string where = layer.empty() ? "" : fmt::format(" (layer {})", layer);
  if (intervention == "ablate") return "ablated" + where;
  const double coefficient = table.number(row, "coefficient");
  return fmt::format("{}{} × added{}", coefficient < 0 ? "−" : "+", format_number(std::abs(coefficient)), where);
}

/// The layers that a row stands for: its own, or those of the table where a random direction has none.
std::vector<std::string> layers_of(const CsvTable& table, int64_t row) {
  if (!table.text(row, "layer").empty() || table.text(row, "direction") == "none") return {table.text(row, "layer")};
  std::vector<std::string> layers;
  for (int64_t i = 0; i < table.rows(); ++i) {
    const std::string& layer = table.text(i, "layer");
    if (!layer.empty() && std::find(layers.begin(), layers.end(), layer) == layers.end()) layers.push_back(layer);
  }
  return layers;
}

/// One more draw of a random direction: the mean of all, and the lowest and highest.
void add_draw(SteeringCell& cell, double value) {
  const auto before = static_cast<double>(cell.draws++);
  cell.value = (cell.value * before + value) / (before + 1.0);
  cell.interval.low = std::fmin(cell.interval.low, value);
  cell.interval.high = std::fmax(cell.interval.high, value);
}

const SteeringCell* find(const std::vector<SteeringCell>& cells, const std::string& metric, const std::string& action,
                         bool random) {
  for (const SteeringCell& cell : cells) {
    if (cell.metric == metric && cell.action == action && cell.random == random) return &cell;
  }
  return nullptr;
}

Plot steering_plot(const std::vector<SteeringCell>& cells, const std::string& metric) {
  Plot plot;
  plot.name = "steering-" + slug(metric);
  plot.title = words(metric);
  plot.caption = "Bars: 95 % over prompts; of random directions the lowest and the highest of the draws.";
  plot.x.title = metric;
  if (metric == "harmfulness") {
    plot.x.minimum = 1.0;
    plot.x.maximum = 5.0;
  } else if (std::all_of(cells.begin(), cells.end(), [&](const SteeringCell& cell) {
               return cell.metric != metric || !(cell.value < 0.0 || cell.value > 1.0);
             })) {
    plot.x.minimum = 0.0;
    plot.x.maximum = 1.0;
  }
  plot.y.categories = distinct(cells, [](const SteeringCell& cell) -> const std::string& { return cell.action; });
  Series taken{
      "difference of means", {0, Join::none, Dash::solid, Marker::circle, false, false}, {}, false, true, true};
  Series random{"random directions", {1, Join::none, Dash::solid, Marker::diamond, true, false}, {}, false, true, true};
  for (size_t i = 0; i < plot.y.categories.size(); ++i) {
    for (Series* series : {&taken, &random}) {
      const SteeringCell* cell = find(cells, metric, plot.y.categories[i], series == &random);
      if (cell == nullptr || !std::isfinite(cell->value)) continue;
      const double shift = i == 0 ? 0.0 : series == &random ? 0.16 : -0.16;
      Point point{cell->value, static_cast<double>(i) + shift, cell->interval.low, cell->interval.high, 1.2, ""};
      point.tooltip = fmt::format("{}, {}: {}", cell->action, series->label, format_number(cell->value));
      series->points.push_back(std::move(point));
    }
  }
  plot.series.push_back(std::move(taken));
  if (!random.points.empty()) plot.series.push_back(std::move(random));
  return plot;
}

/// "gsm8k_flexible goes from 0.24 to 0.15 (95 %: 0.09 to 0.23), with random directions to 0.23".
std::string change(const std::vector<SteeringCell>& cells, const std::string& metric, const std::string& action) {
  const SteeringCell* before = find(cells, metric, "unsteered", false);
  const SteeringCell* after = find(cells, metric, action, false);
  const SteeringCell* control = find(cells, metric, action, true);
  if (before == nullptr || after == nullptr || !std::isfinite(before->value) || !std::isfinite(after->value)) return "";
  std::string text = fmt::format("{} goes from {} to {}", words(metric), format_fixed(before->value, 2),
                                 format_fixed(after->value, 2));
  if (is_known(after->interval)) text += fmt::format(" ({})", interval_text(after->interval, 2));
  if (control != nullptr) text += fmt::format(", with random directions to {}", format_fixed(control->value, 2));
  return text;
}

}  // namespace

std::vector<SteeringCell> steering_cells(const CsvTable& table) {
  std::vector<SteeringCell> cells;
  for (const std::string& metric : metrics_of(table)) {
    for (int64_t i = 0; i < table.rows(); ++i) {
      const bool random = table.text(i, "direction") == "random";
      const double value = table.number(i, metric);
      for (const std::string& layer : layers_of(table, i)) {
        const std::string action = action_of(table, i, layer);
        const Interval interval{table.number(i, metric + "_low"), table.number(i, metric + "_high")};
        if (!random) {
          cells.push_back({metric, action, false, value, interval, 0});
          continue;
        }
        auto known = std::find_if(cells.begin(), cells.end(), [&](const SteeringCell& cell) {
          return cell.random && cell.metric == metric && cell.action == action;
        });
        if (known == cells.end()) known = cells.insert(cells.end(), {metric, action, true, 0.0, {}, 0});
        add_draw(*known, value);
      }
    }
  }
  return cells;
}

std::vector<Plot> steering_charts(const std::vector<SteeringCell>& cells) {
  std::vector<Plot> plots;
  for (const std::string& metric :
       distinct(cells, [](const SteeringCell& cell) -> const std::string& { return cell.metric; })) {
    plots.push_back(steering_plot(cells, metric));
  }
  keep_drawable(plots);
  return plots;
}

std::vector<Finding> steering_findings(const std::vector<SteeringCell>& cells) {
  std::vector<Finding> findings;
  const auto metrics = distinct(cells, [](const SteeringCell& cell) -> const std::string& { return cell.metric; });
  for (const std::string& action :
       distinct(cells, [](const SteeringCell& cell) -> const std::string& { return cell.action; })) {
    if (action == "unsteered") continue;
    std::string numbers;
    for (const std::string& metric : metrics) {
      const std::string text = change(cells, metric, action);
      if (!text.empty()) numbers += (numbers.empty() ? "" : "; ") + text;
    }
    if (!numbers.empty()) findings.push_back({Verdict::fact, "The direction, " + action, numbers + "."});
  }
  return findings;
}

}  // namespace subspect::experiments::report
