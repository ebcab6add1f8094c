// SteeringRun: directions, interventions and what the steered model does, row by row.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "experiments/steering.h"
#include "experiments/subspace/keyed_table.h"
#include "experiments/subspace/model_scorer.h"
#include "experiments/subspace/refusal_direction.h"

namespace subspect::experiments::subspace {

/// What is done to the model in one row of results.csv.
struct SteeringRow {
  std::optional<int64_t> layer = {};       ///< none: the unsteered model, and random directions that are ablated
  std::string direction = "none";          ///< difference_of_means, random
  std::string intervention = "none";       ///< ablate, add
  std::optional<double> coefficient = {};  ///< of add: times the difference of the two sets' mean projections
  std::optional<int64_t> draw = {};        ///< of random

  NamedCells key() const;
  /// The row's name in comparisons.csv and of its samples: "unsteered", "layer-2-ablate", "layer-2-add-1-random-0".
  std::string label() const;
  /// The same without the draw.
  std::string control_label() const;
};

/// Every row for these layers, the unsteered model first.
std::vector<SteeringRow> steering_rows(const SteeringConfig& config, const std::vector<int64_t>& layers);

class SteeringRun {
 public:
  SteeringRun(RunContext& context, const SteeringConfig& config);

  /// Takes the directions, chooses the layers, and fills the rows that are missing.
  void run();

 private:
  struct PromptSet {
    std::vector<std::vector<int32_t>> training;
    std::vector<std::vector<int32_t>> held_out;
  };

  PromptSet encode(const PromptSource& source, const std::string& what);
  BatchRequest request(const std::vector<std::vector<int32_t>>& prompts, const std::string& label) const;
  std::vector<Direction> take_directions();
  void save_directions(const std::vector<Direction>& directions) const;
  std::vector<int32_t> find_refusal_tokens();
  std::vector<DirectionEffect> measure_effects(const std::vector<Direction>& directions);
  /// Writes directions.csv; the layers whose directions are used.
  std::vector<int64_t> choose_layers(const std::vector<Direction>& directions);
  std::optional<model::Intervention> intervention(const SteeringRow& row, const std::vector<Direction>& directions);
  NamedCells measure(const SteeringRow& row, const model::Intervention* intervention);
  Score refusal(const std::string& metric, const std::vector<std::vector<int32_t>>& prompts, const std::string& label,
                const model::Intervention* intervention);
  void compare(const std::vector<SteeringRow>& rows);

  RunContext& context_;
  const SteeringConfig& config_;
  std::filesystem::path directory_;
  model::Decoder decoder_;
  model::Tokenizer tokenizer_;
  ModelScorer scorer_;
  PromptSet harmful_;
  PromptSet harmless_;
  std::vector<int32_t> refusal_tokens_;
};

}  // namespace subspect::experiments::subspace
