// Devices, their memory, and the stream of work that is passed to whatever computes. There is no current device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

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

struct MemoryStats {
  int64_t current_bytes = 0;   ///< in tensors now
  int64_t peak_bytes = 0;      ///< most ever in tensors since the last reset
  int64_t reserved_bytes = 0;  ///< held from the system, cached blocks included
};

/// Memory of one device. Thread-safe. Freed blocks are cached by size class and reused.
class Allocator {
 public:
  virtual ~Allocator() = default;
  /// At least `bytes` bytes, aligned to 64; never null. Throws Error saying who holds what when memory is short.
  virtual void* allocate(int64_t bytes) = 0;
  virtual void deallocate(void* pointer, int64_t bytes) = 0;
  virtual MemoryStats stats() const = 0;
  virtual void reset_peak() = 0;
  /// Gives cached blocks back to the system.
  virtual void release_cached() = 0;
};

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

  /// Copies bytes between the host and this device, in stream order; to the host, returns when they have arrived.
  void copy_from_host(void* device_pointer, const void* host_pointer, int64_t bytes) const;
  void copy_to_host(void* host_pointer, const void* device_pointer, int64_t bytes) const;
  /// Sets bytes of this device's memory to zero.
  void zero(void* pointer, int64_t bytes) const;

  /// Returns when all work queued so far is done (at once on the CPU).
  void synchronize() const;

 private:
  Stream(Device device, int threads);

  Device device_;
  std::shared_ptr<Allocator> allocator_;
  std::unique_ptr<kernels::ThreadTeam> team_;
};

}  // namespace subspect::runtime
