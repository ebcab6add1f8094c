// Deviations: the readings of the published study's scripts that this program takes to be mistakes, each under a name,
// so that a published figure can be matched on purpose. All are off by default; those that are on stand in the resolved
// configuration, the log and the report. docs/deviations.md says how much each of them changes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "experiments/config/fields.h"

namespace subspect::experiments {

/// One wrong reading.
struct Deviation {
  std::string_view kind;  ///< of the experiment, or of the task, that has it
  std::string_view name;  ///< as `deviations:` lists it
  std::string_view what;  ///< what is done then, one clause
};

/// Every deviation, in the order of the experiments.
const std::vector<Deviation>& known_deviations();

/// The field `deviations` of an experiment or task of this kind.
void visit_deviations(Fields& f, std::string_view kind, std::vector<std::string>& chosen);

bool deviates(const std::vector<std::string>& chosen, std::string_view name);

/// "name: what is done" of every deviation that a resolved configuration (its YAML) asks for, each once. A study's
/// configuration has those of all its stages.
std::vector<std::string> deviations_of(std::string_view resolved_yaml);

}  // namespace subspect::experiments
