// The address space of the emulated device: blocks with red zones, cut from free extents in turn, so that an address is
// reused as late as possible.
#include "tests/simt/device_memory.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>

namespace simt {
namespace {

constexpr size_t red_zone = 256;
constexpr size_t granularity = 256;

struct Reserved {
  size_t extent_bytes;
  size_t bytes;
};

/// All offsets are in bytes from the begin of device memory.
struct Space {
  std::map<size_t, size_t> free{{0, device_memory_bytes()}};  ///< extents by offset
  std::map<size_t, Reserved> blocks;                          ///< by the offset of their extent
  size_t cursor = 0;                                          ///< where the search for space begins

  /// The first free extent that is large enough, from the cursor on and then from the start.
  std::map<size_t, size_t>::iterator find(size_t extent_bytes) {
    for (auto at = free.lower_bound(cursor); at != free.end(); ++at) {
      if (at->second >= extent_bytes) return at;
    }
    for (auto at = free.begin(); at != free.end(); ++at) {
      if (at->second >= extent_bytes) return at;
    }
    return free.end();
  }

  void give_back(size_t offset, size_t bytes) {
    auto at = free.emplace(offset, bytes).first;
    if (const auto next = std::next(at); next != free.end() && at->first + at->second == next->first) {
      at->second += next->second;
      free.erase(next);
    }
    if (at == free.begin()) return;
    if (const auto before = std::prev(at); before->first + before->second == at->first) {
      before->second += at->second;
      free.erase(at);
    }
  }
};

Space& space() {
  static Space instance;
  return instance;
}

size_t offset_of(const void* memory) {
  return static_cast<size_t>(static_cast<const std::byte*>(memory) - device_memory());
}

}  // namespace

void* reserve_device(size_t bytes) {
  const size_t extent = (bytes + granularity - 1) / granularity * granularity + 2 * red_zone;
  const auto found = space().find(extent);
  if (found == space().free.end()) return nullptr;
  const auto [offset, available] = *found;
  space().free.erase(found);
  if (available > extent) space().free.emplace(offset + extent, available - extent);
  space().blocks[offset] = {extent, bytes};
  space().cursor = offset + extent;
  return device_memory() + offset + red_zone;
}

void release_device(void* memory) {
  const auto found = space().blocks.find(offset_of(memory) - red_zone);
  space().give_back(found->first, found->second.extent_bytes);
  space().blocks.erase(found);
  if (space().blocks.empty()) space().cursor = 0;
}

DeviceBlock device_block(const void* address) {
  const auto* byte = static_cast<const std::byte*>(address);
  if (byte < device_memory() || byte >= device_memory() + device_memory_bytes()) return {};
  auto found = space().blocks.upper_bound(offset_of(address));
  if (found == space().blocks.begin()) return {};
  --found;
  const size_t begin = found->first + red_zone;
  const size_t offset = offset_of(address);
  if (offset < begin || offset >= begin + std::max<size_t>(found->second.bytes, 1)) return {};
  return {device_memory() + begin, found->second.bytes};
}

void* allocate_device(size_t bytes) {
  void* memory = reserve_device(bytes);
  if (memory == nullptr) throw Failure("simt: the emulated device memory is full");
  activate_device(memory, bytes);
  return memory;
}

void free_device(void* memory) {
  const DeviceBlock block_of_memory = device_block(memory);
  if (memory == nullptr || block_of_memory.begin != memory) return;
  retire_device(memory, block_of_memory.bytes);
  release_device(memory);
}

void copy_to_device(void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

void copy_to_host(void* host, const void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

}  // namespace simt
