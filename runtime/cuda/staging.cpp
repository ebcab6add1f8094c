// The ring of pinned memory.
#include "runtime/cuda/staging.h"

#include <algorithm>

#include "runtime/error.h"

namespace subspect::runtime::cuda {

namespace {
constexpr size_t most_under_way = 256;  // small copies: beyond that the oldest is waited for
}

StagingRing::StagingRing(int64_t piece_bytes, int pieces) : piece_bytes_(piece_bytes), memory_(piece_bytes * pieces) {
  require(piece_bytes > 0 && piece_bytes % alignment == 0 && pieces >= 3, "StagingRing",
          "pieces must be a multiple of {} bytes, and at least 3. Received {} of {} bytes.", alignment, pieces,
          piece_bytes);
}

char* StagingRing::take(int64_t bytes) {
  require(bytes > 0 && bytes <= piece_bytes_, "StagingRing::take", "bytes must be in [1, {}]. Received {}.",
          piece_bytes_, bytes);
  const int64_t size = (bytes + alignment - 1) / alignment * alignment;
  begin_ = end_ + size <= memory_.bytes() ? end_ : 0;
  end_ = begin_ + size;
  while (under_way_.size() >= most_under_way || in_use(begin_, end_)) retire_oldest();
  return memory_.data() + begin_;
}

StagingRing::Ticket StagingRing::used_by(cudaStream_t stream) {
  if (spare_.empty()) spare_.emplace_back(EventTiming::off);
  spare_.back().record(stream);
  under_way_.push_back({begin_, end_, next_, std::move(spare_.back())});
  spare_.pop_back();
  return next_++;
}

void StagingRing::wait(Ticket ticket) {
  while (!under_way_.empty() && under_way_.front().ticket <= ticket) retire_oldest();
}

void StagingRing::retire_oldest() {
  under_way_.front().copied.wait();
  spare_.push_back(std::move(under_way_.front().copied));
  under_way_.pop_front();
}

bool StagingRing::in_use(int64_t begin, int64_t end) const {
  return std::any_of(under_way_.begin(), under_way_.end(),
                     [&](const Piece& piece) { return piece.begin < end && begin < piece.end; });
}

}  // namespace subspect::runtime::cuda
