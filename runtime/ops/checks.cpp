// Checks of operands.
#include "runtime/ops/checks.h"

namespace subspect::runtime::ops {

namespace {

void require_usable(const Stream& stream, const Tensor& tensor, std::string_view op, std::string_view what) {
  require(tensor.defined(), op, "{} must be defined.", what);
  require(tensor.device() == stream.device(), op, "{} must be on {}. Received {}.", what, stream.device().to_string(),
          tensor.device().to_string());
  require(tensor.is_contiguous(), op, "{} must be contiguous. Received {} with strides [{}].", what,
          to_string(tensor.shape()), fmt::join(tensor.strides(), ", "));
}

}  // namespace

void require_matrix(const Stream& stream, const Tensor& tensor, std::string_view op, std::string_view what) {
  require_usable(stream, tensor, op, what);
  require(tensor.dim() == 2, op, "{} must have two axes. Received {}.", what, to_string(tensor.shape()));
}

void require_tensor(const Stream& stream, const Tensor& tensor, const Shape& shape, DType dtype, std::string_view op,
                    std::string_view what) {
  require_usable(stream, tensor, op, what);
  require(tensor.shape() == shape && tensor.dtype() == dtype, op, "{} must be {} {}. Received {} {}.", what,
          name(dtype), to_string(shape), name(tensor.dtype()), to_string(tensor.shape()));
}

}  // namespace subspect::runtime::ops
