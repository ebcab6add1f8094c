// What an overlap compares: single tensors, or the tensors of a decoder layer stacked along rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/subspace/weights.h"

namespace subspect::experiments::subspace {

enum class Granularity { tensor, layer };
std::string_view name(Granularity granularity);

/// Tensors with one number of columns whose rows are stacked into one matrix.
struct UpdateGroup {
  std::string name;  ///< the tensor, or "64 columns, layers.3"
  Granularity granularity = Granularity::tensor;
  std::vector<std::string> tensors;
  int64_t rows = 0;
  int64_t cols = 0;

  /// What was stacked, for tables: "self_attn.q_proj.weight + mlp.up_proj.weight"; the tensor itself for one.
  std::string stacked() const;
};

/// Groups of the tensors, in their order. A 1-D tensor is a column. By layer: the tensors of each decoder layer with
/// the same number of columns; tensors outside the layers are left out.
std::vector<UpdateGroup> make_groups(const WeightSource& source, const std::vector<std::string>& tensors,
                                     Granularity granularity);

/// The group's update model - reference, [rows, cols] float32.
runtime::Tensor stacked_update(runtime::Stream& stream, const WeightSource& model, const WeightSource& reference,
                               const UpdateGroup& group);

}  // namespace subspect::experiments::subspace
