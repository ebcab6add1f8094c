// Pinned host memory through which ordinary memory reaches the device: a ring of pieces, each free again once the copy
// that used it is done.
#pragma once

#include <deque>
#include <vector>

#include "runtime/cuda/event.h"

namespace subspect::runtime::cuda {

/// Pieces are taken in turn. Not thread-safe; the device of the streams must be current in every call.
class StagingRing {
 public:
  static constexpr int64_t alignment = 256;

  /// @param piece_bytes the largest piece, a multiple of 256; the ring holds `pieces` of that size, at least 3.
  StagingRing(int64_t piece_bytes, int pieces);

  int64_t piece_bytes() const { return piece_bytes_; }

  /// Pinned memory of `bytes` (1 to piece_bytes) that no copy uses any more; waits for older copies where the ring is
  /// full. Valid until three further pieces of the largest size were taken.
  char* take(int64_t bytes);

  /// Names the copy just queued on `stream` as the user of the piece taken last.
  using Ticket = uint64_t;
  Ticket used_by(cudaStream_t stream);

  /// Returns when the copy of that ticket, and all before it, are done.
  void wait(Ticket ticket);

  /// Waits for every copy under way.
  void drain() { wait(next_ - 1); }

 private:
  struct Piece {
    int64_t begin;
    int64_t end;
    Ticket ticket;
    Event copied;
  };

  void retire_oldest();
  bool in_use(int64_t begin, int64_t end) const;

  int64_t piece_bytes_;
  PinnedMemory memory_;
  int64_t begin_ = 0;  // of the piece taken last
  int64_t end_ = 0;
  Ticket next_ = 1;
  std::deque<Piece> under_way_;
  std::vector<Event> spare_;
};

}  // namespace subspect::runtime::cuda
