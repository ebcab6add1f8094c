// Plots of fine-tuning (loss curves and the like) and of evaluations (scores of models).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "experiments/report/charts.h"
#include "experiments/report/markup.h"
#include "experiments/report/support.h"
#include "experiments/statistics/summary.h"

namespace subspect::experiments::report {

using statistics::mean;

namespace {

constexpr size_t curve_points = 400;

std::vector<Point> curve(const RunFiles& run, std::string_view metric) {
  std::vector<Point> points;
  const auto* values = run.metrics.find(metric);
  const auto* steps = run.metrics.find("step");
  for (size_t i = 0; values != nullptr && i < values->size(); ++i) {
    points.push_back({steps == nullptr ? static_cast<double>(i + 1) : (*steps)[i], (*values)[i]});
  }
  return points;
}

/// The mean over a window of a fiftieth of the curve around each point.
std::vector<Point> smooth(const std::vector<Point>& points) {
  const auto half = static_cast<std::ptrdiff_t>(points.size() / 100);
  std::vector<Point> out = points;
  for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(points.size()); ++i) {
    const auto begin = std::max<std::ptrdiff_t>(0, i - half);
    const auto end = std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(points.size()), i + half + 1);
    std::vector<double> window;
    for (auto j = begin; j < end; ++j) window.push_back(points[static_cast<size_t>(j)].y);
    out[static_cast<size_t>(i)].y = std::isfinite(points[static_cast<size_t>(i)].y) ? mean(window) : std::nan("");
  }
  return out;
}

bool spans_decades(const Plot& plot) {
  double low = INFINITY, high = 0;
  for (const Series& series : plot.series) {
    for (const Point& point : series.points) {
      if (!(point.y > 0)) continue;
      low = std::min(low, point.y);
      high = std::max(high, point.y);
    }
  }
  return high > 20 * low;
}

Plot loss_plot(const std::vector<const RunFiles*>& runs, size_t first) {
  Plot plot;
  plot.name = first == 0 ? "loss" : fmt::format("loss-{}", first / palette_size + 1);
  plot.title = runs.size() == 1 ? "Loss" : "Loss of the fine-tunings";
  plot.caption = "Mean over the target tokens of each optimizer step; bold is the moving average.";
  plot.x = {"Optimizer step", Scale::linear, {}, {}, {}};
  plot.y = {"Loss (nats per target token)", Scale::linear, {}, {}, {}};
  for (size_t i = first; i < std::min(runs.size(), first + palette_size); ++i) {
    Style style;
    style.colour = static_cast<int>(i % palette_size);
    style.dash = i % 3 == 1 ? Dash::dashed : i % 3 == 2 ? Dash::dotted : Dash::solid;
    const std::vector<Point> points = curve(*runs[i], "loss");
    Style context = style;
    context.faint = true;
    context.dash = Dash::solid;
    if (points.size() >= 100)
      plot.series.push_back({runs[i]->name, context, thin_out(points, curve_points), false, false, false});
    plot.series.push_back({runs[i]->name, style, thin_out(smooth(points), curve_points), false, false, true});
  }
  if (spans_decades(plot)) plot.y.scale = Scale::log;
  return plot;
}

Plot metric_plot(const RunFiles& run, const char* metric, const char* title, const char* unit, int colour) {
  Plot plot;
  plot.name = slug(metric);
  plot.title = title;
  plot.x = {"Optimizer step", Scale::linear, {}, {}, {}};
  plot.y = {unit, Scale::linear, 0.0, {}, {}};
  Style style;
  style.colour = colour;
  plot.series.push_back({title, style, thin_out(curve(run, metric), curve_points), false, false, true});
  return plot;
}

/// The bounds of an axis that fits a metric: shares from 0 to 1, harmfulness from 1 to 5.
void bound_axis(Axis& axis, const std::string& metric, const std::vector<Point>& points) {
  const bool within = std::all_of(points.begin(), points.end(), [](const Point& p) { return p.x >= 0 && p.x <= 1; });
  if (metric == "harmfulness") {
    axis.minimum = 1.0;
    axis.maximum = 5.0;
  } else if (within) {
    axis.minimum = 0.0;
    axis.maximum = 1.0;
  }
}

