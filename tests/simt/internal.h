// What the parts of the shim's runtime share: the running block, its threads, and the checks on memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/simt/device.h"
#include "tests/simt/simt.h"

namespace simt {

constexpr int warp_size = 32;

struct AsyncCopy {
  std::byte* to;
  const std::byte* from;  ///< null for zeros
  size_t bytes;
};

enum class Waiting : uint8_t { nothing, at_barrier, at_collective, exited };

struct Thread {
  void* context = nullptr;  ///< a Boost.Context fcontext_t
  Waiting waiting = Waiting::nothing;
  Place place;
  std::vector<std::vector<AsyncCopy>> copies;  ///< committed groups, oldest first; the last one is still open
};

/// Clocks of the lanes of one warp: `seen[i][j]` is the last stretch of lane j that lane i is ordered after.
struct WarpClocks {
  std::array<std::array<uint32_t, warp_size>, warp_size> seen{};
};

struct Block {
  const char* kernel = "";
  int64_t index = 0;
  int threads = 0;
  int current = 0;  ///< the running thread
  uint32_t launch_epoch = 0;
  uint32_t block_epoch = 0;
  uint32_t epoch = 0;  ///< raised by every barrier, block and launch
  std::vector<Thread> thread;
  std::vector<WarpClocks> clocks;
};

/// The running block; `running` is false outside kernels.
extern Block block;
extern bool running;

/// Ends the launch with an error, from inside a fiber.
[[noreturn]] void fail(const std::string& what);
std::string describe(int thread);
std::string describe(Place place);
/// The text with code addresses, `<0x...>`, replaced by places in the source.
std::string with_places(std::string text);

/// Whether the address lies on the running thread's stack or among the launch's arguments.
bool is_private(const void* address);

/// Lets other threads run until someone makes this one runnable again.
void suspend(Waiting reason, Place place);
void make_runnable(int thread);
/// Lets others run if the schedule says so.
void maybe_yield();

void barrier_reset();
void barrier_on_exit();
void collectives_reset();

enum class Access : uint8_t { read, write, atomic };

/// Checks that an access to device or shared memory begins at a multiple of `alignment`.
void check_alignment(const void* address, size_t alignment, Access access, const void* site, int thread);

/// Checks bounds, initialisation and races of one access by `thread`, and remembers it.
void check_access(const void* address, size_t bytes, Access access, const void* site, int thread);
void begin_copy(const AsyncCopy& copy, const void* site);
void end_copy(const AsyncCopy& copy, const void* site);
void reset_shared(size_t dynamic_bytes);
/// Static and dynamic shared memory of the running block.
size_t shared_memory_used();
bool in_device_memory(const void* address);
bool in_shared_memory(const void* address);

/// Whether launches are counted (tests/simt/counters.h), and what the parts of the shim then report.
extern bool counting;
enum class Collective : uint8_t { mma, shuffle, barrier };

void begin_launch_counts(const char* kernel, const LaunchShape& shape);
void end_launch_counts(size_t shared_bytes);
void begin_block_counts();
/// Counts what the lanes queued: they have met.
void merge_warp(int warp);
void merge_block();
void end_block_counts();
void count_access(const void* address, size_t bytes, Access access, const void* site);
void count_copy(const AsyncCopy& copy, const void* site);
/// Fails for accesses to device or shared memory.
void forbid_split(const void* address, size_t bytes, const void* site);
/// @param rows [8 matrices] addresses of 16 bytes
void count_load_matrix(const void* const* rows, int matrices, const void* site);
void count_collective(Collective collective);
void enter_function();
void leave_function();

}  // namespace simt
