// Runs the threads of one block as fibers, in an order drawn from a seed: any runnable thread, or all others before one
// warp, or all others before one thread. Holds the block-wide barrier.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <boost/context/detail/fcontext.hpp>
#include <cstdlib>
#include <numeric>
#include <random>
#include <utility>

#include "tests/simt/device_memory.h"
#include "tests/simt/internal.h"

simt::Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace simt {

Block block;
bool running = false;
void (*queue_launch)(const Launch& launch) = nullptr;

namespace {

namespace context = boost::context::detail;

constexpr size_t stack_bytes = 64 << 10;
constexpr int max_threads = 1024;

enum class Schedule { uniform, starve_warp, starve_thread };

struct Scheduler {
  Options options;
  std::mt19937_64 random;
  Schedule schedule = Schedule::uniform;
  int starved = 0;
  std::vector<int> runnable;
  void* main = nullptr;
  std::string failure;
  void (*body)(void*) = nullptr;
  void* arguments = nullptr;
  size_t argument_bytes = 0;
  int exited = 0;
  int until_yield = 0;
};
Scheduler scheduler;

/// Stacks with a guard page below each, made once.
std::byte* stack_top(int thread) {
  static std::vector<std::byte*> stacks(max_threads, nullptr);
  std::byte*& base = stacks[static_cast<size_t>(thread)];
  if (base == nullptr) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void* memory =
        mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) throw Failure("simt: no memory for stacks");
    base = static_cast<std::byte*>(memory) + page;
  }
  return base + stack_bytes;
}

bool is_starved(int thread) {
  if (scheduler.schedule == Schedule::starve_warp) return thread / warp_size == scheduler.starved / warp_size;
  return scheduler.schedule == Schedule::starve_thread && thread == scheduler.starved;
}

/// Takes the next thread out of the runnable ones.
int take_next() {
  std::vector<int>& runnable = scheduler.runnable;
  size_t at = scheduler.random() % runnable.size();
  for (size_t tries = 0; tries < runnable.size() && is_starved(runnable[at]); ++tries) at = (at + 1) % runnable.size();
  const int next = runnable[at];
  runnable[at] = runnable.back();
  runnable.pop_back();
  return next;
}

std::string where_threads_are() {
  std::string text;
  std::vector<bool> listed(block.thread.size(), false);
  for (size_t i = 0; i < block.thread.size(); ++i) {
    if (listed[i]) continue;
    const Thread& first = block.thread[i];
    std::string ids;
    int count = 0;
    for (size_t j = i; j < block.thread.size(); ++j) {
      const Thread& other = block.thread[j];
      if (other.waiting != first.waiting || other.place.line != first.place.line) continue;
      listed[j] = true;
      if (++count <= 8) ids += " " + std::to_string(j);
    }
    const char* state = first.waiting == Waiting::at_barrier      ? "at the barrier of "
                        : first.waiting == Waiting::at_collective ? "at the collective of "
                        : first.waiting == Waiting::exited        ? "exited"
                                                                  : "running";
    const bool has_place = first.waiting == Waiting::at_barrier || first.waiting == Waiting::at_collective;
    text += "\n  " + std::to_string(count) + " threads " + state + (has_place ? describe(first.place) : "") + ":" +
            ids + (count > 8 ? " ..." : "");
  }
  return text;
}

/// Continues with thread `next`. Returns when someone continues the caller.
void jump(void*& saved, int next) {
  block.current = next;
  threadIdx = {static_cast<unsigned>(next), 0, 0};
  const context::transfer_t from = context::jump_fcontext(block.thread[static_cast<size_t>(next)].context, &saved);
  *static_cast<void**>(from.data) = from.fctx;
}

void jump_to_main(void*& saved) {
  const context::transfer_t from = context::jump_fcontext(scheduler.main, &saved);
  *static_cast<void**>(from.data) = from.fctx;
}

void run_others(void*& saved) {
  if (scheduler.runnable.empty()) {
    if (scheduler.exited == block.threads) {
      jump_to_main(saved);
      return;
    }
    fail("no thread can continue" + where_threads_are());
  }
  const int self = block.current;
  const int next = take_next();
  if (next != self) jump(saved, next);
}

void fiber_main(context::transfer_t from) {
  *static_cast<void**>(from.data) = from.fctx;
  scheduler.body(scheduler.arguments);
  Thread& self = block.thread[static_cast<size_t>(block.current)];
  for (const auto& group : self.copies) {
    if (!group.empty()) fail("cp.async never waited for, by " + describe(block.current));
  }
  self.waiting = Waiting::exited;
  ++scheduler.exited;
  barrier_on_exit();
  run_others(self.context);
  std::abort();  // a fiber that returned would end the program as if all were well
}

void draw_schedule() {
  scheduler.schedule = static_cast<Schedule>(scheduler.random() % 3);
  scheduler.starved = static_cast<int>(scheduler.random() % static_cast<uint64_t>(block.threads));
}

