// From a stream and an element type to the kernel instance that serves them. The only file that knows whether CUDA was
// built in.
#pragma once

#include <string_view>

#include "runtime/device.h"
#include "runtime/dtype.h"
#include "runtime/error.h"

namespace subspect::runtime {

#ifdef SUBSPECT_CUDA
inline constexpr bool built_with_cuda = true;
#else
inline constexpr bool built_with_cuda = false;
#endif

/// Calls `body.operator()<D>(context)` with the backend D of the stream and its context.
template <class Body>
decltype(auto) dispatch_device(const Stream& stream, Body&& body) {
#ifdef SUBSPECT_CUDA
  if (stream.device().type == DeviceType::cuda) {
    const ActiveGpu active(stream);
    return body.template operator()<kernels::Cuda>(stream.context<kernels::Cuda>());
  }
#endif
  return body.template operator()<kernels::Cpu>(stream.context<kernels::Cpu>());
}

/// Calls `body.operator()<D, T>(context)` where T is the element type, float32 or bfloat16; throws Error for others.
///
///     dispatch(on.stream, x.dtype(), "add", [&]<class D, class T>(kernels::Context<D> context) {
///       kernels::add<D, T>(context, a.data<T>(), b.data<T>(), y.data<T>(), y.numel());
///     });
template <class Body>
decltype(auto) dispatch(const Stream& stream, DType dtype, std::string_view op, Body&& body) {
  require(dtype == DType::float32 || dtype == DType::bfloat16, op,
          "the element type must be float32 or bfloat16. Received {}.", name(dtype));
  return dispatch_device(stream, [&]<class D>(kernels::Context<D> context) -> decltype(auto) {
    if (dtype == DType::bfloat16) return body.template operator()<D, bfloat16>(context);
    return body.template operator()<D, float>(context);
  });
}

}  // namespace subspect::runtime
