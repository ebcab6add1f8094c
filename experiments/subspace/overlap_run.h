// One overlap study: every model's update of every group is decomposed once and compared with its partners.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/keyed_table.h"
#include "experiments/subspace/subspace_pair.h"
#include "experiments/subspace/update_groups.h"

namespace subspect::experiments::subspace {

struct OverlapSettings {
  std::vector<std::pair<size_t, size_t>> pairs;  ///< indices of models
  std::vector<Granularity> granularity = {Granularity::tensor, Granularity::layer};
  std::vector<Side> sides = {Side::left};
  std::vector<double> energies = {0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99};
  std::vector<std::string> tensors = {"*"};
  std::vector<double> angle_energies;   ///< of `energies`: those whose principal angles are written
  int64_t spectrum_points = 64;         ///< singular values listed per matrix, evenly spaced in log(index); 0: none
  runtime::linalg::BasisOptions basis;  ///< the energy is the largest of `energies`
  int64_t baseline_draws = 0;           ///< pairs of random subspaces that check mso_random; 0: none
  uint64_t seed = 0;                    ///< of those
  int64_t memory_budget = 0;            ///< bytes; 0: half of what is available
};

class OverlapRun {
 public:
  /// Throws Error when the checkpoints do not have the same tensors, UsageError for a glob that matches nothing.
  OverlapRun(RunContext& context, OverlapSettings settings, const WeightSource& reference,
             std::vector<const WeightSource*> models);

  /// Appends the rows that are missing: results.csv, groups.csv, spectra.csv and, if asked for, angles.csv.
  void run();

 private:
  /// Rows of one group, made on any thread and appended in order.
  struct Output {
    bool done = false;
    std::vector<NamedCells> results, groups, spectra, angles;
  };

  bool finished(const UpdateGroup& group) const;
  std::vector<std::vector<runtime::linalg::LeftBasis>> left_bases(std::span<const UpdateGroup* const> groups) const;
  Output compute(const UpdateGroup& group, const std::vector<runtime::linalg::LeftBasis>& left) const;
  void describe(const UpdateGroup& group, size_t model, const runtime::linalg::LeftBasis& basis, Output& output) const;
  void compare(const UpdateGroup& group, std::pair<size_t, size_t> pair,
               const std::vector<runtime::linalg::LeftBasis>& bases, Side side, Output& output) const;
  void append(const Output& output);
  int64_t workspace_bytes(const UpdateGroup& group) const;

  RunContext& context_;
  OverlapSettings settings_;
  const WeightSource& reference_;
  std::vector<const WeightSource*> models_;
  std::vector<UpdateGroup> groups_;
  KeyedTable results_;
  KeyedTable group_rows_;
  KeyedTable spectra_;
  KeyedTable angles_;
};

/// `count` indices (counted from 1) up to `last`, evenly spaced in their logarithm; all when there are no more.
std::vector<int64_t> spaced_indices(int64_t last, int64_t count);

}  // namespace subspect::experiments::subspace
