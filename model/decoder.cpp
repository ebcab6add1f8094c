// The decoder-only transformer, top down: documents -> embedding -> blocks -> final norm -> head.
//
// Shapes: T tokens of all documents, D hidden, V vocabulary.
#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <utility>

#include "model/architectures/architecture.h"
#include "runtime/error.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/embedding.h"
#include "runtime/ops/gated_activation.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/ops/rotary.h"
#include "runtime/random.h"
#include "runtime/upload.h"

namespace subspect::model {

using runtime::DType;
using runtime::Execution;
using runtime::Parameter;
using runtime::Stream;
using runtime::Tensor;
using runtime::Variable;
namespace ops = runtime::ops;

namespace {

/// Rows of a packed parameter that belong to one tensor of the checkpoint.
struct NamedRows {
  std::string name;
  int64_t rows = 0;
};

/// @param columns 0 for a vector (norm or bias)
Parameter make_parameter(Stream& stream, DType dtype, std::vector<NamedRows> parts, int64_t columns = 0) {
  Parameter parameter;
  int64_t rows = 0;
  for (NamedRows& part : parts) {
    parameter.parts.push_back({std::move(part.name), rows, rows + part.rows});
    rows += part.rows;
  }
  parameter.value = Tensor::empty(stream, columns > 0 ? runtime::Shape{rows, columns} : runtime::Shape{rows}, dtype);
  return parameter;
}

/// "model.layers.{}.mlp.up_proj", 3, ".weight" -> "model.layers.3.mlp.up_proj.weight"
std::string layer_name(const std::string& pattern, int64_t layer, const char* suffix) {
  return fmt::format(fmt::runtime(pattern), layer) + suffix;
}

DecoderLayer make_layer(Stream& stream, const DecoderConfig& c, const TensorNames& names, int64_t index, DType dtype) {
  const auto weight = [&](const std::string& pattern) { return layer_name(pattern, index, ".weight"); };
  const auto bias = [&](const std::string& pattern) { return layer_name(pattern, index, ".bias"); };
  const auto make = [&](std::vector<NamedRows> parts, int64_t columns = 0) {
    return make_parameter(stream, dtype, std::move(parts), columns);
  };
  const int64_t q = c.q_size();
  const int64_t kv = c.kv_size();
  const int64_t inner = c.intermediate_size;
  DecoderLayer layer;
  layer.attention_norm = make({{weight(names.attention_norm), c.hidden_size}});
  layer.qkv = make({{weight(names.q), q}, {weight(names.k), kv}, {weight(names.v), kv}}, c.hidden_size);
  if (c.qkv_bias) layer.qkv_bias = make({{bias(names.q), q}, {bias(names.k), kv}, {bias(names.v), kv}});
  if (c.qk_norm) {
    layer.q_norm = make({{weight(names.q_norm), c.head_dim}});
    layer.k_norm = make({{weight(names.k_norm), c.head_dim}});
  }
  layer.o = make({{weight(names.o), c.hidden_size}}, q);
  if (c.o_bias) layer.o_bias = make({{bias(names.o), c.hidden_size}});
  layer.mlp_norm = make({{weight(names.mlp_norm), c.hidden_size}});
  layer.gate_up = make({{weight(names.gate), inner}, {weight(names.up), inner}}, c.hidden_size);
  layer.down = make({{weight(names.down), c.hidden_size}}, inner);
  if (c.mlp_bias) {
    layer.gate_up_bias = make({{bias(names.gate), inner}, {bias(names.up), inner}});
    layer.down_bias = make({{bias(names.down), c.hidden_size}});
  }
  return layer;
}

Parameter* optional(Parameter& parameter) {
  return parameter.value.defined() ? &parameter : nullptr;
}

/// Calls `visit(parameter)` for each of these that the decoder has.
template <class P, class Visit>
void visit_defined(std::initializer_list<P*> parameters, Visit visit) {
  for (P* parameter : parameters) {
    if (parameter->value.defined()) visit(*parameter);
  }
}

/// The same for a block.
template <class P, class Layer, class Visit>
void visit_layer(Layer& layer, Visit visit) {
  visit_defined<P>({&layer.attention_norm, &layer.qkv, &layer.qkv_bias, &layer.q_norm, &layer.k_norm, &layer.o,
                    &layer.o_bias, &layer.mlp_norm, &layer.gate_up, &layer.gate_up_bias, &layer.down, &layer.down_bias},
                   visit);
}

/// The same for all of them, in the order of the forward pass.
template <class Layers, class P, class Visit>
void visit_parameters(P& embedding, Layers& layers, P& final_norm, P& lm_head, Visit visit) {
  visit_defined<P>({&embedding}, visit);
  for (auto& layer : layers) visit_layer<P>(layer, visit);
  visit_defined<P>({&final_norm, &lm_head}, visit);
}

/// Fills one tensor of the checkpoint; a vector is a norm (ones) or a bias (zeros).
void initialize_part(Stream& stream, const Tensor& value, const std::string& name, double range, uint64_t seed) {
  if (value.dim() > 1) {
    runtime::fill_normal(stream, value, range, runtime::Philox(seed, runtime::stream_of(name)));
  } else if (name.ends_with(".bias")) {
    value.fill_zero(stream);
  } else {
    const std::vector<float> ones(static_cast<size_t>(value.numel()), 1.0F);
    value.copy_from(stream, Tensor::from_host<float>(stream, ones, value.shape()));
  }
}

}  // namespace

Batch pack(Stream& stream, std::span<const Document> documents) {
  std::vector<int32_t> ids;
  std::vector<int32_t> positions;
  std::vector<int32_t> targets;
  std::vector<int32_t> ends = {0};
  Batch batch;
  const bool any_targets =
      std::any_of(documents.begin(), documents.end(), [](const Document& d) { return !d.targets.empty(); });
  for (const Document& document : documents) {
    const auto length = static_cast<int64_t>(document.ids.size());
    runtime::require(length > 0, "pack", "every document needs at least one token. Received an empty one.");
    runtime::require(document.targets.empty() || document.targets.size() == document.ids.size(), "pack",
                     "targets must be as many as ids. Received {} and {}.", document.targets.size(), length);
    ids.insert(ids.end(), document.ids.begin(), document.ids.end());
    for (int64_t t = 0; t < length; ++t) positions.push_back(static_cast<int32_t>(t));
    targets.insert(targets.end(), document.targets.begin(), document.targets.end());
    targets.resize(ids.size(), ops::ignored_target);
    ends.push_back(static_cast<int32_t>(ids.size()));
    batch.max_length = std::max(batch.max_length, length);
  }
  runtime::require(!ids.empty(), "pack", "at least one document is required. Received none.");
  batch.tokens = static_cast<int64_t>(ids.size());
  batch.documents = static_cast<int64_t>(documents.size());
  batch.predicted = std::count_if(targets.begin(), targets.end(), [](int32_t target) { return target >= 0; });
  if (!any_targets) targets.clear();
  const std::array<std::span<const int32_t>, 4> arrays = {ids, positions, ends, targets};
  const std::vector<Tensor> tensors = runtime::upload_together(stream, arrays);
  batch.ids = tensors[0];
  batch.positions = tensors[1];
  batch.cu_seqlens = tensors[2];
  if (any_targets) batch.targets = tensors[3];
  return batch;
}

std::vector<int32_t> shift_labels(std::span<const int32_t> labels) {
  std::vector<int32_t> targets(labels.begin(), labels.end());
  if (targets.empty()) return targets;
  std::rotate(targets.begin(), targets.begin() + 1, targets.end());
  targets.back() = ops::ignored_target;
  return targets;
}

Decoder::Decoder(Stream& stream, DecoderConfig config, DType dtype) : config_(std::move(config)), dtype_(dtype) {
  runtime::require(dtype == DType::float32 || dtype == DType::bfloat16, "decoder",
                   "the dtype must be float32 or bfloat16. Received {}.", runtime::name(dtype));
  const Architecture* architecture = find_architecture(config_.model_type);
  runtime::require(architecture != nullptr, "decoder", "a registered architecture is required. Received \"{}\".",
                   config_.model_type);
  const runtime::MemoryScope scope(*stream.allocator(), runtime::MemoryTag::weights);
  const TensorNames& names = architecture->names;
  embedding_ = make_parameter(stream, dtype, {{names.embedding + ".weight", config_.vocab_size}}, config_.hidden_size);
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    layers_.push_back(make_layer(stream, config_, names, layer, dtype));
  }
  final_norm_ = make_parameter(stream, dtype, {{names.final_norm + ".weight", config_.hidden_size}});
  if (!config_.tied_embeddings) {
    lm_head_ = make_parameter(stream, dtype, {{names.lm_head + ".weight", config_.vocab_size}}, config_.hidden_size);
  }
  inverse_frequencies_ = Tensor::from_host<float>(stream, rope_inverse_frequencies(config_.rope, config_.head_dim),
                                                  {config_.head_dim / 2});
}

