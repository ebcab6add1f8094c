// The team's loop: chunks are claimed one by one from a shared counter. Idle workers spin briefly, then sleep, so that
// the many short kernels of a small model do not pay for waking threads.
#include "kernels/thread_team.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace subspect::kernels {
namespace {

constexpr int64_t max_chunks_per_loop = int64_t{1} << 31;
constexpr auto spin_time = std::chrono::microseconds(50);
thread_local bool inside_chunk = false;

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int available_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

/// A loop is published by writing its fields, then `claim` = (its epoch, next chunk 0). A worker reads the fields and
/// claims a chunk by raising `claim`; that succeeds only while the same loop is open, so fields read before belong to
/// it, and the caller does not return before every claimed chunk is done. No worker ever needs to be waited for.
struct ThreadTeam::Shared {
  std::mutex calls;
  alignas(64) std::atomic<uint64_t> claim{0};  // epoch << 32 | next chunk
  alignas(64) std::atomic<uint32_t> epoch{0};  // what sleepers wait on
  alignas(64) std::atomic<int64_t> done{0};
  alignas(64) std::atomic<int64_t> chunks{0};
  std::atomic<ChunkFunction> function{nullptr};
  std::atomic<void*> state{nullptr};
  std::atomic<int> sleepers{0};
  std::atomic<bool> stop{false};
  bool spin = true;

  void run_chunks();
  bool wait_for_work(uint32_t seen);
  void work();
};

void ThreadTeam::Shared::run_chunks() {
  uint64_t ticket = claim.load(std::memory_order_acquire);
  while (true) {
    const int64_t chunk = static_cast<int64_t>(ticket & 0xffffffffU);
    const int64_t count = chunks.load(std::memory_order_relaxed);
    const ChunkFunction call = function.load(std::memory_order_relaxed);
    void* const argument = state.load(std::memory_order_relaxed);
    if (chunk >= count) return;
    if (!claim.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    call(argument, chunk);
    done.fetch_add(1, std::memory_order_release);
    ticket = claim.load(std::memory_order_acquire);
  }
}

/// Returns true when there is a loop newer than `seen`, false when the team ends.
bool ThreadTeam::Shared::wait_for_work(uint32_t seen) {
  const auto deadline = std::chrono::steady_clock::now() + spin_time;
  while (spin && epoch.load(std::memory_order_acquire) == seen) {
    for (int i = 0; i < 32; ++i) pause_briefly();
    if (std::chrono::steady_clock::now() > deadline) break;
  }
  if (epoch.load(std::memory_order_acquire) == seen) {
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    epoch.wait(seen, std::memory_order_seq_cst);
    sleepers.fetch_sub(1, std::memory_order_relaxed);
  }
  return !stop.load(std::memory_order_acquire);
}

void ThreadTeam::Shared::work() {
  inside_chunk = true;  // a loop started by a chunk is serial
  uint32_t seen = 0;
  while (wait_for_work(seen)) {
    seen = epoch.load(std::memory_order_acquire);
    run_chunks();
  }
}

ThreadTeam::ThreadTeam(int threads) : shared_(std::make_unique<Shared>()) {
  const int cores = available_cores();
  const int count = threads > 0 ? threads : cores;
  shared_->spin = count <= cores;
  workers_.reserve(static_cast<size_t>(count) - 1);
  for (int i = 1; i < count; ++i) workers_.emplace_back([this] { shared_->work(); });
}

ThreadTeam::~ThreadTeam() {
  shared_->stop.store(true, std::memory_order_release);
  shared_->epoch.fetch_add(1, std::memory_order_seq_cst);
  shared_->epoch.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

int ThreadTeam::size() const {
  return static_cast<int>(workers_.size()) + 1;
}

void ThreadTeam::run(int64_t chunks, ChunkFunction function, void* state) {
  if (chunks <= 1 || workers_.empty() || inside_chunk || chunks >= max_chunks_per_loop) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) function(state, chunk);
    return;
  }
  Shared& shared = *shared_;
  const std::lock_guard lock(shared.calls);
  inside_chunk = true;
  // Close the finished loop under a new epoch before its fields change: a late worker finds no chunk to claim.
  const uint32_t epoch = shared.epoch.load(std::memory_order_relaxed) + 1;
  shared.claim.store((static_cast<uint64_t>(epoch) << 32) | 0xffffffffU, std::memory_order_release);
  shared.chunks.store(chunks, std::memory_order_relaxed);
  shared.function.store(function, std::memory_order_relaxed);
  shared.state.store(state, std::memory_order_relaxed);
  shared.done.store(0, std::memory_order_relaxed);
  shared.claim.store(static_cast<uint64_t>(epoch) << 32, std::memory_order_release);
  shared.epoch.store(epoch, std::memory_order_seq_cst);
  if (shared.sleepers.load(std::memory_order_seq_cst) > 0) {
    const int64_t wanted = std::min<int64_t>(chunks - 1, static_cast<int64_t>(workers_.size()));
    for (int64_t i = 0; i < wanted; ++i) shared.epoch.notify_one();
  }
  shared.run_chunks();
  for (int spins = 0; shared.done.load(std::memory_order_acquire) != chunks; ++spins) {
    if (spins < 1000) {
      pause_briefly();
    } else {
      std::this_thread::yield();
    }
  }
  inside_chunk = false;
}

}  // namespace subspect::kernels
