// The fields by which an experiment says how its matrices are decomposed.
#pragma once

#include <string>

#include "experiments/config/fields.h"
#include "experiments/experiment.h"
#include "runtime/linalg/left_basis.h"

namespace subspect::experiments::subspace {

struct DecompositionFields {
  std::string method = "auto";
  double tolerance = runtime::linalg::default_tolerance;
  std::string eigensolver = "auto";

  void visit(Fields& f);

  /// As they are asked for, with the eigensolver chosen: on a GPU the log says which, and why.
  runtime::linalg::BasisOptions options(RunContext& context) const;
};

}  // namespace subspect::experiments::subspace
