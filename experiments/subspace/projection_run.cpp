// The loop over families of bases, fine-tuned models, fractions and modes.
#include "experiments/subspace/projection_run.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "experiments/subspace/formed_weights.h"
#include "runtime/error.h"
#include "runtime/linalg/bases.h"
#include "runtime/linalg/parallel.h"
#include "runtime/linalg/products.h"
#include "runtime/memory.h"

namespace subspect::experiments::subspace {

namespace {

using runtime::DType;
using runtime::Stream;
using runtime::Tensor;

Cell optional_cell(const auto& value) {
  return value ? Cell(*value) : Cell();
}

/// P of every tensor at the fraction reached so far.
class ParallelParts {
 public:
  ParallelParts(Stream& stream, const UpdateSources& sources, size_t finetuned, const std::vector<Factors>& factors,
                const std::vector<std::vector<int64_t>>& orders)
      : stream_(stream), sources_(sources), finetuned_(finetuned), factors_(factors), orders_(orders) {
    parts_.resize(factors.size());
    reached_.assign(factors.size(), 0);
  }

  /// Fractions in (0, 1) must come in ascending order, others after them.
  void advance(double fraction) {
    runtime::linalg::for_each_matrix(stream_, factors_.size(), [&](size_t i) { advance_tensor(i, fraction); });
  }

  const std::vector<Tensor>& parts() const { return parts_; }

 private:
  void advance_tensor(size_t i, double fraction) {
    const Factors& factors = factors_[i];
    if (!factors.is_matrix || !splits_by_rank(fraction)) {
      parts_[i] = along_alignment(factors);
      return;
    }
    if (factors.sides == Sides::both) reached_[i] = 0;  // is no sum over the vectors of one side
    if (reached_[i] == 0) {
      parts_[i] = Tensor::zeros(stream_, sources_.aligned->info(factors.tensor).shape, DType::float32);
    }
    const int64_t k = factors.rank_at(fraction);
    factors.add_parallel(stream_, finetuned_, orders_[i], reached_[i], k, parts_[i]);
    reached_[i] = k;
  }

  /// P = (<D, v> / <v, v>) V.
  Tensor along_alignment(const Factors& factors) const {
    const SplitSums& sums = factors.sums[finetuned_];
    const Tensor alignment = difference(stream_, *sources_.aligned, *sources_.base, factors.tensor);
    Tensor part = Tensor::zeros(stream_, alignment.shape(), DType::float32);
    const double along = sums.alignment > 0.0 ? sums.update_alignment / sums.alignment : 0.0;
    runtime::linalg::add_scaled(stream_, alignment, along, part);
    return part;
  }

