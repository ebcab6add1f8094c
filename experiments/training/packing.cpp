// First-fit packing, shares of equal length, and the order of examples.
#include "experiments/training/packing.h"

#include <algorithm>
#include <numeric>

#include "runtime/error.h"
#include "runtime/random.h"

namespace subspect::experiments {

namespace {

std::vector<size_t> longest_first(std::span<const int64_t> lengths) {
  std::vector<size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return lengths[a] > lengths[b]; });
  return order;
}

}  // namespace

std::vector<std::vector<size_t>> deal_sequences(std::span<const int64_t> lengths, int shares) {
  runtime::require(shares > 0, "deal_sequences", "there must be shares. Received {}.", shares);
  std::vector<std::vector<size_t>> dealt(static_cast<size_t>(shares));
  std::vector<int64_t> totals(dealt.size());
  for (const size_t index : longest_first(lengths)) {
    const auto shortest = std::min_element(totals.begin(), totals.end());
    dealt[static_cast<size_t>(shortest - totals.begin())].push_back(index);
    *shortest += lengths[index];
  }
  for (std::vector<size_t>& share : dealt) std::sort(share.begin(), share.end());
  return dealt;
}

std::vector<std::vector<size_t>> pack_sequences(std::span<const int64_t> lengths, int64_t capacity) {
  runtime::require(capacity > 0, "pack_sequences", "the capacity must be positive. Received {}.", capacity);
  std::vector<std::vector<size_t>> bins;
  std::vector<int64_t> room;
  for (const size_t index : longest_first(lengths)) {
    const int64_t length = lengths[index];
    const auto fit = std::find_if(room.begin(), room.end(), [&](int64_t free) { return free >= length; });
    if (fit == room.end()) {
      bins.push_back({index});
      room.push_back(std::max<int64_t>(capacity - length, 0));
    } else {
      bins[static_cast<size_t>(fit - room.begin())].push_back(index);
      *fit -= length;
    }
  }
  return bins;
}

ExampleOrder::ExampleOrder(int64_t examples, int64_t global_batch, bool shuffle, uint64_t seed)
    : examples_(examples),
      global_batch_(global_batch),
      steps_per_epoch_((examples + global_batch - 1) / std::max<int64_t>(global_batch, 1)),
      shuffle_(shuffle),
      seed_(seed) {
  runtime::require(examples > 0 && global_batch > 0, "ExampleOrder",
                   "there must be examples and a batch size. Received {} and {}.", examples, global_batch);
}

std::span<const int64_t> ExampleOrder::batch(int64_t step) {
  const int64_t epoch = step / steps_per_epoch_;
  if (epoch != epoch_) enter_epoch(epoch);
  const int64_t begin = (step % steps_per_epoch_) * global_batch_;
  const int64_t count = std::min(global_batch_, examples_ - begin);
  return std::span<const int64_t>(order_).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
}

void ExampleOrder::enter_epoch(int64_t epoch) {
  epoch_ = epoch;
  if (shuffle_) {
    const uint64_t stream = runtime::stream_of("training order") + static_cast<uint64_t>(epoch);
    order_ = runtime::random_permutation(examples_, seed_, stream);
  } else if (order_.empty()) {
    order_.resize(static_cast<size_t>(examples_));
    std::iota(order_.begin(), order_.end(), int64_t{0});
  }
}

}  // namespace subspect::experiments
