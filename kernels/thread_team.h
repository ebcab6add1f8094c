// The one team of threads behind every CPU kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace subspect::kernels {

/// A fixed set of threads that run the chunks of one loop at a time.
///
/// Chunks are numbered by the caller and must not depend on the number of threads: then results do not either.
/// One loop runs at a time; a `for_each_chunk` from inside a chunk runs serially on the calling thread. Calls from
/// different threads are serialised.
class ThreadTeam {
 public:
  /// @param threads number of threads that work on a loop, the caller included; 0 means one per available core
  ///        (the process's CPU affinity decides).
  explicit ThreadTeam(int threads = 0);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const;

  /// Calls `body(chunk)` once for each chunk in [0, chunks), in any order, on any thread; returns when all are done.
  /// `body` must not throw.
  template <class Body>
  void for_each_chunk(int64_t chunks, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run(
        chunks, [](void* state, int64_t chunk) { (*static_cast<Plain*>(state))(chunk); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

  /// Calls `body(begin, end)` for consecutive ranges of at most `grain` that cover [0, count).
  template <class Body>
  void for_each_range(int64_t count, int64_t grain, Body&& body) {
    for_each_chunk((count + grain - 1) / grain, [&](int64_t chunk) {
      const int64_t begin = chunk * grain;
      body(begin, begin + grain < count ? begin + grain : count);
    });
  }

 private:
  using ChunkFunction = void (*)(void* state, int64_t chunk);
  void run(int64_t chunks, ChunkFunction function, void* state);

  struct Shared;
  std::unique_ptr<Shared> shared_;
  std::vector<std::thread> workers_;
};

}  // namespace subspect::kernels
