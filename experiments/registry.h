// The experiments there are: one line each in registry.cpp.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/experiment.h"

namespace subspect::experiments {

struct ExperimentInfo {
  std::string_view kind;
  std::string_view summary;  ///< one line for `subspect list experiments`
  std::unique_ptr<Experiment> (*make)();
};

/// All kinds, in a fixed order.
const std::vector<ExperimentInfo>& experiment_kinds();
std::vector<std::string> experiment_names();

/// A new experiment with its default configuration. Throws UsageError naming the nearest kind for an unknown one.
/// @param where of the word, for the error.
std::unique_ptr<Experiment> make_experiment(std::string_view kind, const std::string& where);

}  // namespace subspect::experiments