/// Whether a metric only counts cases that another one summarizes: "score_3", "harmfulness_invalid".
bool is_detail(const std::string& metric) {
  return metric.rfind("score_", 0) == 0 || metric.find("invalid") != std::string::npos;
}

Plot score_plot(const std::vector<ScoreRow>& rows, const std::string& task, const std::string& metric) {
  Plot plot;
  plot.name = fmt::format("score-{}-{}", slug(task), slug(metric));
  plot.title = fmt::format("{}: {}", task, metric);
  plot.x = {metric, Scale::linear, {}, {}, {}};
  Series series{metric, {0, Join::none, Dash::solid, Marker::circle, false, false}, {}, false, true, false};
  for (const ScoreRow& row : rows) {
    if (row.task != task || row.metric != metric || !std::isfinite(row.value)) continue;
    Point point{row.value, static_cast<double>(plot.y.categories.size())};
    if (is_known(row.interval)) {
      point.low = row.interval.low;
      point.high = row.interval.high;
      plot.caption = "Bars: 95 % over prompts.";
    } else if (std::isfinite(row.standard_error)) {
      point.low = row.value - row.standard_error;
      point.high = row.value + row.standard_error;
      plot.caption = "Bars are one standard error to either side.";
    }
    point.size = 1.2;
    point.tooltip = fmt::format("{}: {}", row.model, format_number(row.value));
    series.points.push_back(point);
    plot.y.categories.push_back(row.model);
  }
  bound_axis(plot.x, metric, series.points);
  plot.series.push_back(std::move(series));
  return plot;
}

}  // namespace

std::vector<Point> thin_out(const std::vector<Point>& points, size_t limit) {
  if (points.size() <= limit || limit < 2) return points;
  std::vector<Point> kept;
  const size_t stretches = limit / 2;
  for (size_t s = 0; s < stretches; ++s) {
    const size_t begin = s * points.size() / stretches, end = (s + 1) * points.size() / stretches;
    size_t low = begin, high = begin;
    for (size_t i = begin; i < end; ++i) {
      if (points[i].y < points[low].y || std::isnan(points[low].y)) low = i;
      if (points[i].y > points[high].y || std::isnan(points[high].y)) high = i;
    }
    kept.push_back(points[std::min(low, high)]);
    if (low != high) kept.push_back(points[std::max(low, high)]);
  }
  return kept;
}

std::vector<Plot> training_charts(const std::vector<const RunFiles*>& runs) {
  std::vector<Plot> plots;
  for (size_t first = 0; first < runs.size(); first += palette_size) plots.push_back(loss_plot(runs, first));
  if (runs.size() == 1) {
    plots.push_back(metric_plot(*runs[0], "lr", "Learning rate", "Learning rate", 1));
    plots.push_back(metric_plot(*runs[0], "grad_norm", "Gradient norm before clipping", "Norm of the gradient", 2));
    plots.push_back(metric_plot(*runs[0], "tokens_per_second", "Speed", "Tokens per second", 3));
  }
  keep_drawable(plots);
  return plots;
}

std::vector<Plot> score_charts(const std::vector<ScoreRow>& rows) {
  std::vector<Plot> plots;
  for (const std::string& task : distinct(rows, [](const ScoreRow& row) -> const std::string& { return row.task; })) {
    std::vector<ScoreRow> of_task;
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(of_task),
                 [&](const ScoreRow& row) { return row.task == task; });
    for (const std::string& metric :
         distinct(of_task, [](const ScoreRow& row) -> const std::string& { return row.metric; })) {
      if (!is_detail(metric)) plots.push_back(score_plot(of_task, task, metric));
    }
  }
  keep_drawable(plots);
  if (plots.size() > 12) plots.resize(12);
  return plots;
}

}  // namespace subspect::experiments::report
