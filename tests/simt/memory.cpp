// The emulated device and shared memory, and the checks on every access: bounds, uninitialised shared memory,
// destinations of copies in flight, and data races (happens-before as FastTrack keeps it: the last write and two reads
// of every 2 bytes; Flanagan and Freund, 2009).
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <utility>

#include "tests/simt/device_memory.h"
#include "tests/simt/internal.h"

extern "C" {
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming): the linker's
extern const char __executable_start;
extern const char end;
}

namespace simt {
namespace {

constexpr size_t cell_bytes = 2;
constexpr size_t red_zone = 256;
constexpr size_t device_bytes = size_t{2} << 30;  ///< of address space; pages come as they are used
constexpr size_t shared_bytes = 227 << 10;        ///< the most a block may use, compute capability 9.0

/// A remembered access. Epoch 0 means none.
struct Past {
  uint32_t epoch;
  uint32_t clock;
  const void* site;
  int32_t block;
  uint32_t work;
  int16_t thread;
  bool atomic;
};

/// The last accesses of a cell.
struct History {
  Past writer;
  Past readers[2];
};

struct Cell {
  bool allocated : 1;
  bool initialised : 1;
  bool in_flight : 1;
};

struct Arena {
  const char* name;
  std::byte* data;
  Cell* cells;
  History* histories;
  size_t capacity;
  size_t used;

