// Plots of overlaps: weight updates, their spectra, and activations.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>

#include "experiments/report/charts.h"
#include "experiments/report/markup.h"
#include "experiments/report/support.h"
#include "experiments/statistics/summary.h"

namespace subspect::experiments::report {

using statistics::interpolate;
using statistics::mean;
using statistics::quantile;

namespace {

const std::string& pair_of(const OverlapRow& row) {
  return row.pair;
}
const std::string& granularity_of(const OverlapRow& row) {
  return row.granularity;
}

/// Colours, then markers, tell series apart.
Style numbered_style(size_t index) {
  constexpr Marker markers[] = {Marker::circle, Marker::square, Marker::triangle, Marker::diamond, Marker::cross};
  Style style;
  style.colour = static_cast<int>(index % palette_size);
  style.marker = markers[index % 5];
  return style;
}

Axis overlap_axis() {
  return {"Mode subspace overlap, MSO (0 … 1)", Scale::linear, 0.0, 1.0, {}};
}
Axis energy_axis() {
  return {"Energy that the subspaces hold (share)", Scale::linear, 0.0, 1.0, {}};
}

const LegendEntry random_entry{"random baseline", {ink, Join::line, Dash::dashed, Marker::none, false, false}};

/// Values of one pair by x (energy or layer): its MSO and its baseline.
using Columns = std::map<double, std::pair<std::vector<double>, std::vector<double>>>;

/// Two series: the mean of the overlaps with their quartiles as a band, and the mean baseline dashed.
void add_pair(Plot& plot, const std::string& name, const Style& style, const Columns& columns, bool quartiles) {
  Series overlap{name, style, {}, quartiles, false, true};
  Style dashed = style;
  dashed.dash = Dash::dashed;
  dashed.marker = Marker::none;
  Series baseline{name + ", random baseline", dashed, {}, false, false, false};
  for (const auto& column : columns) {
    const std::vector<double>& values = column.second.first;
    Point point{column.first, mean(values)};
    if (quartiles && values.size() > 3) point.low = quantile(values, 0.25), point.high = quantile(values, 0.75);
    point.tooltip = fmt::format("{} at {}: {}, random {}", name, format_number(column.first), format_fixed(point.y, 3),
                                format_fixed(mean(column.second.second), 3));
    overlap.points.push_back(point);
    baseline.points.push_back({column.first, mean(column.second.second)});
  }
  plot.series.push_back(std::move(overlap));
  plot.series.push_back(std::move(baseline));
}

void finish_legend(Plot& plot) {
  for (const Series& series : plot.series) {
    if (series.in_legend) plot.legend.push_back({series.label, series.style});
  }
  plot.legend.push_back(random_entry);
}

Plot pairs_over_energy(const std::vector<OverlapRow>& rows, const std::string& granularity,
                       const std::vector<std::string>& pairs, size_t first) {
  Plot plot;
  plot.name =
      fmt::format("mso-{}{}", slug(granularity), first == 0 ? "" : fmt::format("-{}", first / palette_size + 1));
  plot.title = fmt::format("Overlap of the updates' subspaces, by {}", granularity);
  plot.caption = fmt::format("Mean over the {}s; bands hold the middle half of them.", granularity);
  plot.x = energy_axis();
  plot.y = overlap_axis();
  for (size_t i = first; i < std::min(pairs.size(), first + palette_size); ++i) {
    Columns columns;
    for (const OverlapRow& row : rows) {
      if (row.pair != pairs[i] || row.granularity != granularity || std::isnan(row.mso)) continue;
      columns[row.energy].first.push_back(row.mso);
      columns[row.energy].second.push_back(row.random);
    }
    add_pair(plot, pairs[i], numbered_style(i), columns, true);
  }
  finish_legend(plot);
  return plot;
}

/// The last run of digits in a group's name ("model.layers.3" -> 3), or NaN.
double layer_number(const std::string& group) {
  const size_t end = group.find_last_of("0123456789");
  if (end == std::string::npos) return std::nan("");
  const size_t before = group.find_last_not_of("0123456789", end);
  const size_t begin = before == std::string::npos ? 0 : before + 1;
  return parse_number(std::string_view(group).substr(begin, end + 1 - begin));
}

/// The measured energy nearest to one half.
template <class Row>
double middle_energy(const std::vector<Row>& rows, double Row::*value) {
  double chosen = std::nan("");
  for (const Row& row : rows) {
    if (std::isnan(row.*value)) continue;
    if (std::isnan(chosen) || std::abs(row.energy - 0.5) < std::abs(chosen - 0.5)) chosen = row.energy;
  }
  return chosen;
}

Plot pairs_over_layers(const std::vector<OverlapRow>& rows, const std::vector<std::string>& pairs) {
  const double energy = middle_energy(rows, &OverlapRow::mso);
  Plot plot;
  plot.name = "mso-by-layer";
  plot.title = fmt::format("Overlap of the updates' subspaces in each layer, at energy {}", format_number(energy));
  plot.caption = "The stacked tensors of one decoder layer at a time.";
  plot.x = {"Decoder layer", Scale::linear, {}, {}, {}};
  plot.y = overlap_axis();
  for (size_t i = 0; i < std::min<size_t>(pairs.size(), palette_size); ++i) {
    Columns columns;
    for (const OverlapRow& row : rows) {
      const double layer = layer_number(row.group);
      if (row.pair != pairs[i] || row.granularity != "layer" || row.energy != energy) continue;
      if (std::isnan(layer) || std::isnan(row.mso)) continue;
      columns[layer].first.push_back(row.mso);
      columns[layer].second.push_back(row.random);
    }
    add_pair(plot, pairs[i], numbered_style(i), columns, false);
  }
  finish_legend(plot);
  return plot;
}

/// Cumulative energy (first) or relative singular value (second) over the index, for one model and group.
struct Spectrum {
  std::vector<std::pair<double, double>> energy;
  std::vector<std::pair<double, double>> decay;
};

std::map<std::string, std::vector<Spectrum>> spectra_by_model(const std::vector<SpectrumRow>& rows) {
  std::map<std::string, std::map<std::string, std::vector<const SpectrumRow*>>> groups;
  for (const SpectrumRow& row : rows) groups[row.model][row.group].push_back(&row);
  std::map<std::string, std::vector<Spectrum>> spectra;
  for (auto& model : groups) {
    for (auto& group : model.second) {
      std::vector<const SpectrumRow*>& values = group.second;
      std::sort(values.begin(), values.end(), [](auto* a, auto* b) { return a->index < b->index; });
      if (values.size() < 2) continue;  // a vector has one singular value: nothing to see
      Spectrum spectrum;
      const double count = static_cast<double>(values.size()), largest = values.front()->singular_value;
      for (size_t i = 0; i < values.size(); ++i) {
        const double share = static_cast<double>(i + 1) / count;
        if (std::isfinite(values[i]->energy_cumulative))
          spectrum.energy.emplace_back(share, values[i]->energy_cumulative);
        if (largest > 0) spectrum.decay.emplace_back(share, values[i]->singular_value / largest);
      }
      spectra[model.first].push_back(std::move(spectrum));
    }
  }
  return spectra;
}

/// The mean over tensors on a fixed grid of shares of the rank, with the middle half of them as a band.
Series mean_spectrum(const std::string& model, const std::vector<Spectrum>& spectra, bool energy, size_t index) {
  Style style = numbered_style(index);
  style.marker = Marker::none;
  style.dash = index % 3 == 1 ? Dash::dashed : index % 3 == 2 ? Dash::dotted : Dash::solid;
  Series series{model, style, {}, true, false, true};
  for (int step = 1; step <= 50; ++step) {
    const double share = step / 50.0;
    std::vector<double> values;
    for (const Spectrum& spectrum : spectra) {
      const auto& points = energy ? spectrum.energy : spectrum.decay;
      if (points.empty()) continue;
      values.push_back(interpolate(points, std::clamp(share, points.front().first, points.back().first)));
    }
    Point point{share, mean(values)};
    if (values.size() > 3) point.low = quantile(values, 0.25), point.high = quantile(values, 0.75);
    series.points.push_back(point);
  }
  return series;
}

Series layer_series(const std::vector<ActivationRow>& rows, const std::string& model, double energy,
                    double ActivationRow::*value, Interval ActivationRow::*interval, const std::string& name,
                    Style style) {
  Series series{name, style, {}, style.marker == Marker::none, false, true};
  for (const ActivationRow& row : rows) {
    if (row.model != model || row.energy != energy) continue;
    Point point{row.layer, row.*value};
    point.tooltip =
        fmt::format("{}, {}, layer {}: {}", model, name, format_number(row.layer), format_fixed(point.y, 3));
    if (const Interval& bounds = row.*interval; is_known(bounds)) {
      point.low = bounds.low;
      point.high = bounds.high;
      point.tooltip += fmt::format(" ({})", interval_text(bounds, 3));
    }
    series.points.push_back(point);
  }
  std::sort(series.points.begin(), series.points.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
  return series;
}

Plot model_layers(const std::vector<ActivationRow>& rows, const std::string& model, double energy) {
  Plot plot;
  plot.name = "activations-" + slug(model);
  plot.title = fmt::format("Activations of {}: useful against harmful prompts", model);
  plot.caption = fmt::format(
      "Subspaces that hold {} of the activations' energy. The control compares two halves of the useful prompts; the "
      "halves have as many prompts as the control. Bars: 95 % over prompts; the band holds 95 % of random subspaces.",
      format_number(energy));
  plot.x = {"Layer (0 = embeddings)", Scale::linear, {}, {}, {}};
  plot.y = overlap_axis();
  plot.series.push_back(layer_series(rows, model, energy, &ActivationRow::mso, &ActivationRow::interval,
                                     "useful / harmful", {0, Join::line, Dash::solid, Marker::circle, false, false}));
  plot.series.push_back(layer_series(rows, model, energy, &ActivationRow::halves, &ActivationRow::halves_interval,
                                     "halves: useful / harmful",
                                     {4, Join::line, Dash::dashed, Marker::square, true, false}));
  plot.series.push_back(layer_series(rows, model, energy, &ActivationRow::control, &ActivationRow::control_interval,
                                     "control: useful / useful",
                                     {2, Join::line, Dash::dotted, Marker::triangle, false, false}));
  plot.series.push_back(layer_series(rows, model, energy, &ActivationRow::random, &ActivationRow::random_interval,
                                     "random baseline", {ink, Join::line, Dash::dashed, Marker::none, false, false}));
  return plot;
}

Plot models_over_energy(const std::vector<ActivationRow>& rows, const std::vector<std::string>& models) {
  Plot plot;
  plot.name = "activations-energy";
  plot.title = "Overlap of activations, mean over the layers";
  plot.caption = "Useful against harmful prompts.";
  plot.x = energy_axis();
  plot.y = overlap_axis();
  for (size_t i = 0; i < std::min<size_t>(models.size(), palette_size); ++i) {
    Columns columns;
    for (const ActivationRow& row : rows) {
      if (row.model != models[i] || std::isnan(row.mso)) continue;
      columns[row.energy].first.push_back(row.mso);
      columns[row.energy].second.push_back(row.random);
    }
    add_pair(plot, models[i], numbered_style(i), columns, false);
  }
  finish_legend(plot);
  return plot;
}

}  // namespace

std::vector<Plot> overlap_charts(const std::vector<OverlapRow>& rows) {
  std::vector<Plot> plots;
  const std::vector<std::string> pairs = distinct(rows, pair_of);
  for (const std::string& granularity : distinct(rows, granularity_of)) {
    for (size_t first = 0; first < pairs.size(); first += palette_size) {
      plots.push_back(pairs_over_energy(rows, granularity, pairs, first));
    }
  }
  plots.push_back(pairs_over_layers(rows, pairs));
  keep_drawable(plots);
  return plots;
}

std::vector<Plot> spectrum_charts(const std::vector<SpectrumRow>& rows) {
  Plot energy;
  energy.name = "spectrum-energy";
  energy.title = "Energy in the leading singular directions";
  energy.caption =
      "Cumulative energy of the update's singular values, mean over the tensors; bands hold the middle half.";
  energy.x = {"Directions (share of the rank)", Scale::linear, 0.0, 1.0, {}};
  energy.y = {"Cumulative energy (share)", Scale::linear, 0.0, 1.0, {}};
  Plot decay = energy;
  decay.name = "spectrum-decay";
  decay.title = "Decay of the singular values";
  decay.caption = "Relative to the largest one of each tensor, mean over the tensors; bands hold the middle half.";
  decay.y = {"Singular value (relative to the largest)", Scale::log, {}, 1.0, {}};
  size_t index = 0;
  for (const auto& model : spectra_by_model(rows)) {
    if (index == palette_size) break;
    energy.series.push_back(mean_spectrum(model.first, model.second, true, index));
    decay.series.push_back(mean_spectrum(model.first, model.second, false, index++));
  }
  std::vector<Plot> plots{std::move(energy), std::move(decay)};
  keep_drawable(plots);
  return plots;
}

std::vector<Plot> activation_charts(const std::vector<ActivationRow>& rows) {
  const double energy = middle_energy(rows, &ActivationRow::mso);
  const auto models = distinct(rows, [](const ActivationRow& row) -> const std::string& { return row.model; });
  std::vector<Plot> plots;
  for (const std::string& model : models) plots.push_back(model_layers(rows, model, energy));
  plots.push_back(models_over_energy(rows, models));
  keep_drawable(plots);
  return plots;
}

std::vector<Plot> probe_charts(const std::vector<ProbeRow>& rows) {
  std::vector<Plot> plots;
  for (const std::string& method :
       distinct(rows, [](const ProbeRow& row) -> const std::string& { return row.method; })) {
    Plot plot;
    plot.name = "probe-" + slug(method);
    plot.title = fmt::format("Telling harmful from useful prompts: {}",
                             method == "linear_probe" ? "linear probe" : "difference of means");
    plot.caption =
        "Cross-validated: each prompt is judged by a direction found on other prompts. Bars: 95 % over prompts.";
    plot.x = {"Layer (0 = embeddings)", Scale::linear, {}, {}, {}};
    plot.y = {"Held-out accuracy", Scale::linear, 0.4, 1.0, {}};
    plot.guides = {{0.5, "chance"}};
    const auto models = distinct(rows, [](const ProbeRow& row) -> const std::string& { return row.model; });
    for (size_t i = 0; i < std::min<size_t>(models.size(), palette_size); ++i) {
      Series series{models[i], numbered_style(i), {}, false, false, true};
      for (const ProbeRow& row : rows) {
        if (row.model != models[i] || row.method != method) continue;
        Point point{row.layer, row.accuracy, row.interval.low, row.interval.high};
        point.tooltip = fmt::format("{}, layer {}: {} ({})", row.model, format_number(row.layer),
                                    format_fixed(row.accuracy, 3), interval_text(row.interval, 3));
        series.points.push_back(std::move(point));
      }
      plot.series.push_back(std::move(series));
    }
    plots.push_back(std::move(plot));
  }
  keep_drawable(plots);
  return plots;
}

namespace {

/// The cosines of one pair by the number of the angle, over the groups that have so many.
struct AngleProfile {
  std::map<double, std::vector<double>> cosine, random_high;
};

AngleProfile angle_profile(const std::vector<AngleRow>& rows, const std::string& pair, double energy) {
  constexpr double most = 12;  // few groups have more, and theirs are near a right angle
  AngleProfile profile;
  for (const AngleRow& row : rows) {
    if (row.pair != pair || row.energy != energy || row.index > most) continue;
    profile.cosine[row.index].push_back(row.cosine);
    profile.random_high[row.index].push_back(row.random_interval.high);
  }
  return profile;
}

}  // namespace

std::vector<Plot> angle_charts(const std::vector<AngleRow>& rows) {
  const double energy = middle_energy(rows, &AngleRow::cosine);
  Plot plot;
  plot.name = "angles";
  plot.title = fmt::format("Principal angles of the updates' subspaces at energy {}", format_number(energy));
  plot.caption =
      "The smallest angles, mean over the tensors and layers that have so many. Dashed: 97.5 % of random subspaces of "
      "the same ranks stay below.";
  plot.x = {"Number of the angle, smallest first", Scale::linear, {}, {}, {}};
  plot.y = {"Cosine of the angle", Scale::linear, 0.0, 1.0, {}};
  const auto pairs = distinct(rows, [](const AngleRow& row) -> const std::string& { return row.pair; });
  for (size_t i = 0; i < std::min<size_t>(pairs.size(), palette_size); ++i) {
    const AngleProfile profile = angle_profile(rows, pairs[i], energy);
    Style style = numbered_style(i);
    style.marker = Marker::none;
    Style dashed = style;
    dashed.dash = Dash::dashed;
    Series measured{pairs[i], style, {}, false, false, true};
    Series random{pairs[i] + ", random", dashed, {}, false, false, false};
    for (const auto& [index, cosines] : profile.cosine) {
      measured.points.push_back({index, mean(cosines)});
      random.points.push_back({index, mean(profile.random_high.at(index))});
    }
    plot.series.push_back(std::move(measured));
    plot.series.push_back(std::move(random));
  }
  finish_legend(plot);
  plot.legend.back().label = "random, 97.5 % quantile";
  std::vector<Plot> plots{std::move(plot)};
  keep_drawable(plots);
  return plots;
}

}  // namespace subspect::experiments::report
