// Trainer: optimizer steps of a decoder on batches of sequences. Knows nothing of configurations and run directories.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "experiments/training/gradient_sum.h"
#include "experiments/training/sequences.h"
#include "model/training_pass.h"
#include "runtime/optim/optimizer.h"
#include "runtime/optim/schedule.h"

namespace subspect::experiments {

struct TrainerOptions {
  runtime::optim::Schedule schedule = {};
  int64_t total_steps = 0;
  int64_t micro_batch_tokens = 8192;
  bool packing = true;  ///< false: one sequence per micro-batch
  model::Recompute recompute = {};
  double max_grad_norm = 1.0;
};

/// What one optimizer step measured.
struct StepResult {
  double loss = 0;       ///< mean over the targets of the whole step
  double grad_norm = 0;  ///< before clipping
  double lr = 0;         ///< that was applied
  int64_t tokens = 0;
  int64_t predicted = 0;
};

class Trainer {
 public:
  /// The decoder's gradients are allocated (before the optimizer is made); decoder and stream outlive the trainer. The
  /// optimizer's sharding says among which ranks, and in how many shares, the sequences of a step are dealt.
  Trainer(runtime::Stream& stream, model::Decoder& decoder, std::unique_ptr<runtime::optim::Optimizer> optimizer,
          TrainerOptions options);

  /// One optimizer step on these sequences, the same on every rank, each of which works on its part: gradients of the
  /// mean loss over all their targets, clipped, applied. Throws Error naming the step (and the parameter) when the loss
  /// or a gradient is not finite; nothing is updated then.
  StepResult step(std::span<const TrainingSequence* const> sequences);

  /// The gradients that `step` would apply, left in the parameters (in the slices of this rank). For tests and
  /// benchmarks.
  StepResult accumulate_gradients(std::span<const TrainingSequence* const> sequences);

  int64_t steps() const { return optimizer_->steps(); }
  const TrainerOptions& options() const { return options_; }
  runtime::optim::Optimizer& optimizer() { return *optimizer_; }

 private:
  /// A step whose gradients are queued and whose losses were not read yet, since that waits for the device.
  struct Pending {
    StepResult result;
    std::vector<std::vector<runtime::Tensor>> loss_sums;  // of the micro-batches of each share, [1] float64
  };
  using Sequences = std::span<const TrainingSequence* const>;

  Pending queue_gradients(Sequences sequences);
  /// @param last whether no share of this rank follows @returns the losses of its micro-batches
  std::vector<runtime::Tensor> queue_share(Sequences share, float scale, bool last);
  /// Throws Error when the loss is not finite.
  StepResult read_loss(const Pending& pending) const;
  [[noreturn]] void throw_not_finite(const std::string& what) const;

  runtime::Stream& stream_;
  std::unique_ptr<runtime::optim::Optimizer> optimizer_;
  TrainerOptions options_;
  GradientSum gradients_;
  model::TrainingPass pass_;
};

}  // namespace subspect::experiments
