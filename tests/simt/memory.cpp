// The emulated device and shared memory, and the checks on every access: bounds, uninitialised shared memory,
// destinations of copies in flight, and data races (happens-before as FastTrack keeps it: the last write and two reads
// of every 2 bytes; Flanagan and Freund, 2009).
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

#include "tests/simt/internal.h"

namespace simt {
namespace {

constexpr size_t cell_bytes = 2;
constexpr size_t red_zone = 256;
constexpr size_t device_bytes = 32 << 20;
constexpr size_t shared_bytes = 227 << 10;  ///< the most a block may use, compute capability 9.0

/// A remembered access. Epoch 0 means none.
struct Past {
  uint32_t epoch;
  uint32_t clock;
  const void* site;
  int32_t thread;
  int32_t block;
  bool atomic;
};

struct Cell {
  Past writer;
  Past readers[2];
  bool allocated;
  bool initialised;
  bool in_flight;
};

struct Arena {
  const char* name;
  std::byte* data;
  Cell* cells;
  size_t capacity;
  size_t used;

  bool contains(const void* address) const {
    const auto* byte = static_cast<const std::byte*>(address);
    return byte >= data && byte < data + capacity;
  }
  Cell* cell(const void* address) const {
    return cells + static_cast<size_t>(static_cast<const std::byte*>(address) - data) / cell_bytes;
  }
};

void* reserve(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw Failure("simt: no address space for the emulated memory");
  return memory;
}

Arena make_arena(const char* name, size_t capacity) {
  return {name, static_cast<std::byte*>(reserve(capacity)),
          static_cast<Cell*>(reserve(capacity / cell_bytes * sizeof(Cell))), capacity, 0};
}

Arena device = make_arena("device", device_bytes);
Arena shared = make_arena("shared", shared_bytes + (64 << 10));
std::map<void*, size_t> device_blocks;
std::map<const void*, void*> static_arrays;
void* dynamic_array = nullptr;
size_t shared_total = 0;
uint64_t accesses = 0;

/// Returns nullptr when the arena is full. The rest of an odd last cell counts as allocated.
void* allocate(Arena& arena, size_t bytes, size_t alignment, bool initialised) {
  const size_t begin = (arena.used + red_zone + alignment - 1) / alignment * alignment;
  const size_t end = begin + bytes + red_zone;
  if (end > arena.capacity) return nullptr;
  arena.used = end;
  std::byte* memory = arena.data + begin;
  std::memset(memory - red_zone, 0xff, bytes + 2 * red_zone);
  for (size_t i = 0; i < bytes; i += cell_bytes) {
    Cell& cell = *arena.cell(memory + i);
    cell = Cell();
    cell.allocated = true;
    cell.initialised = initialised;
  }
  return memory;
}

void clear(Arena& arena) {
  std::memset(static_cast<void*>(arena.cells), 0, (arena.used + red_zone) / cell_bytes * sizeof(Cell));
  arena.used = 0;
}

bool ordered(const Past& past, int thread) {
  if (past.epoch < block.launch_epoch) return true;  // an earlier launch, or nothing
  if (past.epoch < block.block_epoch) return false;  // another block of this launch
  if (past.epoch < block.epoch || past.thread == thread) return true;
  if (past.thread / warp_size != thread / warp_size) return false;
  const auto& seen = block.clocks[static_cast<size_t>(thread / warp_size)].seen;
  return seen[static_cast<size_t>(thread % warp_size)][static_cast<size_t>(past.thread % warp_size)] >= past.clock;
}

/// `<0x...>` is replaced by the place in the source before the error is shown (tests/simt/symbols.cpp).
std::string describe_site(const void* site) {
  char text[32];
  std::snprintf(text, sizeof(text), "<%p>", site);
  return text;
}

std::string describe_past(const Past& past) {
  return "thread " + std::to_string(past.thread) + " of block " + std::to_string(past.block) + " at " +
         describe_site(past.site);
}

const char* name(Access access) {
  return access == Access::read ? "read" : access == Access::write ? "write" : "atomic";
}

[[noreturn]] void fail_access(const std::string& what, const Arena& arena, Access access, const void* site,
                              int thread) {
  fail(what + ": " + arena.name + " memory, " + name(access) + " by " + describe(thread) + " at " +
       describe_site(site));
}

void check_race(const Arena& arena, const Cell& cell, Access access, const void* site, int thread) {
  const auto conflict = [&](const Past& past, const char* kind) {
    if (past.epoch == 0 || ordered(past, thread) || (past.atomic && access == Access::atomic)) return;
    fail_access("data race with a " + std::string(kind) + " by " + describe_past(past), arena, access, site, thread);
  };
  conflict(cell.writer, "write");
  if (access == Access::read) return;
  for (const Past& reader : cell.readers) conflict(reader, "read");
}

void remember(Cell& cell, Access access, const Past& now, int thread) {
  if (access != Access::read) {
    cell.writer = now;
    cell.initialised = true;
    return;
  }
  for (Past& reader : cell.readers) {
    if (reader.epoch == 0 || reader.thread == thread || ordered(reader, thread)) {
      reader = now;
      return;
    }
  }
}

}  // namespace

void check_access(const void* address, size_t bytes, Access access, const void* site, int thread) {
  const Arena* arena = device.contains(address) ? &device : shared.contains(address) ? &shared : nullptr;
  if (arena == nullptr) return;
  ++accesses;
  const uint32_t clock = block.clocks[static_cast<size_t>(thread / warp_size)]
                             .seen[static_cast<size_t>(thread % warp_size)][static_cast<size_t>(thread % warp_size)];
  const Past now{block.epoch, clock, site, thread, static_cast<int32_t>(block.index), access == Access::atomic};
  const Cell* end = arena->cell(static_cast<const std::byte*>(address) + bytes - 1) + 1;
  for (Cell* cell = arena->cell(address); cell != end; ++cell) {
    if (!cell->allocated) fail_access("out of bounds", *arena, access, site, thread);
    if (cell->in_flight) fail_access("touches the destination of a cp.async in flight", *arena, access, site, thread);
    if (access != Access::write && !cell->initialised) {
      fail_access("uninitialised read", *arena, access, site, thread);
    }
    check_race(*arena, *cell, access, site, thread);
    remember(*cell, access, now, thread);
  }
}

void begin_copy(const AsyncCopy& copy, const void* site) {
  if (!shared.contains(copy.to)) fail("cp.async by " + describe(block.current) + ": the destination is not shared");
  check_access(copy.from, copy.bytes, Access::read, site, block.current);
  check_access(copy.to, copy.bytes, Access::write, site, block.current);
  std::memset(copy.to, 0xff, copy.bytes);
  for (size_t i = 0; i < copy.bytes; i += cell_bytes) shared.cell(copy.to + i)->in_flight = true;
}

void end_copy(const AsyncCopy& copy, const void* site) {
  for (size_t i = 0; i < copy.bytes; i += cell_bytes) shared.cell(copy.to + i)->in_flight = false;
  std::memcpy(copy.to, copy.from, copy.bytes);
  check_access(copy.to, copy.bytes, Access::write, site, block.current);
}

void copy_async(void* to, const void* from, size_t bytes) {
  const void* site = __builtin_return_address(0);
  const AsyncCopy copy{static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes};
  if (reinterpret_cast<uintptr_t>(to) % bytes != 0 || reinterpret_cast<uintptr_t>(from) % bytes != 0) {
    fail("cp.async by " + describe(block.current) + ": misaligned at " + describe_site(site));
  }
  begin_copy(copy, site);
  auto& groups = block.thread[static_cast<size_t>(block.current)].copies;
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back(copy);
}

void commit_copies() {
  auto& groups = block.thread[static_cast<size_t>(block.current)].copies;
  if (groups.empty()) groups.emplace_back();
  groups.emplace_back();
}

void wait_copies(int pending) {
  const void* site = __builtin_return_address(0);
  auto& groups = block.thread[static_cast<size_t>(block.current)].copies;
  while (static_cast<int>(groups.size()) - 1 > pending) {
    for (const AsyncCopy& copy : groups.front()) end_copy(copy, site);
    groups.erase(groups.begin());
  }
}

int32_t atomic_add(int32_t* address, int32_t value) {
  check_access(address, sizeof(int32_t), Access::atomic, __builtin_return_address(0), block.current);
  maybe_yield();
  return std::exchange(*address, *address + value);
}

void reset_shared(size_t dynamic_bytes) {
  clear(shared);
  static_arrays.clear();
  shared_total = dynamic_bytes;
  dynamic_array = allocate(shared, dynamic_bytes, 128, false);
  if (dynamic_array == nullptr || dynamic_bytes > shared_bytes) {
    throw Failure(std::string("simt: kernel ") + block.kernel + ": too much dynamic shared memory");
  }
}

void* static_shared(const void* key, size_t bytes, size_t alignment, const char* array) {
  void*& memory = static_arrays[key];
  if (memory == nullptr) {
    memory = allocate(shared, bytes, alignment, false);
    shared_total += bytes;
    if (memory == nullptr || shared_total > shared_bytes) fail(std::string("too much shared memory for ") + array);
  }
  return memory;
}

void* dynamic_shared() {
  return dynamic_array;
}

void* allocate_device(size_t bytes) {
  void* memory = allocate(device, bytes, 256, true);
  if (memory == nullptr) throw Failure("simt: the emulated device memory is full");
  device_blocks[memory] = bytes;
  return memory;
}

void free_device(void* memory) {
  const auto found = device_blocks.find(memory);
  if (found == device_blocks.end()) return;
  for (size_t i = 0; i < found->second; i += cell_bytes) {
    device.cell(static_cast<std::byte*>(memory) + i)->allocated = false;
  }
  device_blocks.erase(found);
  if (device_blocks.empty()) clear(device);
}

uint64_t checked_accesses() {
  return accesses;
}

}  // namespace simt
