// Sums over shares and ranks.
#include "experiments/training/gradient_sum.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "runtime/error.h"
#include "runtime/ops/accumulate.h"

namespace subspect::experiments {

using runtime::Parameter;
using runtime::Tensor;

namespace {

constexpr int64_t bucket_elements = 1 << 14;  // at least: small tensors travel together

}  // namespace

GradientSum::GradientSum(runtime::Stream& stream, std::vector<Parameter*> parameters,
                         const runtime::optim::Sharding& sharding)
    : stream_(stream), sharding_(sharding) {
  const auto shares = static_cast<unsigned>(sharding.slices_per_rank());
  runtime::require(std::has_single_bit(shares), "GradientSum",
                   "the shares of a rank must be a power of two. Received {} shares on {} ranks.", sharding.slices,
                   sharding.rank_count());
  int64_t elements = 0;
  for (auto parameter = parameters.rbegin(); parameter != parameters.rend(); ++parameter) {
    if (!(*parameter)->trained()) continue;
    entries_.push_back({*parameter, {(*parameter)->grad}, false});
    elements += (*parameter)->grad.numel();
    if (elements < bucket_elements) continue;
    buckets_.push_back(entries_.size());
    elements = 0;
  }
  if (elements > 0) buckets_.push_back(entries_.size());
  if (sharding.rank_count() > 1) beside_ = std::make_unique<runtime::comm::SideWork>(stream, *sharding.ranks);
}

// Shares that are added make a binary number: a level is a bit, and adding two sums of equal size carries.
void GradientSum::begin_share(int index) {
  sent_ = 0;
  top_ = static_cast<size_t>(std::popcount(static_cast<unsigned>(index)));
  const runtime::MemoryScope scope(*stream_.allocator(), runtime::MemoryTag::gradients);
  for (Entry& entry : entries_) {
    entry.complete = false;
    if (index == 0) entry.levels[0] = entry.parameter->grad;
    if (entry.levels.size() == top_) entry.levels.push_back(Tensor::empty(stream_, entry.levels[0].shape(), {}));
    entry.levels[top_].fill_zero(stream_);
    entry.parameter->grad = entry.levels[top_];
  }
}

void GradientSum::end_share(int index) {
  if (index + 1 == sharding_.slices_per_rank()) return;
  const auto carries = static_cast<size_t>(std::countr_one(static_cast<unsigned>(index)));
  for (Entry& entry : entries_) add_levels(entry, top_, carries);
}

void GradientSum::add_levels(Entry& entry, size_t from, size_t count) {
  for (size_t level = from; level > from - count; --level) {
    runtime::ops::add_into(stream_, entry.levels[level - 1], entry.levels[level]);
  }
}

GradientSum::Entry& GradientSum::entry_of(const Parameter* parameter) {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.parameter == parameter; });
  runtime::require(found != entries_.end(), "GradientSum", "a trained parameter is required.");
  return *found;
}

void GradientSum::complete(std::span<Parameter* const> parameters) {
  for (Parameter* parameter : parameters) {
    if (!parameter->trained()) continue;
    Entry& entry = entry_of(parameter);
    if (std::exchange(entry.complete, true)) continue;
    add_levels(entry, top_, top_);
    parameter->grad = entry.levels[0];
  }
  if (beside_) send_complete();
}

void GradientSum::send_complete() {
  for (; sent_ < buckets_.size(); ++sent_) {
    const auto begin = entries_.begin() + static_cast<ptrdiff_t>(sent_ == 0 ? 0 : buckets_[sent_ - 1]);
    const auto end = entries_.begin() + static_cast<ptrdiff_t>(buckets_[sent_]);
    if (!std::all_of(begin, end, [](const Entry& entry) { return entry.complete; })) return;
    std::vector<runtime::comm::Split> splits;
    for (auto entry = begin; entry != end; ++entry) {
      splits.push_back(runtime::optim::split(entry->levels[0], sharding_));
    }
    beside_->run([ranks = sharding_.ranks, splits = std::move(splits)](runtime::Stream& side) {
      ranks->reduce_scatter(side, splits);
    });
  }
}

void GradientSum::finish() {
  std::vector<Parameter*> parameters;
  for (const Entry& entry : entries_) parameters.push_back(entry.parameter);
  complete(parameters);
  if (beside_) beside_->join();
}

}  // namespace subspect::experiments
