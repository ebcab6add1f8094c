// Copies between host and device, queued and waited for as CUDA says, and memset.
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "tests/simt/cuda/internal.h"

namespace emulated {

namespace {

struct Copy {
  std::byte* to;
  size_t to_pitch;
  const std::byte* from;
  size_t from_pitch;
  size_t width;
  size_t height;

  size_t to_bytes() const { return height == 0 ? 0 : (height - 1) * to_pitch + width; }
  size_t from_bytes() const { return height == 0 ? 0 : (height - 1) * from_pitch + width; }
};

enum class Place : uint8_t { device, pinned, pageable };

bool in_address_space(const void* memory) {
  const auto* byte = static_cast<const std::byte*>(memory);
  return byte >= simt::device_memory() && byte < simt::device_memory() + simt::device_memory_bytes();
}

Place place(const void* memory, size_t bytes) {
  if (in_address_space(memory)) return Place::device;
  return is_pinned(memory, bytes) ? Place::pinned : Place::pageable;
}

bool matches(cudaMemcpyKind kind, Place to, Place from) {
  const bool to_device = to == Place::device;
  const bool from_device = from == Place::device;
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    default:
      return kind == cudaMemcpyDefault;
  }
}

void check_side(const void* memory, size_t bytes, Place where, simt::Access access) {
  if (where == Place::device) {
    simt::access_device(memory, bytes, access);
  } else if (where == Place::pinned && !is_pinned(memory, bytes)) {
    throw std::runtime_error("pinned memory was given back before the copy ran");
  }
}

void run_copy(const Copy& copy, Place to, Place from) {
  simt::begin_library_call("copy");
  for (size_t row = 0; row < copy.height; ++row) {
    check_side(copy.from + row * copy.from_pitch, copy.width, from, simt::Access::read);
    check_side(copy.to + row * copy.to_pitch, copy.width, to, simt::Access::write);
    std::memmove(copy.to + row * copy.to_pitch, copy.from + row * copy.from_pitch, copy.width);
  }
}

/// Queues the copy; pageable sources are read now. Waits where CUDA says that it does.
cudaError_t queue_copy(Copy copy, CUstream_st* stream, bool synchronous) {
  const Place to = place(copy.to, copy.to_bytes());
  const Place from = place(copy.from, copy.from_bytes());
  const bool upload = to == Place::device && from != Place::device;
  std::shared_ptr<std::vector<std::byte>> staged;
  if (upload && from == Place::pageable && !is_capturing(stream)) {
    if (synchronous && stream->last != nullptr) run_until(stream->last);
    staged = std::make_shared<std::vector<std::byte>>(copy.from, copy.from + copy.from_bytes());
    copy.from = staged->data();
  }
  const auto operation = enqueue(stream, "copy", [copy, to, from, staged] { run_copy(copy, to, from); });
  const bool on_host = to != Place::device && from != Place::device;
  const bool waits = on_host || (from == Place::device && to == Place::pageable) ||
                     (synchronous && (from == Place::pinned || to == Place::pinned));
  if (waits && operation != nullptr) run_until(operation);
  return device().fault.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t copy_memory(const Copy& copy, cudaMemcpyKind kind, cudaStream_t handle, bool synchronous) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  if (copy.width == 0 || copy.height == 0) return cudaSuccess;
  const Place to = place(copy.to, copy.to_bytes());
  const Place from = place(copy.from, copy.from_bytes());
  if (!matches(kind, to, from)) return refuse(cudaErrorInvalidValue, "the kind of copy does not match its pointers");
  if (copy.height > 1 && (copy.width > copy.to_pitch || copy.width > copy.from_pitch)) {
    return refuse(cudaErrorInvalidPitchValue, "a row is longer than the pitch");
  }
  if ((to == Place::device && !is_device_memory(copy.to, copy.to_bytes())) ||
      (from == Place::device && !is_device_memory(copy.from, copy.from_bytes()))) {
    return refuse(cudaErrorInvalidValue, "a copy beyond a block of device memory");
  }
  return queue_copy(copy, stream, synchronous);
}

Copy flat(void* to, const void* from, size_t bytes) {
  return {static_cast<std::byte*>(to), bytes, static_cast<const std::byte*>(from), bytes, bytes, 1};
}

cudaError_t set_memory(void* memory, int value, size_t bytes, cudaStream_t handle) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  if (bytes == 0) return cudaSuccess;
  if (!is_device_memory(memory, bytes)) return refuse(cudaErrorInvalidValue, "memset beyond a block of device memory");
  enqueue(stream, "memset", [memory, value, bytes] {
    simt::begin_library_call("memset");
    simt::access_device(memory, bytes, simt::Access::write);
    std::memset(memory, value, bytes);
  });
  return cudaSuccess;
}

}  // namespace

}  // namespace emulated

using namespace emulated;

EMULATED_ENTRY(cudaMemcpy);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return runtime_call("cudaMemcpy", [&] { return copy_memory(flat(to, from, bytes), kind, nullptr, true); });
}

EMULATED_ENTRY(cudaMemcpyAsync);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return runtime_call("cudaMemcpyAsync", [&] { return copy_memory(flat(to, from, bytes), kind, stream, false); });
}

EMULATED_ENTRY(cudaMemcpy2DAsync);
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return runtime_call("cudaMemcpy2DAsync", [&] {
    const Copy copy{
        static_cast<std::byte*>(to), to_pitch, static_cast<const std::byte*>(from), from_pitch, width, height};
    return copy_memory(copy, kind, stream, false);
  });
}

EMULATED_ENTRY(cudaMemset);
cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  return runtime_call("cudaMemset", [&] { return set_memory(memory, value, bytes, nullptr); });
}

EMULATED_ENTRY(cudaMemsetAsync);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return runtime_call("cudaMemsetAsync", [&] { return set_memory(memory, value, bytes, stream); });
}