void Decoder::initialize(Stream& stream, uint64_t seed) {
  for (const Parameter* parameter : parameters()) {
    for (const Parameter::Part& part : parameter->parts) {
      initialize_part(stream, parameter->part_value(part), part.name, config_.initializer_range, seed);
    }
  }
}

std::vector<Parameter*> Decoder::parameters() {
  std::vector<Parameter*> result;
  visit_parameters(embedding_, layers_, final_norm_, lm_head_, [&](Parameter& p) { result.push_back(&p); });
  return result;
}

std::vector<const Parameter*> Decoder::parameters() const {
  std::vector<const Parameter*> result;
  visit_parameters(embedding_, layers_, final_norm_, lm_head_, [&](const Parameter& p) { result.push_back(&p); });
  return result;
}

void Decoder::allocate_grads(Stream& stream) {
  for (Parameter* parameter : parameters()) parameter->allocate_grad(stream);
}

Variable Decoder::forward(const Execution& on, const Batch& batch, const ForwardOptions& options) {
  // By value: recomputation calls it again in the backward pass, when this frame is gone.
  const Attention attention = [this, batch](const Execution& where, int64_t layer, const Variable& qkv) {
    return packed_attention(where, layer, qkv, batch);
  };
  return forward(on, batch.ids, batch.positions, attention, options);
}

