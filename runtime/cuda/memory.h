// The memory of a GPU, for the caching allocator.
#pragma once

#include <memory>

#include "runtime/allocator.h"
#include "runtime/cuda/handles.h"

namespace subspect::runtime::cuda {

/// cudaMalloc and cudaFree on the stream's device. Freed blocks are reused at once by work that is queued later on the
/// same stream; before they go back to CUDA the stream is waited for.
MemorySource device_memory(std::shared_ptr<StreamHandle> stream);

}  // namespace subspect::runtime::cuda