  bool contains(const void* address) const {
    const auto* byte = static_cast<const std::byte*>(address);
    return byte >= data && byte < data + capacity;
  }
  size_t index(const void* address) const {
    return static_cast<size_t>(static_cast<const std::byte*>(address) - data) / cell_bytes;
  }
  Cell* cell(const void* address) const { return cells + index(address); }
};

void* reserve(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw Failure("simt: no address space for the emulated memory");
  return memory;
}

Arena make_arena(const char* name, size_t capacity) {
  const size_t cells = capacity / cell_bytes;
  return {name,
          static_cast<std::byte*>(reserve(capacity)),
          static_cast<Cell*>(reserve(cells * sizeof(Cell))),
          static_cast<History*>(reserve(cells * sizeof(History))),
          capacity,
          0};
}

Arena device = make_arena("device", device_bytes);
Arena shared = make_arena("shared", shared_bytes + (64 << 10));
std::map<const void*, void*> static_arrays;
void* dynamic_array = nullptr;
size_t shared_total = 0;
uint64_t accesses = 0;

uint32_t current_work = 0;
bool (*work_is_ordered)(uint32_t work) = nullptr;
bool host_memory_forbidden = false;

/// The rest of an odd last cell counts as allocated.
void set_cells(const Arena& arena, const void* memory, size_t bytes, Cell cell) {
  std::fill_n(arena.cell(memory), (bytes + cell_bytes - 1) / cell_bytes, cell);
}

/// The next piece of shared memory; nullptr when there is none.
void* allocate_shared(size_t bytes, size_t alignment) {
  const size_t begin = (shared.used + red_zone + alignment - 1) / alignment * alignment;
  const size_t last = begin + bytes + red_zone;
  if (last > shared.capacity) return nullptr;
  shared.used = last;
  std::byte* memory = shared.data + begin;
  std::memset(memory - red_zone, 0xff, bytes + 2 * red_zone);
  set_cells(shared, memory, bytes, {.allocated = true, .initialised = false, .in_flight = false});
  return memory;
}

void clear_shared() {
  const size_t cells = (shared.used + red_zone) / cell_bytes;
  std::memset(static_cast<void*>(shared.cells), 0, cells * sizeof(Cell));
  std::memset(static_cast<void*>(shared.histories), 0, cells * sizeof(History));
  shared.used = 0;
}

bool ordered(const Past& past, int thread) {
  if (past.epoch < block.launch_epoch) {  // an earlier launch, or nothing
    return work_is_ordered == nullptr || past.work == current_work || work_is_ordered(past.work);
  }
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
  if (past.site == nullptr) return "a copy or a library call";
  return "thread " + std::to_string(past.thread) + " of block " + std::to_string(past.block) + " at " +
         describe_site(past.site);
}

const char* name(Access access) {
  return access == Access::read ? "read" : access == Access::write ? "write" : "atomic";
}

[[noreturn]] void fail_access(const std::string& what, const Arena& arena, Access access, const void* site,
                              int thread) {
  fail(what + ": " + arena.name + " memory, " + name(access) +
       (site == nullptr ? "" : " by " + describe(thread) + " at " + describe_site(site)));
}

void check_race(const Arena& arena, const History& history, Access access, const void* site, int thread) {
  const auto conflict = [&](const Past& past, const char* kind) {
    if (past.epoch == 0 || ordered(past, thread) || (past.atomic && access == Access::atomic)) return;
    fail_access("data race with a " + std::string(kind) + " by " + describe_past(past), arena, access, site, thread);
  };
  conflict(history.writer, "write");
  if (access == Access::read) return;
  for (const Past& reader : history.readers) conflict(reader, "read");
}

void remember(History& history, Access access, const Past& now, int thread) {
  if (access != Access::read) {
    history.writer = now;
    return;
  }
  for (Past& reader : history.readers) {
    const bool mine = reader.thread == thread && reader.epoch >= block.launch_epoch;
    if (reader.epoch == 0 || mine || ordered(reader, thread)) {
      reader = now;
      return;
    }
  }
}

/// Of the cells in [begin, end). Whole pages go back to the system, which gives zeros when they are touched again.
void forget_accesses(size_t begin, size_t end) {
  constexpr size_t page_bytes = 4096;
  const auto clear = [](std::byte* from, std::byte* to) { std::memset(from, 0, static_cast<size_t>(to - from)); };
  auto* from = reinterpret_cast<std::byte*>(device.histories + begin);
  auto* to = reinterpret_cast<std::byte*>(device.histories + end);
  const auto address = reinterpret_cast<uintptr_t>(from);
  std::byte* first_page = from + (page_bytes - address % page_bytes) % page_bytes;
  if (first_page >= to) return clear(from, to);
  const size_t pages = static_cast<size_t>(to - first_page) / page_bytes * page_bytes;
  clear(from, first_page);
  clear(first_page + pages, to);
  if (pages > 0 && madvise(first_page, pages, MADV_DONTNEED) != 0) clear(first_page, first_page + pages);
}

bool in_program(const void* address) {
  const auto* byte = static_cast<const char*>(address);
  return byte >= &__executable_start && byte < &end;
}

void check_host_access(const void* address, Access access, const void* site, int thread) {
  if (!host_memory_forbidden || is_private(address) || in_program(address)) return;
  fail("not device memory, " + std::string(name(access)) + " by " + describe(thread) + " at " + describe_site(site));
}

}  // namespace

void check_alignment(const void* address, size_t alignment, Access access, const void* site, int thread) {
  if (reinterpret_cast<uintptr_t>(address) % alignment == 0) return;
  const Arena* arena = device.contains(address) ? &device : shared.contains(address) ? &shared : nullptr;
  if (arena != nullptr) fail_access("misaligned address", *arena, access, site, thread);
}

void check_aligned(const void* address, size_t bytes) {
  check_alignment(address, bytes, Access::read, __builtin_return_address(0), block.current);
}

void check_access(const void* address, size_t bytes, Access access, const void* site, int thread) {
  const Arena* arena = device.contains(address) ? &device : shared.contains(address) ? &shared : nullptr;
  if (arena == nullptr) {
    check_host_access(address, access, site, thread);
    return;
  }
  ++accesses;
  const uint32_t clock = block.clocks[static_cast<size_t>(thread / warp_size)]
                             .seen[static_cast<size_t>(thread % warp_size)][static_cast<size_t>(thread % warp_size)];
  const Past now{block.epoch,
                 clock,
                 site,
                 static_cast<int32_t>(block.index),
                 current_work,
                 static_cast<int16_t>(thread),
                 access == Access::atomic};
  const size_t last = arena->index(static_cast<const std::byte*>(address) + bytes - 1);
  for (size_t i = arena->index(address); i <= last; ++i) {
    Cell& cell = arena->cells[i];
    if (!cell.allocated) fail_access("out of bounds", *arena, access, site, thread);
    if (cell.in_flight) fail_access("touches the destination of a cp.async in flight", *arena, access, site, thread);
    if (access != Access::write && !cell.initialised) {
      fail_access("uninitialised read", *arena, access, site, thread);
    }
    if (!counting) {
      check_race(*arena, arena->histories[i], access, site, thread);
      remember(arena->histories[i], access, now, thread);
    }
    if (access != Access::read) cell.initialised = true;
  }
}

void begin_copy(const AsyncCopy& copy, const void* site) {
  if (!shared.contains(copy.to)) fail("cp.async by " + describe(block.current) + ": the destination is not shared");
  if (copy.from != nullptr) check_access(copy.from, copy.bytes, Access::read, site, block.current);
  check_access(copy.to, copy.bytes, Access::write, site, block.current);
  std::memset(copy.to, 0xff, copy.bytes);
  for (size_t i = 0; i < copy.bytes; i += cell_bytes) shared.cell(copy.to + i)->in_flight = true;
}

void end_copy(const AsyncCopy& copy, const void* site) {
  for (size_t i = 0; i < copy.bytes; i += cell_bytes) shared.cell(copy.to + i)->in_flight = false;
  if (copy.from != nullptr) {
    std::memcpy(copy.to, copy.from, copy.bytes);
  } else {
    std::memset(copy.to, 0, copy.bytes);
  }
  check_access(copy.to, copy.bytes, Access::write, site, block.current);
}

namespace {

void start_copy(const AsyncCopy& copy, const void* site) {
  if (reinterpret_cast<uintptr_t>(copy.to) % copy.bytes != 0 ||
      reinterpret_cast<uintptr_t>(copy.from) % copy.bytes != 0) {
    fail("cp.async by " + describe(block.current) + ": misaligned at " + describe_site(site));
  }
  begin_copy(copy, site);
  if (counting) count_copy(copy, site);
  auto& groups = block.thread[static_cast<size_t>(block.current)].copies;
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back(copy);
}

void access_atomically(const void* address, size_t bytes, const void* site) {
  check_access(address, bytes, Access::atomic, site, block.current);
  if (counting) count_access(address, bytes, Access::atomic, site);
}

}  // namespace

void copy_async(void* to, const void* from, size_t bytes, bool exists) {
  const void* site = __builtin_return_address(0);
  if (exists && from == nullptr) {
    fail("cp.async by " + describe(block.current) + ": from nowhere at " + describe_site(site));
  }
  start_copy({static_cast<std::byte*>(to), exists ? static_cast<const std::byte*>(from) : nullptr, bytes}, site);
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
  access_atomically(address, sizeof(int32_t), __builtin_return_address(0));
  maybe_yield();
  // wraps around, as a GPU's does
  return std::exchange(*address, static_cast<int32_t>(static_cast<uint32_t>(*address) + static_cast<uint32_t>(value)));
}

uint32_t atomic_or(uint32_t* address, uint32_t value) {
  access_atomically(address, sizeof(uint32_t), __builtin_return_address(0));
  maybe_yield();
  return std::exchange(*address, *address | value);
}

size_t shared_memory_used() {
  return shared_total;
}

bool in_device_memory(const void* address) {
  return device.contains(address);
}

bool in_shared_memory(const void* address) {
  return shared.contains(address);
}

void reset_shared(size_t dynamic_bytes) {
  clear_shared();
  static_arrays.clear();
  shared_total = dynamic_bytes;
  dynamic_array = allocate_shared(dynamic_bytes, 128);
  if (dynamic_array == nullptr || dynamic_bytes > shared_bytes) {
    throw Failure(std::string("simt: kernel ") + block.kernel + ": too much dynamic shared memory");
  }
}

void* static_shared(const void* key, size_t bytes, size_t alignment, const char* array) {
  void*& memory = static_arrays[key];
  if (memory == nullptr) {
    memory = allocate_shared(bytes, alignment);
    shared_total += bytes;
    if (memory == nullptr || shared_total > shared_bytes) fail(std::string("too much shared memory for ") + array);
  }
  return memory;
}

void* dynamic_shared() {
  return dynamic_array;
}

std::byte* device_memory() {
  return device.data;
}

size_t device_memory_bytes() {
  return device.capacity;
}

void activate_device(void* memory, size_t bytes) {
  if (bytes == 0) return;
  set_cells(device, memory, bytes, {.allocated = true, .initialised = true, .in_flight = false});
  forget_accesses(device.index(memory), device.index(static_cast<std::byte*>(memory) + bytes - 1) + 1);
  std::memset(memory, 0xff, bytes);
}

void retire_device(void* memory, size_t bytes) {
  if (bytes == 0) return;
  std::memset(memory, 0xff, bytes);
  set_cells(device, memory, bytes, {.allocated = false, .initialised = false, .in_flight = false});
}

void begin_work(uint32_t work) {
  current_work = work;
}

void set_work_order(bool (*is_ordered)(uint32_t work)) {
  work_is_ordered = is_ordered;
}

void forbid_host_memory(bool forbidden) {
  host_memory_forbidden = forbidden;
}

void access_device(const void* address, size_t bytes, Access access) {
  if (bytes == 0) return;
  if (!device.contains(address)) fail("not device memory");
  check_access(address, bytes, access, nullptr, 0);
}

uint64_t checked_accesses() {
  return accesses;
}

}  // namespace simt