Variable Decoder::forward(const Execution& on, const Tensor& ids, const Tensor& positions, const Attention& attention,
                          const ForwardOptions& options) {
  runtime::require(on.tape == nullptr || options.hidden_states == nullptr, "decoder",
                   "hidden states are collected in inference only. Received a tape.");
  runtime::require(on.tape == nullptr || options.intervention == nullptr, "decoder",
                   "interventions are for inference only. Received a tape.");
  if (options.intervention != nullptr) options.intervention->require_fits(config_, dtype_);
  const runtime::MemoryScope scope(*on.stream.allocator(), runtime::MemoryTag::activations);
  // The residual stream [T, D] and the update that the next norm will add to it; the first block has no update.
  std::vector<Variable> stream = {ops::embedding(on, embedding_, ids)};
  if (options.intervention != nullptr) options.intervention->change(on, stream[0].value, 0);
  const Execution recorded{on.stream, on.tape, options.recompute.ops};
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    mark_complete(on, layer, options);
    const auto run = [this, layer, positions, attention, options](const Execution& where,
                                                                  std::span<const Variable> inputs) {
      return block(where, layer, inputs, positions, attention, options);
    };
    stream = layer < options.recompute.blocks ? runtime::checkpoint(on, std::move(stream), run) : run(recorded, stream);
  }
  mark_complete(on, config_.layers, options);
  Variable x_TD = ops::add_rms_norm(on, stream[0], stream[1], final_norm_, config_.rms_norm_eps).normed;
  if (options.hidden_states != nullptr) options.hidden_states->push_back(x_TD.value);
  return x_TD;
}

// What is recorded from here on uses the parameters of this block, or of the head after the last, and no other does.
void Decoder::mark_complete(const Execution& on, int64_t layer, const ForwardOptions& options) {
  if (on.tape == nullptr || !options.gradients_done) return;
  std::vector<Parameter*> parameters;
  const auto add = [&](Parameter& parameter) { parameters.push_back(&parameter); };
  if (layer < config_.layers) {
    visit_layer<Parameter>(layers_[static_cast<size_t>(layer)], add);
  } else {
    visit_defined<Parameter>({&final_norm_, &lm_head_}, add);
  }
  on.tape->mark([done = options.gradients_done, parameters = std::move(parameters)] { done(parameters); });
}

