// Parameter: a trained tensor, its gradient, and the safetensors names of the weights that it holds.
#pragma once

#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace subspect::runtime {

/// Weights that one product reads together are stored together (q, k and v; gate and up): `value` is then the
/// weights stacked along rows, and each part names a range of rows. Most parameters have one part.
struct Parameter {
  struct Part {
    std::string name;       ///< in the checkpoint, for example "model.layers.0.self_attn.q_proj.weight"
    int64_t row_begin = 0;  ///< along the first axis of `value`
    int64_t row_end = 0;
  };

  std::vector<Part> parts;
  Tensor value;  ///< in the model's dtype
  Tensor grad;   ///< float32, same shape; undefined until `allocate_grad`. Ops add to it.

  bool trained() const { return grad.defined(); }
  void allocate_grad(Stream& stream) {
    const MemoryScope scope(*stream.allocator(), MemoryTag::gradients);
    grad = Tensor::zeros(stream, value.shape(), DType::float32);
  }
  /// The rows of one part, sharing memory.
  Tensor part_value(const Part& part) const { return value.narrow(0, part.row_begin, part.row_end - part.row_begin); }
};

}  // namespace subspect::runtime
