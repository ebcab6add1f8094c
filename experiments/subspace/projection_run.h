// One projection study: decomposes every matrix once per family of bases, writes the energies of every cell, and forms
// the weights of each projected model in memory for whoever wants them (evaluation, saving).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/factors.h"
#include "experiments/subspace/keyed_table.h"
#include "model/checkpoint.h"

namespace subspect::experiments::subspace {

/// What the weights are rounded through before they are stored in the checkpoint's dtype.
enum class Rounding {
  checkpoint,  ///< A + Q in float32, then the checkpoint's dtype
  float16,     ///< Q to float16 first, as the reference implementation
};

/// Readings of the study's scripts (experiments/deviations.h); none is the right one.
struct PublishedReadings {
  bool align_cosine = false;
  bool layer_names = false;
  bool tied_twice = false;
};

struct ProjectionSettings {
  std::vector<Basis> bases = {Basis::top_k, Basis::random_k, Basis::random};
  std::vector<Mode> modes = {Mode::same, Mode::orth};
  std::vector<Sides> sides = {Sides::left};
  std::vector<double> fractions = {0.01, 0.25, 0.5, 0.75, 0.99};
  int64_t draws = 1;  ///< of random_k and random
  std::vector<std::string> tensors = {"*"};
  Rounding rounding = Rounding::checkpoint;
  runtime::linalg::BasisOptions basis;  ///< the rank follows from the fractions
  PublishedReadings readings;
  uint64_t seed = 42;
  int64_t memory_budget = 0;  ///< bytes for factors and workspaces; 0: half of what is available
};

/// A row of the results: a model, projected or not.
struct ProjectionCell {
  std::string model;
  std::string basis = "none";
  std::string mode = "none";
  std::optional<double> fraction = {};  ///< of projected models, as is
  std::optional<int64_t> draw = {};
  std::string side = "none";

  /// "top_k", or "top_k/right" on another side than the left: what the statistics and the report call the basis.
  std::string sided_basis(std::string_view separator = "/") const;
  /// The columns that identify the row.
  NamedCells key() const;
  /// "useful-top_k-same-0.25", with "-DRAW" for random bases, and "-right" or "-both" after the basis.
  std::string label() const;
};

/// Receives the weights of a model under their checkpoint names; returns further cells of its row.
/// @param origin the checkpoint whose config and tokenizer the model has.
using ModelConsumer = std::function<NamedCells(const ProjectionCell& cell, const WeightSource& origin,
                                               const model::NamedTensors& weights)>;

/// The columns of results.csv: those that the contract names, what is among `scores` besides, and the side.
std::vector<std::string> projection_columns(const std::vector<std::string>& scores = {});

class ProjectionRun {
 public:
  /// Throws Error when the checkpoints do not have the same tensors, UsageError for a glob that matches nothing.
  /// @param columns of results.csv: projection_columns() of what the consumer adds.
  /// @param consumer may be empty: energies alone, and no weights are ever formed.
  ProjectionRun(RunContext& context, ProjectionSettings settings, UpdateSources sources,
                const std::vector<std::string>& columns, ModelConsumer consumer);

  /// Appends the rows that are missing. Throws Interrupted between two models or batches of tensors.
  void run();

 private:
  /// One projected model and how it is made.
  struct Cell {
    ProjectionCell cell;
    BasisChoice choice;
    Mode mode;
    size_t finetuned;
    double fraction;
  };
  using Family = std::vector<BasisChoice>;

  std::vector<Family> families() const;
  /// What the sums count: names, and the index among `tensors_` of the tensor that each stands for.
  std::vector<std::pair<std::string, size_t>> counted() const;
  NamedCells energy_cells(const SplitSums& sums) const;
  std::vector<Cell> cells(const BasisChoice& choice, size_t finetuned) const;
  bool finished(const ProjectionCell& cell) const { return results_.contains(cell.key()); }
  bool finished(const Family& family) const;

  void run_plain_models();
  void run_family(const Family& family);
  std::vector<Factors> make_all_factors(const Family& family);
  void report_energies(const Family& family, const std::vector<Factors>& factors);
  void report_cell(const Cell& cell, const std::vector<std::vector<int64_t>>& orders,
                   const std::vector<Factors>& factors);
  void run_models(const BasisChoice& choice, size_t finetuned, const std::vector<Factors>& factors);
  void append_result(const ProjectionCell& cell, const SplitSums& sums, const NamedCells& more);

  std::vector<std::vector<int64_t>> orders_of(const BasisChoice& choice, const std::vector<Factors>& factors) const;
  SplitSums whole_model_sums(size_t finetuned);
  model::NamedTensors projected_weights(const Cell& cell, const std::vector<runtime::Tensor>& parallel) const;
  runtime::Tensor apply(const Cell& cell, const std::string& tensor, const runtime::Tensor& parallel) const;
  int64_t budget() const;

  RunContext& context_;
  ProjectionSettings settings_;
  UpdateSources sources_;
  KeyedTable results_;
  KeyedTable tensor_rows_;
  KeyedTable layer_rows_;
  ModelConsumer consumer_;
  std::vector<std::string> tensors_;
  std::map<std::string, SplitSums> sums_;  // of finished energies, by label
  std::optional<runtime::ProgressTask> progress_;
};

}  // namespace subspect::experiments::subspace
