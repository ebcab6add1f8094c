// Devices, their memory, and the stream of work that is passed to whatever computes. There is no current device.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/context.h"

namespace subspect::runtime {

enum class DeviceType : uint8_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
  std::string to_string() const;  ///< "cpu", "cuda:0"

  /// Reads "auto", "cpu", "cuda", "cuda:N". "auto" is the first GPU that this build can use, else the CPU.
  /// Throws UsageError for other text, Error where a GPU is asked for and none can be used.
  static Device parse(std::string_view text);
};

/// What memory is for; an error for want of memory lists these.
enum class MemoryTag : uint8_t { other, weights, gradients, optimizer, activations, cache, workspace };
inline constexpr size_t memory_tags = 7;

std::string_view name(MemoryTag tag);  ///< "weights"

struct MemoryStats {
  int64_t current_bytes = 0;                        ///< in tensors now
  int64_t peak_bytes = 0;                           ///< most ever in tensors since the last reset
  int64_t reserved_bytes = 0;                       ///< held from the system, cached blocks included
  int64_t cached_bytes = 0;                         ///< of the reserved, in blocks that no tensor uses
  std::array<int64_t, memory_tags> tagged_bytes{};  ///< of the current, by MemoryTag

  /// Part of the reserved memory that holds no tensor: cached blocks, and what rounding sizes up to classes costs.
  double fragmentation() const {
    return reserved_bytes == 0
               ? 0
               : static_cast<double>(reserved_bytes - current_bytes) / static_cast<double>(reserved_bytes);
  }
};

/// Memory of one device. Thread-safe. Freed blocks are cached by size class and reused; on a GPU by work that is queued
/// later on the stream that the allocator belongs to.
class Allocator {
 public:
  virtual ~Allocator() = default;
  /// At least `bytes` bytes, aligned to 64; never null. Throws Error saying who holds what when memory is short.
  virtual void* allocate(int64_t bytes, MemoryTag tag) = 0;
  virtual void deallocate(void* pointer, int64_t bytes, MemoryTag tag) = 0;
  virtual MemoryStats stats() const = 0;
  virtual void reset_peak() = 0;
  /// Gives cached blocks back to the system.
  virtual void release_cached() = 0;

  /// What memory allocated now is for: the innermost MemoryScope of this allocator.
  MemoryTag tag() const { return tag_.load(std::memory_order_relaxed); }

 private:
  friend class MemoryScope;
  std::atomic<MemoryTag> tag_ = MemoryTag::other;
};

/// Tensors made while the scope lasts are counted under its tag.
class MemoryScope {
 public:
  MemoryScope(Allocator& allocator, MemoryTag tag) : allocator_(allocator), previous_(allocator.tag_.exchange(tag)) {}
  ~MemoryScope() { allocator_.tag_.store(previous_); }
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

 private:
  Allocator& allocator_;
  MemoryTag previous_;
};

class GpuQueue;

/// An ordered queue of work on one device, with that device's memory. Passed explicitly to everything that computes.
class Stream {
 public:
  /// @param threads threads of the CPU team; 0 means one per available core. Ignored for a GPU.
  static std::shared_ptr<Stream> open(Device device, int threads = 0);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  const std::shared_ptr<Allocator>& allocator() const { return allocator_; }

  /// Threads of the CPU team (1 on a GPU). Results do not depend on it.
  int threads() const;

  /// The context that kernels of backend D take; throws Error when the stream belongs to another backend.
  template <kernels::Device D>
  kernels::Context<D> context() const;

  /// Copies bytes between the host and this device, in stream order. From the host, returns when `host_pointer` may be
  /// overwritten; to the host, when the bytes have arrived.
  void copy_from_host(void* device_pointer, const void* host_pointer, int64_t bytes) const;
  void copy_to_host(void* host_pointer, const void* device_pointer, int64_t bytes) const;
  /// Copies between two places of this device that do not overlap, in stream order.
  void copy(void* to, const void* from, int64_t bytes) const;
  /// Sets bytes of this device's memory to zero, in stream order.
  void zero(void* pointer, int64_t bytes) const;

  /// Work queued from now on waits for what `other`, of the same device, has queued so far. For a GPU: on the CPU a
  /// stream's work is done when it is queued.
  void follow(const Stream& other) const;

  /// Returns when all work queued so far is done (at once on the CPU).
  void synchronize() const;

  /// The GPU's side of the stream; nullptr on the CPU.
  GpuQueue* gpu() const { return gpu_.get(); }

  /// From now on tensors take their memory from `allocator`; returns the one before. For runtime/replay.h.
  std::shared_ptr<Allocator> exchange_allocator(std::shared_ptr<Allocator> allocator) {
    return std::exchange(allocator_, std::move(allocator));
  }

 private:
  Stream(Device device, int threads);

  Device device_;
  std::shared_ptr<Allocator> allocator_;
  std::unique_ptr<kernels::ThreadTeam> team_;
  std::shared_ptr<GpuQueue> gpu_;
};

/// Makes the GPU of a stream current for the calling thread while the scope lasts, as launching a kernel needs.
class ActiveGpu {
 public:
  explicit ActiveGpu(const Stream& stream);
  ~ActiveGpu();
  ActiveGpu(const ActiveGpu&) = delete;
  ActiveGpu& operator=(const ActiveGpu&) = delete;

 private:
  GpuQueue& gpu_;
  int previous_;
};

}  // namespace subspect::runtime
