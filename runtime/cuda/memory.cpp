// cudaMalloc and cudaFree as a source of blocks.
#include "runtime/cuda/memory.h"

#include <utility>

#include "runtime/error.h"
#include "runtime/gpu_queue.h"

namespace subspect::runtime::cuda {

// NOLINTNEXTLINE(performance-unnecessary-value-param): the functions share its ownership
MemorySource device_memory(std::shared_ptr<StreamHandle> stream) {
  constexpr int64_t mebibyte = 1 << 20;
  return {
      .acquire = [stream](int64_t bytes) -> void* {
        const DeviceGuard guard(stream->device());
        void* pointer = nullptr;
        const cudaError_t status = cudaMalloc(&pointer, static_cast<size_t>(bytes));
        if (status == cudaErrorMemoryAllocation) {
          static_cast<void>(cudaGetLastError());
          return nullptr;
        }
        check(status, "cudaMalloc");
        return pointer;
      },
      // Neither may throw: they also run while an error unwinds. A device that is lost fails the next checked call.
      .release = [stream](void* pointer) { static_cast<void>(cudaFree(pointer)); },
      .limit_bytes = 0,
      .quiesce = [stream] { static_cast<void>(cudaStreamSynchronize(stream->get())); },
      .describe =
          [stream] {
            return fmt::format("{} MiB of the GPU are free, of {} MiB", free_bytes(stream->device()) / mebibyte,
                               usable_gpu(stream->device()).total_bytes / mebibyte);
          },
  };
}

}  // namespace subspect::runtime::cuda