void run_block(int64_t index, size_t dynamic_bytes) {
  block.index = index;
  block.block_epoch = ++block.epoch;
  blockIdx = {static_cast<unsigned>(index), 0, 0};
  draw_schedule();
  reset_shared(dynamic_bytes);
  barrier_reset();
  collectives_reset();
  block.clocks.assign(static_cast<size_t>((block.threads + warp_size - 1) / warp_size), WarpClocks());
  for (WarpClocks& clocks : block.clocks) {
    for (size_t i = 0; i < warp_size; ++i) clocks.seen[i][i] = 1;
  }
  block.thread.assign(static_cast<size_t>(block.threads), Thread());
  scheduler.runnable.resize(static_cast<size_t>(block.threads));
  std::iota(scheduler.runnable.begin(), scheduler.runnable.end(), 0);
  scheduler.exited = 0;
  for (int i = 0; i < block.threads; ++i) {
    block.thread[static_cast<size_t>(i)].context = context::make_fcontext(stack_top(i), stack_bytes, fiber_main);
  }
  if (counting) begin_block_counts();
  running = true;
  jump(scheduler.main, take_next());
  running = false;
  if (!scheduler.failure.empty()) {
    throw Failure(with_places(std::exchange(scheduler.failure, {})));
  }
  if (counting) end_block_counts();
}

int barrier_arrived = 0;
Place barrier_place;

}  // namespace

void set_options(const Options& options) {
  scheduler.options = options;
  scheduler.random.seed(options.seed);
  scheduler.until_yield = options.yield_period;
}

std::string describe(Place place) {
  const std::string file = place.file;
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(place.line);
}

std::string describe(int thread) {
  return "thread " + std::to_string(thread) + " of block " + std::to_string(block.index);
}

void fail(const std::string& what) {
  scheduler.failure = std::string(running ? "simt: kernel " : "simt: ") + block.kernel + ": " + what;
  if (!running) throw Failure(with_places(std::exchange(scheduler.failure, {})));
  void* abandoned = nullptr;
  jump_to_main(abandoned);
  __builtin_unreachable();
}

bool is_private(const void* address) {
  const auto* byte = static_cast<const std::byte*>(address);
  const std::byte* top = stack_top(block.current);
  if (byte < top && byte >= top - stack_bytes) return true;
  const auto* arguments = static_cast<const std::byte*>(scheduler.arguments);
  return byte >= arguments && byte < arguments + scheduler.argument_bytes;
}

void suspend(Waiting reason, Place place) {
  Thread& self = block.thread[static_cast<size_t>(block.current)];
  self.waiting = reason;
  self.place = place;
  run_others(self.context);
}

void make_runnable(int thread) {
  block.thread[static_cast<size_t>(thread)].waiting = Waiting::nothing;
  scheduler.runnable.push_back(thread);
}

void maybe_yield() {
  if (scheduler.options.yield_period == 0 || --scheduler.until_yield > 0) return;
  scheduler.until_yield =
      1 + static_cast<int>(scheduler.random() % static_cast<uint64_t>(2 * scheduler.options.yield_period));
  make_runnable(block.current);
  run_others(block.thread[static_cast<size_t>(block.current)].context);
}

void barrier_reset() {
  barrier_arrived = 0;
}

void barrier_on_exit() {
  if (barrier_arrived > 0) {
    fail("divergent barrier: " + describe(block.current) + " exited while others wait" + where_threads_are());
  }
}

void barrier(Place place) {
  if (scheduler.exited > 0) {
    fail("divergent barrier: " + describe(block.current) + " waits at " + describe(place) +
         " for threads that have exited" + where_threads_are());
  }
  if (barrier_arrived > 0 && (place.line != barrier_place.line || std::strcmp(place.file, barrier_place.file) != 0)) {
    fail("divergent barrier: " + describe(block.current) + " waits at " + describe(place) + where_threads_are());
  }
  barrier_place = place;
  if (++barrier_arrived < block.threads) {
    suspend(Waiting::at_barrier, place);
    return;
  }
  barrier_reset();
  ++block.epoch;
  if (counting) {
    count_collective(Collective::barrier);
    merge_block();
  }
  const int self = block.current;
  for (int i = 0; i < block.threads; ++i) make_runnable(i);
  run_others(block.thread[static_cast<size_t>(self)].context);
}

void run(const char* name, const LaunchShape& shape, void (*body)(void*), void* arguments, size_t argument_bytes) {
  block.kernel = name;
  if (shape.threads < 1 || shape.threads > max_threads || shape.blocks < 1 || shape.blocks > INT32_MAX) {
    throw Failure(std::string("simt: kernel ") + name + ": invalid launch of " + std::to_string(shape.blocks) +
                  " blocks of " + std::to_string(shape.threads) + " threads");
  }
  if (counting) begin_launch_counts(name, shape);
  block.threads = shape.threads;
  block.launch_epoch = ++block.epoch;
  blockDim = {static_cast<unsigned>(shape.threads), 1, 1};
  gridDim = {static_cast<unsigned>(shape.blocks), 1, 1};
  scheduler.body = body;
  scheduler.arguments = arguments;
  scheduler.argument_bytes = argument_bytes;
  std::vector<int64_t> order(static_cast<size_t>(shape.blocks));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), scheduler.random);
  for (const int64_t index : order) run_block(index, shape.dynamic_bytes);
  if (counting) end_launch_counts(shared_memory_used());
}

void begin_library_call(const char* name) {
  block.kernel = name;
  block.index = 0;
  block.threads = 1;
  block.current = 0;
  block.launch_epoch = ++block.epoch;
  block.block_epoch = block.launch_epoch;
  block.clocks.assign(1, WarpClocks());
  block.clocks[0].seen[0][0] = 1;
}

}  // namespace simt
