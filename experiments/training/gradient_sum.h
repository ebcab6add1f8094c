// GradientSum: the gradients of one optimizer step, summed in an order that does not depend on the number of ranks.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "runtime/comm/side_work.h"
#include "runtime/optim/optimizer.h"
#include "runtime/parameter.h"

namespace subspect::experiments {

/// A step's sequences are dealt into as many shares as the optimizer has slices. The gradients of each share are formed
/// alone; they are added over a binary tree of the shares, first on the rank that has successive ones, then over the
/// ranks. So every number of ranks that has whole subtrees (shares / ranks is a power of two) gets the same bits. A
/// rank with 2^n shares keeps the gradients n + 1 times.
class GradientSum {
 public:
  /// The parameters' gradients are allocated; stream, parameters and the ranks outlive this object.
  GradientSum(runtime::Stream& stream, std::vector<runtime::Parameter*> parameters,
              const runtime::optim::Sharding& sharding);

  /// From now on the backward passes add to gradients of share `index` of this rank, which are zero now.
  void begin_share(int index);
  /// Adds the share to the earlier ones, unless it is the last one of this rank.
  void end_share(int index);
  /// The last share's gradients of these parameters are complete: adds them to the earlier ones. Once those of a bucket
  /// are, they are summed over the ranks while the backward pass goes on. Buckets are of parameters in reverse order,
  /// the same on every rank, whichever have something to work on.
  void complete(std::span<runtime::Parameter* const> parameters);
  /// The same for what was not complete before; then waits for the sums. The parameters' gradients are the sums over
  /// all shares, in the slices of this rank.
  void finish();

 private:
  struct Entry {
    runtime::Parameter* parameter = nullptr;
    std::vector<runtime::Tensor> levels;  // sums of successive shares that wait for each other; [0]: its own gradient
    bool complete = false;
  };

  Entry& entry_of(const runtime::Parameter* parameter);
  void send_complete();
  void add_levels(Entry& entry, size_t from, size_t count);

  runtime::Stream& stream_;
  runtime::optim::Sharding sharding_;
  std::vector<Entry> entries_;                       // in reverse order of the parameters
  std::vector<size_t> buckets_;                      // where each ends
  size_t sent_ = 0;                                  // buckets of this step
  size_t top_ = 0;                                   // the level that the current share adds to
  std::unique_ptr<runtime::comm::SideWork> beside_;  // where there are several ranks
};

}  // namespace subspect::experiments
