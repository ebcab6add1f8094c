// Optimizer steps.
#include "experiments/training/trainer.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "experiments/training/packing.h"
#include "runtime/error.h"

namespace subspect::experiments {

namespace {

std::vector<int64_t> lengths_of(std::span<const TrainingSequence* const> sequences) {
  std::vector<int64_t> lengths;
  lengths.reserve(sequences.size());
  for (const TrainingSequence* sequence : sequences) lengths.push_back(static_cast<int64_t>(sequence->ids.size()));
  return lengths;
}

}  // namespace

Trainer::Trainer(runtime::Stream& stream, model::Decoder& decoder, std::unique_ptr<runtime::optim::Optimizer> optimizer,
                 TrainerOptions options)
    : stream_(stream),
      optimizer_(std::move(optimizer)),
      options_(options),
      gradients_(stream, decoder.parameters(), optimizer_->sharding()),
      pass_(stream, decoder, options_.recompute) {}

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
  const runtime::optim::Sharding& sharding = optimizer_->sharding();
  const auto dealt = deal_sequences(lengths_of(sequences), sharding.slices);
  const int shares = sharding.slices_per_rank();
  for (int share = 0; share < shares; ++share) {
    std::vector<const TrainingSequence*> members;
    const int number = sharding.rank() * shares + share;
    for (const size_t index : dealt[static_cast<size_t>(number)]) {
      members.push_back(sequences[index]);
    }
    gradients_.begin_share(share);
    pending.loss_sums.push_back(queue_share(members, scale, share + 1 == shares));
    gradients_.end_share(share);
  }
  gradients_.finish();
  return pending;
}

std::vector<runtime::Tensor> Trainer::queue_share(Sequences share, float scale, bool last) {
  std::vector<runtime::Tensor> loss_sums;
  const auto micro_batches = pack_sequences(lengths_of(share), options_.packing ? options_.micro_batch_tokens : 1);
  for (size_t i = 0; i < micro_batches.size(); ++i) {
    std::vector<model::Document> documents;
    documents.reserve(micro_batches[i].size());
    for (const size_t member : micro_batches[i]) documents.push_back({share[member]->ids, share[member]->targets});
    if (optimizer_->sharding().slices == 1) {
      loss_sums.push_back(pass_.run(documents, scale));
      continue;
    }
    // Shares have gradients of their own, and those of the last one are sent while others are formed.
    model::TrainingPass::GradientsDone done;
    if (last && i + 1 == micro_batches.size()) {
      done = [this](std::span<runtime::Parameter* const> parameters) { gradients_.complete(parameters); };
    }
    loss_sums.push_back(pass_.run_once(documents, scale, std::move(done)));
  }
  return loss_sums;
}

StepResult Trainer::read_loss(const Pending& pending) const {
  StepResult result = pending.result;
  std::vector<double> shares;
  for (const std::vector<runtime::Tensor>& sums : pending.loss_sums) {
    double& share = shares.emplace_back(0);
    for (const runtime::Tensor& sum : sums) share += sum.to_host<double>(stream_)[0];
  }
  runtime::comm::Communicator* ranks = optimizer_->sharding().ranks;
  if (ranks != nullptr) shares = ranks->gather(shares);
  const double loss_sum = std::accumulate(shares.begin(), shares.end(), 0.0);
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
