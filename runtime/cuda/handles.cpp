// Creating and destroying CUDA's objects.
#include "runtime/cuda/handles.h"

namespace subspect::runtime::cuda {

StreamHandle::StreamHandle(int device) : device_(device) {
  const DeviceGuard guard(device);
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
}

// A destructor must not throw: what has failed on the stream was reported by the calls that waited for it.
StreamHandle::~StreamHandle() {
  static_cast<void>(cudaStreamSynchronize(stream_));
  static_cast<void>(cudaStreamDestroy(stream_));
}

void StreamHandle::synchronize() const {
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

PinnedMemory::PinnedMemory(int64_t bytes) : bytes_(bytes) {
  check(cudaHostAlloc(&data_, static_cast<size_t>(bytes), cudaHostAllocPortable), "cudaHostAlloc");
}

PinnedMemory::~PinnedMemory() {
  static_cast<void>(cudaFreeHost(data_));
}

}  // namespace subspect::runtime::cuda