std::vector<Variable> Decoder::block(const Execution& on, int64_t index, std::span<const Variable> stream,
                                     const Tensor& positions, const Attention& attention,
                                     const ForwardOptions& options) {
  DecoderLayer& layer = layers_[static_cast<size_t>(index)];
  const float eps = config_.rms_norm_eps;
  ops::AddRmsNorm x = stream.size() == 1
                          ? ops::AddRmsNorm{stream[0], ops::rms_norm(on, stream[0], layer.attention_norm, eps)}
                          : ops::add_rms_norm(on, stream[0], stream[1], layer.attention_norm, eps);
  if (options.hidden_states != nullptr) options.hidden_states->push_back(x.residual.value);
  const Variable attended = attend(on, index, x.normed, positions, attention);
  if (options.intervention != nullptr) options.intervention->change(on, attended.value, -1);
  x = ops::add_rms_norm(on, x.residual, attended, layer.mlp_norm, eps);
  const Variable update = feed_forward(on, layer, x.normed);
  if (options.intervention != nullptr) options.intervention->change(on, update.value, index + 1);
  return {x.residual, update};
}

Variable Decoder::attend(const Execution& on, int64_t index, const Variable& x, const Tensor& positions,
                         const Attention& attention) {
  DecoderLayer& layer = layers_[static_cast<size_t>(index)];
  Variable qkv = ops::linear(on, x, layer.qkv, optional(layer.qkv_bias));
  qkv = ops::rotary(on, std::move(qkv),
                    {.heads = config_.heads,
                     .kv_heads = config_.kv_heads,
                     .head_dim = config_.head_dim,
                     .rotary_dim = config_.head_dim,
                     .inv_freq = inverse_frequencies_,
                     .attention_factor = rope_attention_factor(config_.rope),
                     .positions = positions,
                     .q_norm = optional(layer.q_norm),
                     .k_norm = optional(layer.k_norm),
                     .eps = config_.rms_norm_eps});
  return ops::linear(on, attention(on, index, qkv), layer.o, optional(layer.o_bias));
}

Variable Decoder::feed_forward(const Execution& on, DecoderLayer& layer, const Variable& x) const {
  const Variable gate_up = ops::linear(on, x, layer.gate_up, optional(layer.gate_up_bias));
  return ops::linear(on, ops::gated_activation(on, gate_up, config_.activation), layer.down, optional(layer.down_bias));
}

Variable Decoder::packed_attention(const Execution& on, int64_t layer, const Variable& qkv, const Batch& batch) const {
  return ops::attention(on, qkv,
                        {.heads = config_.heads,
                         .kv_heads = config_.kv_heads,
                         .head_dim = config_.head_dim,
                         .cu_seqlens = batch.cu_seqlens,
                         .max_len = batch.max_length,
                         .scale = 0,
                         .sliding_window = config_.window(layer)});
}

ops::CrossEntropy Decoder::loss(const Execution& on, const Batch& batch, float gradient_scale,
                                const ForwardOptions& options) {
  runtime::require(batch.targets.defined(), "decoder", "a loss needs targets. Received a batch without.");
  return ops::linear_cross_entropy(on, forward(on, batch, options), lm_head(), batch.targets, gradient_scale,
                                   batch.predicted);
}

Tensor Decoder::token_log_probabilities(Stream& stream, const Batch& batch, const ForwardOptions& options) {
  runtime::require(batch.targets.defined(), "decoder", "log probabilities need targets. Received a batch without.");
  const Execution on{stream};
  return ops::token_log_probabilities(on, forward(on, batch, options).value, lm_head(), batch.targets, batch.predicted);
}

Tensor Decoder::logits(Stream& stream, const Tensor& hidden) {
  return ops::logits(Execution{stream}, hidden, lm_head());
}

}  // namespace subspect::model
