// What ops check about their operands, and the small helpers that all of them share.
#pragma once

#include <string_view>

#include "runtime/error.h"
#include "runtime/tape.h"

namespace subspect::runtime::ops {

/// A contiguous tensor of two axes on the stream's device.
void require_matrix(const Stream& stream, const Tensor& tensor, std::string_view op, std::string_view what);

/// A contiguous tensor of exactly this shape and element type on the stream's device.
void require_tensor(const Stream& stream, const Tensor& tensor, const Shape& shape, DType dtype, std::string_view op,
                    std::string_view what);

/// Scratch memory for one kernel call.
inline Tensor workspace(Stream& stream, int64_t bytes) {
  const MemoryScope scope(*stream.allocator(), MemoryTag::workspace);
  return Tensor::empty(stream, {bytes}, DType::uint8);
}

/// `grad` itself where nobody else sees it (a kernel may then write over it), else new memory of its shape.
inline Tensor reuse_or_empty(Stream& stream, const Tensor& grad) {
  return grad.is_sole_owner() ? grad : Tensor::empty(stream, grad.shape(), grad.dtype());
}

/// Where a kernel adds a parameter's gradient: nullptr when it is not trained.
inline float* grad_data(const Parameter& parameter) {
  return parameter.trained() ? parameter.grad.data<float>() : nullptr;
}

}  // namespace subspect::runtime::ops
