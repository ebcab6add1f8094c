// Device memory at once and in stream order, its pool, and page-locked host memory.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tests/simt/cuda/internal.h"

namespace emulated {

namespace {

constexpr size_t pool_granularity = 512;
constexpr int compute_major = 8;
constexpr int compute_minor = 0;

size_t rounded(size_t bytes) {
  return (bytes + pool_granularity - 1) / pool_granularity * pool_granularity;
}

bool planned_allocation_failure() {
  return device().allocations_until_failure > 0 && --device().allocations_until_failure == 0;
}

bool has_room(size_t bytes) {
  if (device().used_bytes + rounded(bytes) <= device().options.memory_bytes) return true;
  run_everything();  // what is freed in a queue may make room
  return device().used_bytes + rounded(bytes) <= device().options.memory_bytes;
}

/// Address space for a block; nullptr with the reason why there is none.
void* reserve_block(size_t bytes) {
  if (planned_allocation_failure() || !has_room(bytes)) return nullptr;
  void* memory = simt::reserve_device(bytes);
  if (memory == nullptr) return nullptr;
  device().allocations[memory] = {bytes, false};
  device().used_bytes += rounded(bytes);
  device().used_bytes_high = std::max(device().used_bytes_high, device().used_bytes);
  return memory;
}

void forget_block(void* memory) {
  const auto found = device().allocations.find(memory);
  simt::retire_device(memory, found->second.bytes);
  simt::release_device(memory);
  device().used_bytes -= rounded(found->second.bytes);
  device().allocations.erase(found);
}

/// The live block that begins here; nullptr if none does.
Allocation* live_block(const void* memory) {
  const auto found = device().allocations.find(memory);
  return found == device().allocations.end() || found->second.freed ? nullptr : &found->second;
}

cudaError_t allocate(void** memory, size_t bytes) {
  if (forbidden_by_capture()) return refuse(cudaErrorStreamCaptureUnsupported, "cudaMalloc during a capture");
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  void* block = reserve_block(bytes);
  if (block == nullptr) return cudaErrorMemoryAllocation;
  const OpenDevice opened;
  simt::activate_device(block, bytes);
  *memory = block;
  return cudaSuccess;
}

cudaError_t deallocate(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  if (forbidden_by_capture()) return refuse(cudaErrorStreamCaptureUnsupported, "cudaFree during a capture");
  if (live_block(memory) == nullptr) return refuse(cudaErrorInvalidValue, "not a block of device memory");
  run_everything();
  const OpenDevice opened;
  forget_block(memory);
  return device().fault.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t allocate_in_stream(void** memory, size_t bytes, cudaStream_t handle) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  if (is_capturing(stream)) return refuse(cudaErrorStreamCaptureUnsupported, "the stand-in captures no allocations");
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  void* block = reserve_block(bytes);
  if (block == nullptr) return cudaErrorMemoryAllocation;
  enqueue(stream, "cudaMallocAsync", [block, bytes] {
    simt::activate_device(block, bytes);
    simt::begin_library_call("cudaMallocAsync");
    simt::access_device(block, bytes, simt::Access::write);
  });
  *memory = block;
  return cudaSuccess;
}

cudaError_t free_in_stream(void* memory, cudaStream_t handle) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  if (memory == nullptr) return cudaSuccess;
  if (is_capturing(stream)) return refuse(cudaErrorStreamCaptureUnsupported, "the stand-in captures no frees");
  Allocation* block = live_block(memory);
  if (block == nullptr) return refuse(cudaErrorInvalidValue, "not a block of device memory");
  block->freed = true;
  enqueue(stream, "cudaFreeAsync", [memory, bytes = block->bytes] {
    simt::begin_library_call("cudaFreeAsync");
    simt::access_device(memory, bytes, simt::Access::write);
    forget_block(memory);
  });
  return cudaSuccess;
}

constexpr size_t page_bytes = 4096;

cudaError_t allocate_pinned(void** memory, size_t bytes) {
  if (forbidden_by_capture()) return refuse(cudaErrorStreamCaptureUnsupported, "pinned memory during a capture");
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (planned_allocation_failure()) return cudaErrorMemoryAllocation;
  *memory = std::aligned_alloc(page_bytes, (bytes + page_bytes - 1) / page_bytes * page_bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  device().pinned[*memory] = bytes;
  return cudaSuccess;
}

cudaError_t free_pinned(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  if (forbidden_by_capture()) return refuse(cudaErrorStreamCaptureUnsupported, "pinned memory during a capture");
  if (device().pinned.erase(memory) == 0) return refuse(cudaErrorInvalidValue, "not pinned memory");
  std::free(memory);
  return cudaSuccess;
}

cudaError_t pool_attribute(cudaMemPoolAttr attribute, void* value, bool set) {
  auto* number = static_cast<uint64_t*>(value);
  switch (attribute) {
    case cudaMemPoolAttrReleaseThreshold:
      (set ? device().release_threshold : *number) = set ? *number : device().release_threshold;
      return cudaSuccess;
    case cudaMemPoolAttrReservedMemCurrent:
    case cudaMemPoolAttrUsedMemCurrent:
      if (set) return cudaErrorInvalidValue;
      *number = device().used_bytes;
      return cudaSuccess;
    case cudaMemPoolAttrReservedMemHigh:
    case cudaMemPoolAttrUsedMemHigh:
      if (set && *number != 0) return cudaErrorInvalidValue;
      if (set) device().used_bytes_high = device().used_bytes;
      *number = set ? 0 : device().used_bytes_high;
      return cudaSuccess;
    default:
      return refuse(cudaErrorInvalidValue, "an attribute that the stand-in does not have");
  }
}

cudaMemPool_t default_pool() {
  static char pool = 0;
  return reinterpret_cast<cudaMemPool_t>(&pool);
}

}  // namespace

bool is_pinned(const void* memory, size_t bytes) {
  auto found = device().pinned.upper_bound(memory);
  if (found == device().pinned.begin()) return false;
  --found;
  const auto offset =
      static_cast<size_t>(static_cast<const std::byte*>(memory) - static_cast<const std::byte*>(found->first));
  return offset <= found->second && bytes <= found->second - offset;
}

bool is_device_memory(const void* memory, size_t bytes) {
  const simt::DeviceBlock block = simt::device_block(memory);
  if (block.begin == nullptr || live_block(block.begin) == nullptr) return false;
  const auto offset =
      static_cast<size_t>(static_cast<const std::byte*>(memory) - static_cast<const std::byte*>(block.begin));
  return bytes <= block.bytes - offset;
}

}  // namespace emulated

