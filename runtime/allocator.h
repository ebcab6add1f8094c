// The caching allocator behind every tensor: blocks by size class, freed ones kept for reuse, peak statistics.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/device.h"

namespace subspect::runtime {

/// Where a caching allocator gets its blocks from.
struct MemorySource {
  std::function<void*(int64_t bytes)> acquire;  ///< nullptr when there is no memory
  std::function<void(void* pointer)> release;   ///< does not throw
  int64_t limit_bytes = 0;                      ///< most bytes to hold; 0 means what `acquire` gives
  std::function<void()> quiesce = {};           ///< called before blocks are released: waits for work that uses them
  std::function<std::string()> describe = {};   ///< what the device itself says of its memory, for errors
};

/// Thread-safe. Sizes are rounded up to those of blocks (`block_size`); a freed block serves the next request of its
/// size.
class CachingAllocator final : public Allocator {
 public:
  CachingAllocator(Device device, MemorySource source);
  ~CachingAllocator() override;
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  void* allocate(int64_t bytes, MemoryTag tag) override;
  void deallocate(void* pointer, int64_t bytes, MemoryTag tag) override;
  MemoryStats stats() const override;
  void reset_peak() override;
  void release_cached() override;

 private:
  void* acquire_block(int64_t size);
  void release_cached_locked();
  [[noreturn]] void throw_out_of_memory(int64_t bytes, MemoryTag tag) const;

  const Device device_;
  const MemorySource source_;
  mutable std::mutex mutex_;
  std::map<int64_t, std::vector<void*>> free_;  // by size
  MemoryStats stats_;
  int64_t blocks_ = 0;  // in use
};

/// Index of the size class that serves `bytes`, and the size of the blocks of a class: four to each power of two.
size_t size_class(int64_t bytes);
int64_t size_of_class(size_t index);

/// Size of the block that serves `bytes`: that of its class, at most a quarter larger, so that micro-batches of
/// different lengths reuse each other's blocks. What is as large as a weight and stays (weights, gradients, the
/// optimizer's state) is rounded up to 2 MiB only.
int64_t block_size(int64_t bytes, MemoryTag tag);

/// The host's memory, up to what the machine (or its control group) has.
MemorySource host_memory();

}  // namespace subspect::runtime