  Stream& stream_;
  const UpdateSources& sources_;
  size_t finetuned_;
  const std::vector<Factors>& factors_;
  const std::vector<std::vector<int64_t>>& orders_;
  std::vector<Tensor> parts_;
  std::vector<int64_t> reached_;
};

using Columns = std::vector<std::string>;

/// The key columns of every table, which say what model a row is about, after `before`; the side comes last, with
/// `after` between.
Columns model_keys(Columns before = {}, const Columns& after = {}) {
  before.insert(before.end(), {"model", "basis", "mode", "fraction", "draw"});
  before.insert(before.end(), after.begin(), after.end());
  before.emplace_back("side");
  return before;
}

Columns layer_columns() {
  return model_keys({"layer"}, {"energy_kept", "cosine_task_proj", "cosine_task_align", "energy_removed"});
}

Columns tensor_columns() {
  return model_keys({"tensor"}, {"energy_kept", "cosine_task_proj", "cosine_task_align", "rows", "cols", "k", "rank",
                                 "method", "residual", "unique", "energy_removed"});
}

}  // namespace

NamedCells ProjectionCell::key() const {
  return {{"model", model},
          {"basis", basis},
          {"mode", mode},
          {"fraction", optional_cell(fraction)},
          {"draw", optional_cell(draw)},
          {"side", side}};
}

std::string ProjectionCell::sided_basis(std::string_view separator) const {
  const bool plain = side == "none" || side == name(Sides::left);
  return plain ? basis : fmt::format("{}{}{}", basis, separator, side);
}

std::string ProjectionCell::label() const {
  if (!fraction) return model;
  std::string text = fmt::format("{}-{}-{}-{}", model, sided_basis("-"), mode, *fraction);
  if (basis != name(Basis::top_k)) text += fmt::format("-{}", draw.value_or(0));
  return text;
}

std::vector<std::string> projection_columns(const std::vector<std::string>& scores) {
  Columns columns = {"energy_kept",  "cosine_task_proj", "cosine_task_align",   "gsm8k_flexible",
                     "gsm8k_strict", "harmfulness",      "harmfulness_invalid", "energy_removed"};
  for (const std::string& score : scores) {
    if (std::find(columns.begin(), columns.end(), score) == columns.end()) columns.push_back(score);
  }
  return model_keys({}, columns);
}

ProjectionRun::ProjectionRun(RunContext& context, ProjectionSettings settings, UpdateSources sources,
                             const std::vector<std::string>& columns, ModelConsumer consumer)
    : context_(context),
      settings_(std::move(settings)),
      sources_(std::move(sources)),
      results_(context.dir.table(columns), model_keys()),
      tensor_rows_(context.dir.table(tensor_columns(), "tensors"), model_keys({"tensor"})),
      layer_rows_(context.dir.table(layer_columns(), "layers"), model_keys({"layer"})),
      consumer_(std::move(consumer)) {
  require_same_tensors(*sources_.aligned, *sources_.base);
  for (const WeightSource* finetuned : sources_.finetuned) require_same_tensors(*sources_.aligned, *finetuned);
  tensors_ = select_tensors(*sources_.aligned, settings_.tensors, "tensors");
  // Within (0, 1) ascending, so that each part is built on the one before; the single direction last.
  std::stable_sort(settings_.fractions.begin(), settings_.fractions.end(), [](double a, double b) {
    return splits_by_rank(a) != splits_by_rank(b) ? splits_by_rank(a) : a < b;
  });
  settings_.fractions.erase(std::unique(settings_.fractions.begin(), settings_.fractions.end()),
                            settings_.fractions.end());
}

void ProjectionRun::run() {
  int64_t models = 2 + static_cast<int64_t>(sources_.finetuned.size());
  for (const Family& family : families()) {
    for (const BasisChoice& choice : family) {
      for (size_t i = 0; i < sources_.finetuned.size(); ++i) models += static_cast<int64_t>(cells(choice, i).size());
    }
  }
  progress_.emplace(
      context_.progress.begin("projection", models, "models", static_cast<int64_t>(results_.table().size())));
  run_plain_models();
  for (const Family& family : families()) {
    if (!finished(family)) run_family(family);
  }
  progress_.reset();
  results_.write();
  tensor_rows_.write();
  layer_rows_.write();
}

std::vector<ProjectionRun::Family> ProjectionRun::families() const {
  std::vector<Family> all;
  for (const Sides sides : settings_.sides) {
    Family alignment;
    std::vector<Family> random;
    for (const Basis basis : settings_.bases) {
      for (int64_t draw = 0; draw < (basis == Basis::top_k ? 1 : settings_.draws); ++draw) {
        const BasisChoice choice{basis, draw, settings_.seed, sides};
        if (basis == Basis::random) {
          random.push_back({choice});
        } else {
          alignment.push_back(choice);
        }
      }
    }
    if (!alignment.empty()) all.push_back(alignment);
    all.insert(all.end(), random.begin(), random.end());
  }
  return all;
}

std::vector<std::pair<std::string, size_t>> ProjectionRun::counted() const {
  std::vector<std::pair<std::string, size_t>> all;
  for (size_t i = 0; i < tensors_.size(); ++i) all.emplace_back(tensors_[i], i);
  const auto embedding = std::find(tensors_.begin(), tensors_.end(), "model.embed_tokens.weight");
  if (settings_.readings.tied_twice && sources_.aligned->tied() && embedding != tensors_.end()) {
    all.emplace_back("lm_head.weight", static_cast<size_t>(embedding - tensors_.begin()));
  }
  return all;
}

NamedCells ProjectionRun::energy_cells(const SplitSums& sums) const {
  return {{"energy_kept", sums.energy_kept()},
          {"cosine_task_proj", sums.cosine_task_proj()},
          {"cosine_task_align",
           settings_.readings.align_cosine ? sums.published_cosine_task_align() : sums.cosine_task_align()},
          {"energy_removed", sums.energy_removed()}};
}

std::vector<ProjectionRun::Cell> ProjectionRun::cells(const BasisChoice& choice, size_t finetuned) const {
  std::vector<Cell> all;
  for (const double fraction : settings_.fractions) {
    for (const Mode mode : settings_.modes) {
      const ProjectionCell cell{sources_.finetuned[finetuned]->name(),
                                std::string(name(choice.basis)),
                                std::string(name(mode)),
                                fraction,
                                choice.draw,
                                std::string(name(choice.sides))};
      all.push_back({cell, choice, mode, finetuned, fraction});
    }
  }
  return all;
}

bool ProjectionRun::finished(const Family& family) const {
  for (const BasisChoice& choice : family) {
    for (size_t finetuned = 0; finetuned < sources_.finetuned.size(); ++finetuned) {
      for (const Cell& cell : cells(choice, finetuned)) {
        if (!finished(cell.cell)) return false;
      }
    }
  }
  return true;
}

void ProjectionRun::append_result(const ProjectionCell& cell, const SplitSums& sums, const NamedCells& more) {
  NamedCells row = cell.key();
  if (sums.update > 0.0) row = joined(row, energy_cells(sums));
  results_.append(joined(row, more));
  results_.write_now_and_then();
  if (progress_) progress_->advance();
  context_.stop_if_interrupted();
}

void ProjectionRun::run_plain_models() {
  const auto run = [&](const WeightSource& source, const SplitSums& sums) {
    const ProjectionCell cell{source.name()};
    append_result(cell, sums, consumer_ ? consumer_(cell, source, stored_weights(source)) : NamedCells{});
  };
  for (const WeightSource* source : {sources_.base, sources_.aligned}) {
    if (!finished({source->name()})) run(*source, {});
  }
  for (size_t i = 0; i < sources_.finetuned.size(); ++i) {
    if (!finished({sources_.finetuned[i]->name()})) run(*sources_.finetuned[i], whole_model_sums(i));
  }
}

SplitSums ProjectionRun::whole_model_sums(size_t finetuned) {
  std::vector<SplitSums> sums(tensors_.size());
  const auto measure = [&](size_t i) {
    const Tensor d = difference(context_.stream, *sources_.finetuned[finetuned], *sources_.aligned, tensors_[i]);
    const Tensor v = difference(context_.stream, *sources_.aligned, *sources_.base, tensors_[i]);
    sums[i].update = runtime::linalg::squared_norm(context_.stream, d);
    sums[i].alignment = runtime::linalg::squared_norm(context_.stream, v);
    sums[i].update_alignment = runtime::linalg::inner_product(context_.stream, d, v);
    sums[i] = apply_mode(sums[i], Mode::orth, 0.0);  // the whole update is applied
  };
  runtime::linalg::for_each_matrix_within(
      context_.stream, tensors_.size(), budget(),
      [&](size_t i) { return factor_workspace_bytes(sources_.aligned->info(tensors_[i]).shape, 0); }, measure,
      [&] { context_.stop_if_interrupted(); });
  SplitSums total;
  for (const auto& tensor : counted()) total += sums[tensor.second];
  return total;
}

void ProjectionRun::run_family(const Family& family) {
  const std::vector<Factors> factors = make_all_factors(family);
  report_energies(family, factors);
  for (const BasisChoice& choice : family) {
    for (size_t finetuned = 0; finetuned < sources_.finetuned.size(); ++finetuned) {
      run_models(choice, finetuned, factors);
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(context_.dir.state() / "factors", ignored);
}

int64_t ProjectionRun::budget() const {
  return settings_.memory_budget > 0 ? settings_.memory_budget : runtime::available_memory(context_.stream) / 2;
}

std::vector<Factors> ProjectionRun::make_all_factors(const Family& family) {
  FactorOptions options;
  options.basis = settings_.basis;
  const Sides sides = family.front().sides;
  options.keep = consumer_ || sides == Sides::both;
  for (const double fraction : settings_.fractions) {
    if (splits_by_rank(fraction)) options.largest_fraction = std::max(options.largest_fraction, fraction);
  }
  const bool leading =
      std::all_of(family.begin(), family.end(), [](const BasisChoice& choice) { return choice.basis == Basis::top_k; });
  if (leading) options.leading_fraction = options.largest_fraction;  // random_k draws from all vectors
  const auto finetuned = static_cast<int64_t>(sources_.finetuned.size());
  const auto shape = [&](size_t i) { return sources_.aligned->info(tensors_[i]).shape; };
  int64_t kept = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) kept += factor_bytes(shape(i), finetuned, sides);
  const bool spill = options.keep && kept > budget();
  if (spill) {
    context_.log.info("the factors of all tensors need {} MiB, more than memory allows: they are kept on the disk",
                      kept >> 20);
  }
  std::vector<Factors> factors(tensors_.size());
  auto progress = context_.progress.begin(fmt::format("decompose ({}, {})", name(family.front().basis), name(sides)),
                                          static_cast<int64_t>(tensors_.size()), "tensors");
  const auto finish = [&](size_t i, const runtime::linalg::LeftBasis& basis) {
    factors[i] = make_factors(context_.stream, sources_, tensors_[i], family.front(), options, basis);
    if (spill) factors[i].spill(context_.stream, context_.dir.state() / "factors" / fmt::format("{}.safetensors", i));
    progress.advance();
  };
  runtime::linalg::for_each_range_within(
      context_.stream, tensors_.size(), budget(),
      [&](size_t i) { return factor_workspace_bytes(shape(i), finetuned, sides); },
      [&](size_t begin, size_t end) {
        runtime::linalg::for_each_basis(
            context_.stream, end - begin,
            [&](size_t i) {
              return basis_request(context_.stream, sources_, tensors_[begin + i], family.front(), options);
            },
            [&](size_t i, const runtime::linalg::LeftBasis& basis) { finish(begin + i, basis); });
      },
      [&] { context_.stop_if_interrupted(); });
  return factors;
}

std::vector<std::vector<int64_t>> ProjectionRun::orders_of(const BasisChoice& choice,
                                                           const std::vector<Factors>& factors) const {
  std::vector<std::vector<int64_t>> orders;
  for (const Factors& each : factors) orders.push_back(each.order(choice));
  return orders;
}

void ProjectionRun::report_energies(const Family& family, const std::vector<Factors>& factors) {
  for (const BasisChoice& choice : family) {
    const std::vector<std::vector<int64_t>> orders = orders_of(choice, factors);
    for (size_t finetuned = 0; finetuned < sources_.finetuned.size(); ++finetuned) {
      for (const Cell& cell : cells(choice, finetuned)) report_cell(cell, orders, factors);
    }
  }
  tensor_rows_.write();
  layer_rows_.write();
}

void ProjectionRun::report_cell(const Cell& cell, const std::vector<std::vector<int64_t>>& orders,
                                const std::vector<Factors>& factors) {
  SplitSums total;
  std::vector<std::pair<std::string, SplitSums>> groups;  // in the order of the tensors
  for (const auto& [tensor, i] : counted()) {
    const Factors& each = factors[i];
    const SplitSums sums = apply_mode(each.sums[cell.finetuned], cell.mode,
                                      each.parallel_energy(cell.finetuned, orders[i], cell.fraction));
    total += sums;
    const std::string group = settings_.readings.layer_names ? tensor.substr(0, tensor.find('.')) : group_of(tensor);
    const auto found =
        std::find_if(groups.begin(), groups.end(), [&](const auto& known) { return known.first == group; });
    if (found == groups.end()) {
      groups.emplace_back(group, sums);
    } else {
      found->second += sums;
    }
    const int64_t k = each.rank_at(cell.fraction);
    NamedCells row = joined({{"tensor", tensor}}, joined(cell.cell.key(), energy_cells(sums)));
    row = joined(std::move(row), {{"rows", each.rows},
                                  {"cols", each.cols},
                                  {"k", k},
                                  {"rank", each.rank},
                                  {"method", each.method},
                                  {"residual", each.residual}});
    if (!each.singular_values.empty()) {
      row.emplace_back("unique", runtime::linalg::unique_at(each.singular_values, k) ? 1 : 0);
    }
    tensor_rows_.append(row);
  }
  for (const auto& group : groups) {
    layer_rows_.append(joined({{"layer", group.first}}, joined(cell.cell.key(), energy_cells(group.second))));
  }
  sums_[cell.cell.label()] = total;
}

void ProjectionRun::run_models(const BasisChoice& choice, size_t finetuned, const std::vector<Factors>& factors) {
  const std::vector<std::vector<int64_t>> orders = orders_of(choice, factors);
  ParallelParts parts(context_.stream, sources_, finetuned, factors, orders);
  for (const Cell& cell : cells(choice, finetuned)) {
    if (finished(cell.cell)) continue;
    NamedCells scores;
    if (consumer_) {
      parts.advance(cell.fraction);
      scores = consumer_(cell.cell, *sources_.finetuned[finetuned], projected_weights(cell, parts.parts()));
    }
    append_result(cell.cell, sums_.at(cell.cell.label()), scores);
  }
}

model::NamedTensors ProjectionRun::projected_weights(const Cell& cell, const std::vector<Tensor>& parallel) const {
  model::NamedTensors weights = stored_weights(*sources_.finetuned[cell.finetuned]);
  replace_tensors(
      context_.stream, *sources_.aligned, tensors_, [&](size_t i) { return apply(cell, tensors_[i], parallel[i]); },
      weights);
  return weights;
}

Tensor ProjectionRun::apply(const Cell& cell, const std::string& tensor, const Tensor& parallel) const {
  const WeightSource& aligned = *sources_.aligned;
  Tensor weights = aligned.load(context_.stream, tensor);
  Stream& stream = context_.stream;
  Tensor applied = parallel;
  if (cell.mode == Mode::orth) {
    applied = difference(stream, *sources_.finetuned[cell.finetuned], aligned, tensor);
    runtime::linalg::add_scaled(stream, parallel, -1.0, applied);
  }
  if (settings_.rounding == Rounding::float16) applied = applied.to(stream, DType::float16).to(stream, DType::float32);
  runtime::linalg::add_scaled(stream, applied, cell.mode == Mode::opp ? -1.0 : 1.0, weights);
  return weights;
}

}  // namespace subspect::experiments::subspace
