// Grouping and stacking of tensors.
#include "experiments/subspace/update_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace subspect::experiments::subspace {

namespace {

using runtime::DType;
using runtime::Tensor;

/// Rows and columns of a tensor seen as a matrix.
std::pair<int64_t, int64_t> matrix_shape(const runtime::Shape& shape) {
  if (shape.empty()) return {1, 1};
  return {shape[0], std::accumulate(shape.begin() + 1, shape.end(), int64_t{1}, std::multiplies<>())};
}

/// "self_attn.q_proj.weight" of "model.layers.3.self_attn.q_proj.weight".
std::string within_layer(const std::string& tensor) {
  const std::string layer = decoder_layer_of(tensor) + ".";
  const size_t begin = tensor.find(layer);
  return begin == std::string::npos || layer == "." ? tensor : tensor.substr(begin + layer.size());
}

}  // namespace

std::string_view name(Granularity granularity) {
  return granularity == Granularity::tensor ? "tensor" : "layer";
}

std::string UpdateGroup::stacked() const {
  if (granularity == Granularity::tensor) return tensors.front();
  std::string all;
  for (const std::string& tensor : tensors) all += (all.empty() ? "" : " + ") + within_layer(tensor);
  return all;
}

std::vector<UpdateGroup> make_groups(const WeightSource& source, const std::vector<std::string>& tensors,
                                     Granularity granularity) {
  std::vector<UpdateGroup> groups;
  for (const std::string& tensor : tensors) {
    const auto [rows, cols] = matrix_shape(source.info(tensor).shape);
    if (rows == 0 || cols == 0) continue;
    std::string group = tensor;
    if (granularity == Granularity::layer) {
      const std::string layer = decoder_layer_of(tensor);
      if (layer.empty()) continue;
      group = fmt::format("{} {}, {}", cols, cols == 1 ? "column" : "columns", layer);
    }
    auto found =
        std::find_if(groups.begin(), groups.end(), [&](const UpdateGroup& known) { return known.name == group; });
    if (found == groups.end()) found = groups.insert(groups.end(), {group, granularity, {}, 0, cols});
    found->tensors.push_back(tensor);
    found->rows += rows;
  }
  return groups;
}

Tensor stacked_update(runtime::Stream& stream, const WeightSource& model, const WeightSource& reference,
                      const UpdateGroup& group) {
  if (group.tensors.size() == 1) return as_matrix(difference(stream, model, reference, group.tensors.front()));
  Tensor stack = Tensor::empty(stream, {group.rows, group.cols}, DType::float32);
  int64_t row = 0;
  for (const std::string& tensor : group.tensors) {
    const Tensor part = difference(stream, model, reference, tensor);
    const int64_t rows = part.numel() / group.cols;
    stack.narrow(0, row, rows).copy_from(stream, part.view({rows, group.cols}));
    row += rows;
  }
  return stack;
}

}  // namespace subspect::experiments::subspace
