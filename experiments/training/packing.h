// Which sequences share a micro-batch, and which belong to an optimizer step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace subspect::experiments {

/// Packs sequences into as few micro-batches of at most `capacity` tokens as first-fit decreasing finds. A sequence
/// longer than the capacity gets a micro-batch of its own. Returns indices into `lengths`, each exactly once;
/// deterministic.
std::vector<std::vector<size_t>> pack_sequences(std::span<const int64_t> lengths, int64_t capacity);

/// Deals sequences to shares of nearly equal length: the longest first, each to the share that is shortest so far.
/// Returns the indices of each share in ascending order; with fewer sequences than shares the last ones are empty.
/// Deterministic.
std::vector<std::vector<size_t>> deal_sequences(std::span<const int64_t> lengths, int shares);

/// The order in which examples are seen: each epoch is a permutation of all of them (or the given order), cut into
/// batches of `global_batch`; the last batch of an epoch holds what is left. A step's batch depends on the seed and the
/// number of the step alone, so a resumed run sees what an uninterrupted one would have.
class ExampleOrder {
 public:
  ExampleOrder(int64_t examples, int64_t global_batch, bool shuffle, uint64_t seed);

  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  /// The examples of optimizer step `step`, counted from 0 over all epochs.
  std::span<const int64_t> batch(int64_t step);

 private:
  void enter_epoch(int64_t epoch);

  int64_t examples_;
  int64_t global_batch_;
  int64_t steps_per_epoch_;
  bool shuffle_;
  uint64_t seed_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // of the current epoch
};

}  // namespace subspect::experiments
