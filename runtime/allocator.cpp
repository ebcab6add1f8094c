// The caching allocator and the host's memory.
#include "runtime/allocator.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <utility>

#include "runtime/error.h"

namespace subspect::runtime {

namespace {

constexpr int64_t alignment = 64;
constexpr int steps_per_doubling = 4;
constexpr int64_t smallest_class = 256;  // steps of 64 up to 512, of 128 up to 1024, ...
constexpr int64_t mebibyte = 1 << 20;
constexpr int64_t smallest_exact = 16 * mebibyte;
constexpr int64_t exact_step = 2 * mebibyte;  // in which CUDA gives memory

// Bytes of a control group's limit, or the largest number when there is none.
int64_t control_group_limit() {
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    int64_t bytes = 0;
    if (file >> bytes) return bytes;
  }
  return std::numeric_limits<int64_t>::max();
}

std::string holders(const MemoryStats& stats) {
  std::string text;
  for (size_t tag = 0; tag < memory_tags; ++tag) {
    const int64_t bytes = stats.tagged_bytes[tag];
    if (bytes == 0) continue;
    text += fmt::format("{}{} {} MiB", text.empty() ? "" : ", ", name(static_cast<MemoryTag>(tag)), bytes / mebibyte);
  }
  return text.empty() ? "nothing is held" : text;
}

// Of what holds the most memory or wants more, that which a setting changes.
MemoryTag largest_adjustable(const MemoryStats& stats, MemoryTag wanted) {
  const auto held = [&](MemoryTag tag) { return stats.tagged_bytes[static_cast<size_t>(tag)]; };
  MemoryTag largest = wanted;
  for (size_t tag = 0; tag < memory_tags; ++tag) {
    if (held(static_cast<MemoryTag>(tag)) > held(largest)) largest = static_cast<MemoryTag>(tag);
  }
  return largest;
}

std::string_view advice(MemoryTag tag) {
  switch (tag) {
    case MemoryTag::weights:
      return "use a smaller model, or precision: {compute: bfloat16}; when training, a smaller micro_batch_tokens";
    case MemoryTag::gradients:
    case MemoryTag::optimizer:
      return "use precision: {master: bfloat16}, optimizer: {name: sgd, momentum: 0}, or a smaller model";
    case MemoryTag::cache:
      return "use a smaller batch of prompts, or a smaller max_new_tokens";
    case MemoryTag::activations:
    case MemoryTag::workspace:
    case MemoryTag::other:
      break;
  }
  return "use a smaller micro_batch_tokens, recompute: block, or a smaller model";
}

}  // namespace

std::string_view name(MemoryTag tag) {
  static constexpr std::array<std::string_view, memory_tags> names = {
      "other", "weights", "gradients", "optimizer", "activations", "cache", "workspace"};
  return names[static_cast<size_t>(tag)];
}

size_t size_class(int64_t bytes) {
  if (bytes <= smallest_class) return static_cast<size_t>((std::max<int64_t>(bytes, 1) - 1) / alignment);
  // bytes - 1 lies in [2^e, 2^(e+1)), which is divided into four steps.
  const auto value = static_cast<uint64_t>(bytes - 1);
  const int exponent = std::bit_width(value) - 1;
  const auto step = static_cast<int64_t>((value >> (exponent - 2)) & 3U);
  return static_cast<size_t>(steps_per_doubling + (exponent - 8) * steps_per_doubling + step);
}

int64_t size_of_class(size_t index) {
  const auto position = static_cast<int64_t>(index);
  if (position < steps_per_doubling) return (position + 1) * alignment;
  const int64_t exponent = 8 + (position - steps_per_doubling) / steps_per_doubling;
  const int64_t step = (position - steps_per_doubling) % steps_per_doubling;
  return (int64_t{1} << exponent) + (step + 1) * (int64_t{1} << (exponent - 2));
}