using namespace emulated;

EMULATED_ENTRY(cudaMemGetInfo);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return runtime_call("cudaMemGetInfo", [&] {
    *total = device().options.memory_bytes;
    *free = *total - std::min(*total, device().used_bytes);
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaMalloc);
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  return runtime_call("cudaMalloc", [&] { return allocate(memory, bytes); });
}

EMULATED_ENTRY(cudaFree);
cudaError_t cudaFree(void* memory) {
  return runtime_call("cudaFree", [&] { return deallocate(memory); });
}

EMULATED_ENTRY(cudaMallocAsync);
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t stream) {
  return runtime_call("cudaMallocAsync", [&] { return allocate_in_stream(memory, bytes, stream); });
}

EMULATED_ENTRY(cudaFreeAsync);
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  return runtime_call("cudaFreeAsync", [&] { return free_in_stream(memory, stream); });
}

EMULATED_ENTRY(cudaDeviceGetDefaultMemPool);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int index) {
  return runtime_call("cudaDeviceGetDefaultMemPool", [&] {
    *pool = default_pool();
    return index == 0 ? cudaSuccess : cudaErrorInvalidDevice;
  });
}

EMULATED_ENTRY(cudaMemPoolSetAttribute);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return runtime_call("cudaMemPoolSetAttribute", [&] {
    return pool == default_pool() ? pool_attribute(attribute, value, true) : cudaErrorInvalidValue;
  });
}

EMULATED_ENTRY(cudaMemPoolGetAttribute);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return runtime_call("cudaMemPoolGetAttribute", [&] {
    return pool == default_pool() ? pool_attribute(attribute, value, false) : cudaErrorInvalidValue;
  });
}

EMULATED_ENTRY(cudaMemPoolTrimTo);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t /*bytes_to_keep*/) {
  return runtime_call("cudaMemPoolTrimTo",
                      [&] { return pool == default_pool() ? cudaSuccess : cudaErrorInvalidValue; });
}

EMULATED_ENTRY(cudaMallocHost);
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  return runtime_call("cudaMallocHost", [&] { return allocate_pinned(memory, bytes); });
}

EMULATED_ENTRY(cudaHostAlloc);
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned flags) {
  return runtime_call("cudaHostAlloc", [&] {
    const unsigned known = cudaHostAllocPortable | cudaHostAllocWriteCombined;
    if ((flags & ~known) != 0) return refuse(cudaErrorInvalidValue, "the stand-in does not map host memory");
    return allocate_pinned(memory, bytes);
  });
}

EMULATED_ENTRY(cudaFreeHost);
cudaError_t cudaFreeHost(void* memory) {
  return runtime_call("cudaFreeHost", [&] { return free_pinned(memory); });
}
