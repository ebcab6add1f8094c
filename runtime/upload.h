// Small arrays that the host prepares for a forward pass, on their way to the device.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/tensor.h"

namespace subspect::runtime {

/// Each array as an int32 tensor of one axis. They share memory, so that there is one copy to the device for all of
/// them.
std::vector<Tensor> upload_together(Stream& stream, std::span<const std::span<const int32_t>> arrays);

/// The bytes of the values on the stream's device: uint8 [bytes].
template <class T>
Tensor upload_bytes(Stream& stream, std::span<const T> values) {
  const auto bytes = static_cast<int64_t>(values.size_bytes());
  Tensor tensor = Tensor::empty(stream, {bytes}, DType::uint8);
  stream.copy_from_host(tensor.raw(), values.data(), bytes);
  return tensor;
}

}  // namespace subspect::runtime