int64_t block_size(int64_t bytes, MemoryTag tag) {
  const bool stays = tag == MemoryTag::weights || tag == MemoryTag::gradients || tag == MemoryTag::optimizer;
  if (!stays || bytes < smallest_exact) return size_of_class(size_class(bytes));
  return (bytes + exact_step - 1) / exact_step * exact_step;
}

CachingAllocator::CachingAllocator(Device device, MemorySource source) : device_(device), source_(std::move(source)) {}

CachingAllocator::~CachingAllocator() {
  release_cached_locked();
}

void* CachingAllocator::allocate(int64_t bytes, MemoryTag tag) {
  require(bytes >= 0 && bytes <= (int64_t{1} << 62), "allocate", "bytes must be in [0, 2^62]. Received {}.", bytes);
  const int64_t size = block_size(bytes, tag);
  const std::lock_guard lock(mutex_);
  void* pointer = nullptr;
  if (std::vector<void*>& free = free_[size]; !free.empty()) {
    pointer = free.back();
    free.pop_back();
    stats_.cached_bytes -= size;
  } else {
    pointer = acquire_block(size);
    if (pointer == nullptr) throw_out_of_memory(bytes, tag);
  }
  stats_.current_bytes += bytes;
  stats_.tagged_bytes[static_cast<size_t>(tag)] += bytes;
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.current_bytes);
  ++blocks_;
  return pointer;
}

void CachingAllocator::deallocate(void* pointer, int64_t bytes, MemoryTag tag) {
  if (pointer == nullptr) return;
  const int64_t size = block_size(bytes, tag);
  const std::lock_guard lock(mutex_);
  free_[size].push_back(pointer);
  stats_.cached_bytes += size;
  stats_.current_bytes -= bytes;
  stats_.tagged_bytes[static_cast<size_t>(tag)] -= bytes;
  --blocks_;
}

// A new block; when it does not fit, once more after the cached blocks are given back.
void* CachingAllocator::acquire_block(int64_t size) {
  const auto attempt = [&]() -> void* {
    if (source_.limit_bytes > 0 && stats_.reserved_bytes + size > source_.limit_bytes) return nullptr;
    void* pointer = source_.acquire(size);
    if (pointer != nullptr) stats_.reserved_bytes += size;
    return pointer;
  };
  if (void* pointer = attempt()) return pointer;
  release_cached_locked();
  return attempt();
}

void CachingAllocator::release_cached_locked() {
  if (stats_.cached_bytes > 0 && source_.quiesce) source_.quiesce();
  for (auto& [size, blocks] : free_) {
    for (void* pointer : blocks) {
      source_.release(pointer);
      stats_.reserved_bytes -= size;
      stats_.cached_bytes -= size;
    }
    blocks.clear();
  }
}

void CachingAllocator::throw_out_of_memory(int64_t bytes, MemoryTag tag) const {
  std::string limit;
  if (source_.limit_bytes > 0) limit = fmt::format(" of {} MiB", source_.limit_bytes / mebibyte);
  if (source_.describe) limit += fmt::format(" ({})", source_.describe());
  throw Error(
      fmt::format("no memory for a block of {:.1f} MiB ({}): {} tensors hold {} MiB{}, {} MiB at most so far; {}",
                  static_cast<double>(bytes) / static_cast<double>(mebibyte), name(tag), blocks_,
                  stats_.current_bytes / mebibyte, limit, stats_.peak_bytes / mebibyte, holders(stats_)),
      device_.to_string(), std::string(advice(largest_adjustable(stats_, tag))));
}

MemoryStats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.current_bytes;
}

void CachingAllocator::release_cached() {
  const std::lock_guard lock(mutex_);
  release_cached_locked();
}

MemorySource host_memory() {
  const int64_t physical = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return {
      .acquire = [](int64_t bytes) { return std::aligned_alloc(alignment, static_cast<size_t>(bytes)); },
      .release = [](void* pointer) { std::free(pointer); },
      .limit_bytes = std::min(physical, control_group_limit()),
  };
}

}  // namespace subspect::runtime
