// TrainingPass: the forward and backward pass over a micro-batch; on a GPU recorded as one piece of work where shapes
// repeat and launching the kernels one by one would take longer than running them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "model/decoder.h"
#include "runtime/replay.h"

namespace subspect::model {

class TrainingPass {
 public:
  using GradientsDone = decltype(ForwardOptions::gradients_done);

  /// The decoder's gradients are allocated; decoder and stream outlive the object.
  TrainingPass(runtime::Stream& stream, Decoder& decoder, Recompute recompute);
  TrainingPass(const TrainingPass&) = delete;
  TrainingPass& operator=(const TrainingPass&) = delete;

  /// Adds to the gradients those of `scale` times the loss summed over the documents' targets, and returns that sum:
  /// float64 [1], on the device. The gradients are in the same memory at every call, and nobody needs to know when one
  /// is complete.
  runtime::Tensor run(std::span<const Document> documents, float scale);

  /// The same for gradients in any memory, and never recorded.
  /// @param gradients_done as in ForwardOptions
  runtime::Tensor run_once(std::span<const Document> documents, float scale, GradientsDone gradients_done);

  /// Whether launching the kernels of a pass over so many tokens would take a GPU's host longer than the GPU to run
  /// them.
  static bool host_would_be_slower(const DecoderConfig& config, int64_t tokens);

  /// Whether `run` launches a recording when the shape is the last one's again.
  bool recorded() const { return replay_ != nullptr && replay_->recorded(); }

 private:
  /// What decides which kernels run, and with which numbers.
  struct Shape {
    int64_t tokens = 0;
    int64_t documents = 0;
    int64_t max_length = 0;
    int64_t predicted = 0;
    float scale = 0;
    bool operator==(const Shape&) const = default;
  };

  void take(const Batch& batch, const Shape& shape);
  runtime::Tensor compute(const Batch& batch, float scale, const ForwardOptions& options) const;

  runtime::Stream& stream_;
  Decoder& decoder_;
  Recompute recompute_;
  Shape shape_;               // of the last pass, if it may be recorded
  Batch batch_;               // what `replay_` reads
  runtime::Tensor loss_sum_;  // what it writes
  std::unique_ptr<runtime::Replay> replay_;
};

}  // namespace subspect::model
