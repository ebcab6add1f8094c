// The loop over groups of tensors.
#include "experiments/subspace/overlap_run.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "experiments/subspace/factors.h"
#include "runtime/linalg/bases.h"
#include "runtime/linalg/parallel.h"
#include "runtime/linalg/spectrum.h"
#include "runtime/memory.h"

namespace subspect::experiments::subspace {

namespace {

namespace linalg = runtime::linalg;
using linalg::LeftBasis;

std::string pair_name(const WeightSource& a, const WeightSource& b) {
  return a.name() + "/" + b.name();
}

std::vector<std::string> angle_columns() {
  return {"pair",
          "group",
          "granularity",
          "energy",
          "index",
          "cosine",
          "side",
          "cosine_random",
          "cosine_random_low",
          "cosine_random_high"};
}

}  // namespace

std::vector<int64_t> spaced_indices(int64_t last, int64_t count) {
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < std::min(last, count); ++i) {
    const double share = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0.0;
    const auto spaced = last <= count ? i + 1 : std::llround(std::pow(static_cast<double>(last), share));
    if (indices.empty() || spaced > indices.back()) indices.push_back(spaced);
  }
  return indices;
}

OverlapRun::OverlapRun(RunContext& context, OverlapSettings settings, const WeightSource& reference,
                       std::vector<const WeightSource*> models)
    : context_(context),
      settings_(std::move(settings)),
      reference_(reference),
      models_(std::move(models)),
      results_(context.dir.table({"pair", "group", "granularity", "energy", "k_a", "k_b", "d", "mso", "mso_random",
                                  "stacked", "side", "mso_random_mc", "mso_random_low", "mso_random_high"}),
               {"pair", "group", "granularity", "energy", "side"}),
      group_rows_(context.dir.table({"model", "group", "granularity", "rows", "cols", "norm", "rank", "effective_rank",
                                     "stable_rank", "method", "residual", "stacked"},
                                    "groups"),
                  {"model", "group", "granularity"}),
      spectra_(context.dir.table({"model", "group", "granularity", "index", "singular_value", "energy_cumulative"},
                                 "spectra"),
               {"model", "group", "granularity", "index"}),
      angles_(!settings_.angle_energies.empty() ? context.dir.table(angle_columns(), "angles") : Table(angle_columns()),
              {"pair", "group", "granularity", "energy", "index", "side"}) {
  if (!settings_.energies.empty()) {
    settings_.basis.energy = *std::max_element(settings_.energies.begin(), settings_.energies.end());
  }
  for (const WeightSource* model : models_) require_same_tensors(reference_, *model);
  const std::vector<std::string> tensors = select_tensors(reference_, settings_.tensors, "tensors");
  for (const Granularity granularity : settings_.granularity) {
    const std::vector<UpdateGroup> more = make_groups(reference_, tensors, granularity);
    groups_.insert(groups_.end(), more.begin(), more.end());
  }
}

bool OverlapRun::finished(const UpdateGroup& group) const {
  for (const auto& [a, b] : settings_.pairs) {
    for (const Side side : settings_.sides) {
      for (const double energy : settings_.energies) {
        const NamedCells key = {{"pair", pair_name(*models_[a], *models_[b])},
                                {"group", group.name},
                                {"granularity", name(group.granularity)},
                                {"energy", energy},
                                {"side", name(side)}};
        if (!results_.contains(key)) return false;
      }
    }
  }
  return true;
}

void OverlapRun::run() {
  std::vector<const UpdateGroup*> open;
  for (const UpdateGroup& group : groups_) {
    if (!finished(group)) open.push_back(&group);
  }
  auto progress = context_.progress.begin("overlap", static_cast<int64_t>(groups_.size()), "groups",
                                          static_cast<int64_t>(groups_.size() - open.size()));
  std::vector<Output> outputs(open.size());
  size_t written = 0;
  linalg::for_each_range_within(
      context_.stream, open.size(),
      settings_.memory_budget > 0 ? settings_.memory_budget : runtime::available_memory(context_.stream) / 2,
      [&](size_t i) { return workspace_bytes(*open[i]); },
      [&](size_t begin, size_t end) {
        std::vector<std::vector<LeftBasis>> left = left_bases(std::span(open).subspan(begin, end - begin));
        for (size_t i = begin; i < end; ++i) {
          outputs[i] = compute(*open[i], std::exchange(left[i - begin], {}));
          progress.advance();
        }
      },
      [&] {
        for (; written < outputs.size() && outputs[written].done; ++written) {
          append(outputs[written]);
          outputs[written] = Output();
        }
        context_.stop_if_interrupted();
      });
  for (KeyedTable* table : {&results_, &group_rows_, &spectra_}) table->write();
  if (!settings_.angle_energies.empty()) angles_.write();
}

int64_t OverlapRun::workspace_bytes(const UpdateGroup& group) const {
  return factor_workspace_bytes({group.rows, group.cols}, 0) *
         static_cast<int64_t>(models_.size() * settings_.sides.size());
}

