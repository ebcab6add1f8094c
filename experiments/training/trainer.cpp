// Optimizer steps.
#include "experiments/training/trainer.h"

#include <cmath>
#include <utility>

#include "experiments/training/packing.h"
#include "runtime/error.h"

namespace subspect::experiments {

namespace {

std::vector<std::vector<size_t>> micro_batches(std::span<const TrainingSequence* const> sequences,
                                               const TrainerOptions& options) {
  std::vector<int64_t> lengths;
  lengths.reserve(sequences.size());
  for (const TrainingSequence* sequence : sequences) lengths.push_back(static_cast<int64_t>(sequence->ids.size()));
  return pack_sequences(lengths, options.packing ? options.micro_batch_tokens : 1);
}

}  // namespace

Trainer::Trainer(runtime::Stream& stream, model::Decoder& decoder, std::unique_ptr<runtime::optim::Optimizer> optimizer,
                 TrainerOptions options)
    : stream_(stream),
      decoder_(decoder),
      parameters_(decoder.parameters()),
      optimizer_(std::move(optimizer)),
      options_(options) {}

Trainer::Pending Trainer::queue_gradients(std::span<const TrainingSequence* const> sequences) {
  Pending pending;
  StepResult& result = pending.result;
  for (const TrainingSequence* sequence : sequences) {
    result.tokens += static_cast<int64_t>(sequence->ids.size());
    result.predicted += sequence->predicted;
  }
  runtime::require(result.predicted > 0, "Trainer", "a step must have targets. Received {} sequences without any.",
                   sequences.size());
  const auto scale = static_cast<float>(1.0 / static_cast<double>(result.predicted));
  runtime::optim::zero_grads(stream_, parameters_);
  for (const std::vector<size_t>& members : micro_batches(sequences, options_)) {
    std::vector<model::Document> documents;
    documents.reserve(members.size());
    for (const size_t member : members) documents.push_back({sequences[member]->ids, sequences[member]->targets});
    const model::Batch batch = model::pack(stream_, documents);
    runtime::Tape tape(stream_);
    const auto loss = decoder_.loss({stream_, &tape}, batch, scale, {.recompute = options_.recompute});
    pending.loss_sums.push_back(loss.loss_sum);
    tape.backward(loss.loss);
  }
  return pending;
}

StepResult Trainer::read_loss(const Pending& pending) const {
  StepResult result = pending.result;
  double loss_sum = 0;
  for (const runtime::Tensor& sum : pending.loss_sums) loss_sum += sum.to_host<double>(stream_)[0];
  if (!std::isfinite(loss_sum)) throw_not_finite("the loss");
  result.loss = loss_sum / static_cast<double>(result.predicted);
  return result;
}

StepResult Trainer::accumulate_gradients(std::span<const TrainingSequence* const> sequences) {
  return read_loss(queue_gradients(sequences));
}

StepResult Trainer::step(std::span<const TrainingSequence* const> sequences) {
  const Pending pending = queue_gradients(sequences);
  const double factor = options_.schedule.factor(steps(), options_.total_steps);
  const runtime::optim::GradientNorm norm =
      optimizer_->step({.lr_factor = factor, .max_grad_norm = options_.max_grad_norm});  // waits for the device
  StepResult result = read_loss(pending);                                                // has arrived by then
  if (norm.non_finite > 0) throw_not_finite("the gradient of " + norm.first_non_finite);
  result.grad_norm = norm.norm;
  result.lr = optimizer_->lr() * factor;
  return result;
}

void Trainer::throw_not_finite(const std::string& what) const {
  throw runtime::Error(what + " is NaN or infinite", fmt::format("step {}", steps() + 1),
                       "lower the learning rate or check the data; the last checkpoint is kept");
}

}  // namespace subspect::experiments
