// Passes over micro-batches, and which of them are recorded.
#include "model/training_pass.h"

#include <utility>

namespace subspect::model {

namespace {

/// Tokens times weights of a block below which launching the block's kernels is what takes the time: about 40 launches
/// of 4 microseconds each, against 6 operations per token and weight at 600 TFLOP/s. An estimate, never measured.
constexpr double launch_bound_work = 1.6e10;

}  // namespace

TrainingPass::TrainingPass(runtime::Stream& stream, Decoder& decoder, Recompute recompute)
    : stream_(stream), decoder_(decoder), recompute_(recompute) {}

runtime::Tensor TrainingPass::run(std::span<const Document> documents, float scale) {
  const Batch batch = pack(stream_, documents);
  if (stream_.gpu() == nullptr || !host_would_be_slower(decoder_.config(), batch.tokens)) {
    replay_.reset();  // with its memory
    return compute(batch, scale, {.recompute = recompute_});
  }
  take(batch, {batch.tokens, batch.documents, batch.max_length, batch.predicted, scale});
  replay_->run();
  return loss_sum_.clone(stream_);  // the next run overwrites it
}

runtime::Tensor TrainingPass::run_once(std::span<const Document> documents, float scale, GradientsDone gradients_done) {
  return compute(pack(stream_, documents), scale,
                 {.recompute = recompute_, .gradients_done = std::move(gradients_done)});
}

bool TrainingPass::host_would_be_slower(const DecoderConfig& config, int64_t tokens) {
  const auto weights = static_cast<double>(config.hidden_size) *
                       static_cast<double>(3 * config.intermediate_size + config.q_size() + config.qkv_size());
  return static_cast<double>(tokens) * weights <= launch_bound_work;  // of a block
}

/// Makes `replay_` work on this batch. One recording is kept: packed micro-batches rarely have the same shape twice,
/// and what a recording needs nobody else can use.
void TrainingPass::take(const Batch& batch, const Shape& shape) {
  if (replay_ != nullptr && shape == shape_) {
    batch_.ids.copy_from(stream_, batch.ids);
    batch_.positions.copy_from(stream_, batch.positions);
    batch_.cu_seqlens.copy_from(stream_, batch.cu_seqlens);
    batch_.targets.copy_from(stream_, batch.targets);
    return;
  }
  replay_.reset();
  batch_ = batch;
  shape_ = shape;
  replay_ = std::make_unique<runtime::Replay>(
      stream_, [this] { loss_sum_ = compute(batch_, shape_.scale, {.recompute = recompute_}); });
}

runtime::Tensor TrainingPass::compute(const Batch& batch, float scale, const ForwardOptions& options) const {
  runtime::Tape tape(stream_);
  const auto loss = decoder_.loss({stream_, &tape}, batch, scale, options);
  tape.backward(loss.loss);
  return loss.loss_sum;
}

}  // namespace subspect::model