/// By group and model; empty for a model that no pair has.
std::vector<std::vector<LeftBasis>> OverlapRun::left_bases(std::span<const UpdateGroup* const> groups) const {
  std::vector<std::vector<LeftBasis>> bases(groups.size(), std::vector<LeftBasis>(models_.size()));
  const auto wanted = [&](size_t model) {
    return std::any_of(settings_.pairs.begin(), settings_.pairs.end(),
                       [&](const auto& pair) { return pair.first == model || pair.second == model; });
  };
  linalg::for_each_basis(
      context_.stream, groups.size() * models_.size(),
      [&](size_t i) -> std::optional<linalg::BasisRequest> {
        const UpdateGroup& group = *groups[i / models_.size()];
        const size_t model = i % models_.size();
        if (!wanted(model)) return std::nullopt;
        return linalg::BasisRequest{stacked_update(context_.stream, *models_[model], reference_, group), group.name,
                                    settings_.basis};
      },
      [&](size_t i, LeftBasis basis) { bases[i / models_.size()][i % models_.size()] = std::move(basis); });
  return bases;
}

OverlapRun::Output OverlapRun::compute(const UpdateGroup& group, const std::vector<LeftBasis>& left) const {
  Output output;
  std::vector<LeftBasis> right(models_.size());
  const bool needs_right = std::count(settings_.sides.begin(), settings_.sides.end(), Side::right) > 0;
  for (size_t i = 0; i < models_.size(); ++i) {
    if (!left[i].matrix().defined()) continue;
    if (needs_right) right[i] = left[i].transposed(context_.stream, group.name, settings_.basis);
    describe(group, i, left[i], output);
  }
  for (const auto& pair : settings_.pairs) {
    for (const Side side : settings_.sides) compare(group, pair, side == Side::left ? left : right, side, output);
  }
  output.done = true;
  return output;
}

void OverlapRun::describe(const UpdateGroup& group, size_t model, const LeftBasis& basis, Output& output) const {
  const std::vector<double>& sigma = basis.singular_values();
  const bool whole = !basis.truncated();
  const double stable_rank = basis.rank() == 0 ? 0.0 : basis.squared_norm() / (sigma[0] * sigma[0]);
  const NamedCells key = {
      {"model", models_[model]->name()}, {"group", group.name}, {"granularity", name(group.granularity)}};
  output.groups.push_back(joined(key, {{"rows", group.rows},
                                       {"cols", group.cols},
                                       {"norm", std::sqrt(basis.squared_norm())},
                                       {"rank", whole ? Cell(basis.rank()) : Cell()},
                                       {"effective_rank", whole ? Cell(linalg::effective_rank(sigma)) : Cell()},
                                       {"stable_rank", stable_rank},
                                       {"method", name(basis.method())},
                                       {"residual", basis.residual()},
                                       {"stacked", group.stacked()}}));
  if (basis.rank() == 0) return;
  const std::vector<double> cumulative = linalg::cumulative_energy(sigma, basis.squared_norm());
  for (const int64_t index : spaced_indices(static_cast<int64_t>(sigma.size()), settings_.spectrum_points)) {
    const auto place = static_cast<size_t>(index - 1);
    output.spectra.push_back(
        joined(key, {{"index", index}, {"singular_value", sigma[place]}, {"energy_cumulative", cumulative[place]}}));
  }
}

void OverlapRun::compare(const UpdateGroup& group, std::pair<size_t, size_t> pair, const std::vector<LeftBasis>& bases,
                         Side side, Output& output) const {
  const NamedCells key = {{"pair", pair_name(*models_[pair.first], *models_[pair.second])},
                          {"group", group.name},
                          {"granularity", name(group.granularity)}};
  std::vector<EnergyOverlap> rows = compare_subspaces(context_.stream, bases[pair.first], bases[pair.second],
                                                      settings_.energies, settings_.angle_energies);
  draw_baseline(
      context_.stream,
      {.count = settings_.baseline_draws,
       .seed = settings_.seed,
       .label = fmt::format("{}/{}/{}/{}", key[0].second.text(), group.name, name(group.granularity), name(side))},
      rows);
  for (const EnergyOverlap& row : rows) {
    const NamedCells at = joined(key, {{"energy", row.energy}, {"side", name(side)}});
    output.results.push_back(joined(at, {{"k_a", row.k_a},
                                         {"k_b", row.k_b},
                                         {"d", row.d},
                                         {"mso", row.mso},
                                         {"mso_random", row.mso_random},
                                         {"stacked", group.stacked()},
                                         {"mso_random_mc", row.mso_random_mc},
                                         {"mso_random_low", row.random_interval.low},
                                         {"mso_random_high", row.random_interval.high}}));
    for (size_t i = 0; i < row.angle_cosines.size(); ++i) {
      NamedCells angle = joined(at, {{"index", i + 1}, {"cosine", row.angle_cosines[i]}});
      if (i < row.random_cosines.size()) {
        angle = joined(std::move(angle), {{"cosine_random", row.random_cosines[i].mean},
                                          {"cosine_random_low", row.random_cosines[i].interval.low},
                                          {"cosine_random_high", row.random_cosines[i].interval.high}});
      }
      output.angles.push_back(std::move(angle));
    }
  }
}

void OverlapRun::append(const Output& output) {
  for (const NamedCells& row : output.groups) group_rows_.append(row);
  for (const NamedCells& row : output.spectra) spectra_.append(row);
  for (const NamedCells& row : output.angles) angles_.append(row);
  for (const NamedCells& row : output.results) results_.append(row);  // last: they mark the group as finished
}

}  // namespace subspect::experiments::subspace
