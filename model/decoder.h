// Decoder: a decoder-only transformer. Its parameters, the forward pass that training and inference share, the loss.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/intervention.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/parameter.h"
#include "runtime/tape.h"
#include "runtime/tensor.h"

namespace subspect::model {

/// One sequence of a batch. `targets[t]` is what position t predicts (already shifted), runtime::ops::ignored_target
/// where nothing is; empty when no loss is wanted.
struct Document {
  std::span<const int32_t> ids;
  std::span<const int32_t> targets = {};
};

/// Documents packed one after the other, without padding: T tokens in all. Attention stays within a document, whose
/// positions start at 0. All tensors are int32 on the stream's device.
struct Batch {
  runtime::Tensor ids;         ///< [T]
  runtime::Tensor positions;   ///< [T]
  runtime::Tensor cu_seqlens;  ///< [documents + 1]: where each document begins, and T
  runtime::Tensor targets;     ///< [T]; undefined when no document has targets
  int64_t tokens = 0;
  int64_t documents = 0;
  int64_t max_length = 0;  ///< of one document
  int64_t predicted = 0;   ///< targets that are not ignored
};

/// Throws Error for an empty document, or targets of another length than ids.
Batch pack(runtime::Stream& stream, std::span<const Document> documents);

/// The labels that Hugging Face uses (label t belongs to token t) as targets: shifted one to the left.
std::vector<int32_t> shift_labels(std::span<const int32_t> labels);

/// What the backward pass makes again instead of keeping it. The gradients are the same, bit by bit.
struct Recompute {
  bool ops = false;    ///< the outputs of norms, of rotations with norms, and of gated activations
  int64_t blocks = 0;  ///< of the first so many blocks everything but their inputs: these are run once more

  static constexpr int64_t all_blocks = std::numeric_limits<int64_t>::max();
  bool operator==(const Recompute&) const = default;
};

struct ForwardOptions {
  Recompute recompute = {};
  std::vector<runtime::Tensor>* hidden_states = nullptr;  ///< receives layers + 1 tensors [T, hidden]: the embedding
                                                          ///< output, the residual stream after each layer but the
                                                          ///< last, and the final norm's output, as Transformers.
                                                          ///< Inference only.
  /// Called in the backward pass with parameters whose gradients are complete: those of the head (unless tied), then
  /// of each block from the last to the first. The others are complete when the pass ends.
  std::function<void(std::span<runtime::Parameter* const> parameters)> gradients_done = nullptr;
  /// Changes the residual stream; nullptr: nothing does. Inference only.
  const Intervention* intervention = nullptr;
};

/// Parameters of one block; a parameter that the architecture does not have is undefined.
struct DecoderLayer {
  runtime::Parameter attention_norm;  ///< [hidden]
  runtime::Parameter qkv;             ///< [qkv_size, hidden]: q, k, v rows
  runtime::Parameter qkv_bias;        ///< [qkv_size]
  runtime::Parameter q_norm;          ///< [head_dim]
  runtime::Parameter k_norm;          ///< [head_dim]
  runtime::Parameter o;               ///< [hidden, q_size]
  runtime::Parameter o_bias;          ///< [hidden]
  runtime::Parameter mlp_norm;        ///< [hidden]
  runtime::Parameter gate_up;         ///< [2 * intermediate, hidden]: gate, up rows
  runtime::Parameter gate_up_bias;    ///< [2 * intermediate]
  runtime::Parameter down;            ///< [hidden, intermediate]
  runtime::Parameter down_bias;       ///< [hidden]
};

class Decoder {
 public:
  /// Allocates the parameters, uninitialised. @param dtype float32 or bfloat16: of parameters and activations.
  Decoder(runtime::Stream& stream, DecoderConfig config, runtime::DType dtype);
  Decoder(Decoder&&) = default;
  Decoder& operator=(Decoder&&) = default;
  Decoder(const Decoder&) = delete;  // a copy would share the weights
  Decoder& operator=(const Decoder&) = delete;

  const DecoderConfig& config() const { return config_; }
  runtime::DType dtype() const { return dtype_; }

  /// Weights from N(0, initializer_range), norms 1, biases 0. Values depend on the seed and each weight's name alone.
  void initialize(runtime::Stream& stream, uint64_t seed);

  /// Every parameter once, in the order of the forward pass. Pointers live until the decoder is
  /// moved or destroyed.
  std::vector<runtime::Parameter*> parameters();
  std::vector<const runtime::Parameter*> parameters() const;

  /// Gradients (float32 zeros) for every parameter.
  void allocate_grads(runtime::Stream& stream);

  /// Attention of one layer: packed and rotated q, k, v heads [T, qkv_size] in, [T, q_size] out.
  using Attention =
      std::function<runtime::Variable(const runtime::Execution& on, int64_t layer, const runtime::Variable& qkv)>;

  /// The final norm's output [T, hidden], with any attention: what prefilling and decoding share with training.
  /// @param ids, positions int32 [T]
  runtime::Variable forward(const runtime::Execution& on, const runtime::Tensor& ids, const runtime::Tensor& positions,
                            const Attention& attention, const ForwardOptions& options = {});

  /// The same with causal attention within each document.
  runtime::Variable forward(const runtime::Execution& on, const Batch& batch, const ForwardOptions& options = {});

  /// Cross entropy of the predicted targets, summed; `loss.loss` is that times `gradient_scale`, and a backward pass
  /// from it adds to every allocated gradient. For a mean over an optimizer step, the scale is 1 / its targets.
  runtime::ops::CrossEntropy loss(const runtime::Execution& on, const Batch& batch, float gradient_scale,
                                  const ForwardOptions& options = {});

  /// log p(target) of each token, float32 [T], 0 where ignored. Inference only.
  runtime::Tensor token_log_probabilities(runtime::Stream& stream, const Batch& batch,
                                          const ForwardOptions& options = {});

  /// Scores of the vocabulary for rows of `hidden` [N, hidden]: float32 [N, vocab]. Inference only.
  runtime::Tensor logits(runtime::Stream& stream, const runtime::Tensor& hidden);

  /// The token table [vocab, hidden], and the output projection (the same when tied).
  runtime::Parameter& embedding() { return embedding_; }
  runtime::Parameter& lm_head() { return config_.tied_embeddings ? embedding_ : lm_head_; }
  std::vector<DecoderLayer>& layers() { return layers_; }
  runtime::Parameter& final_norm() { return final_norm_; }

  /// Causal attention of one layer over packed documents.
  runtime::Variable packed_attention(const runtime::Execution& on, int64_t layer, const runtime::Variable& qkv,
                                     const Batch& batch) const;

 private:
  std::vector<runtime::Variable> block(const runtime::Execution& on, int64_t layer,
                                       std::span<const runtime::Variable> stream, const runtime::Tensor& positions,
                                       const Attention& attention, const ForwardOptions& options);
  runtime::Variable attend(const runtime::Execution& on, int64_t layer, const runtime::Variable& x,
                           const runtime::Tensor& positions, const Attention& attention);
  void mark_complete(const runtime::Execution& on, int64_t layer, const ForwardOptions& options);
  runtime::Variable feed_forward(const runtime::Execution& on, DecoderLayer& layer, const runtime::Variable& x) const;

  DecoderConfig config_;
  runtime::DType dtype_;
  runtime::Parameter embedding_;
  std::vector<DecoderLayer> layers_;
  runtime::Parameter final_norm_;
  runtime::Parameter lm_head_;
  runtime::Tensor inverse_frequencies_;  // float32 [head_dim / 2]
};

}  // namespace subspect::model
