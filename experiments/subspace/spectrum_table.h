// Spectra of the difference between two checkpoints: what `subspect spectrum A B` prints.
#pragma once

#include <string>
#include <vector>

#include "experiments/subspace/weights.h"
#include "experiments/table.h"
#include "runtime/linalg/left_basis.h"

namespace subspect::experiments::subspace {

struct SpectrumOptions {
  std::vector<std::string> globs = {"*"};
  std::vector<double> energies = {0.1, 0.5, 0.9, 0.99};
  runtime::linalg::BasisMethod method = runtime::linalg::BasisMethod::automatic;
};

/// One row for each tensor of B - A: tensor, rows, cols, norm (Frobenius), relative_norm (to ||A||), rank,
/// effective_rank, stable_rank, k_E for each energy E, method, residual. Throws Error naming the tensor and both shapes
/// when the checkpoints do not match, UsageError for a glob that matches nothing.
Table spectrum_table(runtime::Stream& stream, const WeightSource& a, const WeightSource& b,
                     const SpectrumOptions& options = {});

}  // namespace subspect::experiments::subspace
