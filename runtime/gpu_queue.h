// What a stream asks of a GPU: the interface between runtime/device.cpp and runtime/cuda, free of CUDA headers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/device.h"

namespace subspect::runtime {

/// Work that was recorded once and is launched as a whole.
class RecordedWork {
 public:
  virtual ~RecordedWork() = default;
  /// Queues the recorded work on the stream it was recorded on.
  virtual void launch() = 0;
};

/// Copies between pinned host memory and the device beside a stream's work. Destroying it waits for its copies.
class SideQueue {
 public:
  virtual ~SideQueue() = default;
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  /// Copies queued here from now on wait for the work queued on the stream so far.
  virtual void wait_for_stream() = 0;
  /// Work queued on the stream from now on waits for the copies queued here so far.
  virtual void stream_waits() = 0;
  /// Returns when all copies are done.
  virtual void synchronize() = 0;
};

/// A stream of one GPU. Every member may be called whatever device is current, and leaves that as it was.
class GpuQueue {
 public:
  virtual ~GpuQueue() = default;

  virtual kernels::Context<kernels::Cuda> context() = 0;
  /// Makes the GPU current for the calling thread; returns the index that was current before.
  virtual int activate() = 0;
  virtual void restore(int previous) noexcept = 0;

  /// Returns when `host` may be overwritten; the copy to the device may still be under way.
  virtual void copy_from_host(void* device, const void* host, int64_t bytes) = 0;
  /// Returns when the bytes have arrived.
  virtual void copy_to_host(void* host, const void* device, int64_t bytes) = 0;
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  virtual void zero(void* pointer, int64_t bytes) = 0;
  virtual void synchronize() = 0;
  /// Work queued from now on waits for what `other`, a stream of the same GPU, has queued so far.
  virtual void follow(GpuQueue& other) = 0;

  /// Page-locked memory of the host, uninitialised. Throws Error where there is none.
  virtual std::shared_ptr<void> pinned_memory(int64_t bytes) = 0;
  virtual std::unique_ptr<SideQueue> make_side_queue() = 0;

  /// What went wrong since the last call without changing a result: a file of tuned algorithms that cannot be written.
  virtual std::vector<std::string> take_warnings() = 0;

  /// What others keep with the stream (the library handles of runtime/linalg/cuda); goes before the stream does.
  std::shared_ptr<void>& attachment() { return attachment_; }

  /// Records what `work` queues instead of running it. Throws Error when it copies from or to the host or synchronises.
  virtual std::unique_ptr<RecordedWork> record(const std::function<void()>& work) = 0;

 private:
  std::shared_ptr<void> attachment_;
};

namespace cuda {

/// Device memory that each stream keeps for cuBLASLt, which advises so much for Hopper; other GPUs need less.
inline constexpr int64_t product_workspace_bytes = 32 << 20;

/// Pinned host memory through which each stream copies: pieces of the first size.
inline constexpr int64_t staging_piece_bytes = 4 << 20;
inline constexpr int64_t staging_bytes = 4 * staging_piece_bytes;

struct GpuInfo {
  int index = 0;
  std::string name;
  int major = 0;  ///< compute capability
  int minor = 0;
  int multiprocessors = 0;
  int64_t total_bytes = 0;
};

/// "13.0" for 13000.
std::string version_text(int version);

struct Versions {
  int driver = 0;   ///< the newest CUDA that the driver serves, 13000 for 13.0; 0 without a driver
  int runtime = 0;  ///< the CUDA runtime in this program
};
Versions versions();

/// Whether there is an NVIDIA driver with a GPU at all; false says that "auto" means the CPU.
bool any_gpu();

/// All GPUs of the machine, usable or not. Throws Error (no driver, driver too old, no device, ...).
std::vector<GpuInfo> gpus();

/// What is recorded of a GPU, by name: the model, its driver, the versions of CUDA and cuBLASLt.
std::vector<std::pair<std::string, std::string>> describe(int index);

/// Bytes of its memory that nobody holds.
int64_t free_bytes(int index);

/// The GPU `index`; throws Error when it is not there or its compute capability is below 8.0.
GpuInfo usable_gpu(int index);

/// A new non-blocking stream of that GPU, and an allocator of its memory whose blocks are reused in stream order.
struct Opened {
  std::shared_ptr<GpuQueue> queue;
  std::shared_ptr<Allocator> allocator;
};
Opened open(int index);

}  // namespace cuda
}  // namespace subspect::runtime
