// The rehearsal of a step. It follows Decoder, the ops and the tape tensor by tensor: where they allocate, it does;
// where they let go, it does. A test holds it against what the allocator measures.
#include "model/training_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/optimizer.h"
#include "runtime/allocator.h"
#include "runtime/gpu_queue.h"
#include "runtime/ops/workspaces.h"
#include "runtime/optim/offload.h"
#include "runtime/optim/optimizer.h"

namespace subspect::model {

using runtime::DeviceType;
using runtime::MemoryTag;
using runtime::optim::OffloadedState;
namespace ops = runtime::ops;

namespace {

constexpr int64_t float32_bytes = 4;

MemoryTag tag_of(MemoryUse use) {
  switch (use) {
    case MemoryUse::weights:
      return MemoryTag::weights;
    case MemoryUse::gradients:
      return MemoryTag::gradients;
    case MemoryUse::master_weights:
    case MemoryUse::moments:
    case MemoryUse::windows:
      return MemoryTag::optimizer;
    case MemoryUse::head:
    case MemoryUse::workspace:
    case MemoryUse::libraries:
      return MemoryTag::workspace;
    case MemoryUse::activations:
    case MemoryUse::passing:
    case MemoryUse::recomputed:
    case MemoryUse::small:
      break;
  }
  return MemoryTag::activations;
}

/// An allocator without memory, and what each use held when all together held the most.
class Ledger {
 public:
  /// Held until the last copy of it goes, as a tensor's storage.
  using Block = std::shared_ptr<const void>;

  Block hold(MemoryUse use, int64_t bytes) {
    void* pointer = allocator_.allocate(bytes, tag_of(use));
    now_[static_cast<size_t>(use)] += bytes;
    total_ += bytes;
    if (total_ > most_) {
      most_ = total_;
      at_most_ = now_;
    }
    return {pointer, [this, use, bytes](void* block) {
              allocator_.deallocate(block, bytes, tag_of(use));
              now_[static_cast<size_t>(use)] -= bytes;
              total_ -= bytes;
            }};
  }

  const std::array<int64_t, memory_uses>& at_most() const { return at_most_; }
  int64_t reserved() const { return allocator_.stats().reserved_bytes; }

 private:
  std::deque<char> addresses_;
  runtime::CachingAllocator allocator_{
      {}, {.acquire = [this](int64_t) -> void* { return &addresses_.emplace_back(); }, .release = [](void*) {}}};
  std::array<int64_t, memory_uses> now_{};
  std::array<int64_t, memory_uses> at_most_{};
  int64_t total_ = 0;
  int64_t most_ = 0;
};

using Block = Ledger::Block;

/// Elements of each parameter, in the order of `Decoder::parameters`.
std::vector<int64_t> parameter_sizes(const DecoderConfig& c) {
  const int64_t table = c.vocab_size * c.hidden_size;
  std::vector<int64_t> sizes = {table};
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    sizes.insert(sizes.end(), {c.hidden_size, c.qkv_size() * c.hidden_size});
    if (c.qkv_bias) sizes.push_back(c.qkv_size());
    if (c.qk_norm) sizes.insert(sizes.end(), {c.head_dim, c.head_dim});
    sizes.push_back(c.hidden_size * c.q_size());
    if (c.o_bias) sizes.push_back(c.hidden_size);
    sizes.insert(sizes.end(), {c.hidden_size, 2 * c.intermediate_size * c.hidden_size});
    if (c.mlp_bias) sizes.push_back(2 * c.intermediate_size);
    sizes.push_back(c.hidden_size * c.intermediate_size);
    if (c.mlp_bias) sizes.push_back(c.hidden_size);
  }
  sizes.push_back(c.hidden_size);
  if (!c.tied_embeddings) sizes.push_back(table);
  return sizes;
}

/// What a run holds from its first step to its last.
class Lasting {
 public:
  Lasting(Ledger& ledger, const DecoderConfig& config, const TrainingShape& shape) : ledger_(ledger), shape_(shape) {
    if (shape.device == DeviceType::cuda) hold(MemoryUse::libraries, runtime::cuda::product_workspace_bytes);
    const std::vector<int64_t> sizes = parameter_sizes(config);
    for (const int64_t size : sizes) hold(MemoryUse::weights, size * runtime::element_size(shape.compute));
    hold(MemoryUse::small, config.head_dim / 2 * float32_bytes);
    for (const int64_t size : sizes) hold(MemoryUse::gradients, size * float32_bytes);
    for (const int64_t size : sizes) hold_state(size);
    const int64_t window = OffloadedState::window_bytes(offloaded_, static_cast<int64_t>(sizes.size()));
    for (int64_t i = 0; shape.offload && i < OffloadedState::windows; ++i) hold(MemoryUse::windows, window);
    hold(MemoryUse::small, static_cast<int64_t>(sizes.size() * sizeof(kernels::OptimizerTensor)));
    hold(MemoryUse::small, chunks_ * static_cast<int64_t>(sizeof(kernels::TensorChunk)));
  }

  int64_t chunks() const { return chunks_; }
  int64_t offloaded() const { return offloaded_; }

 private:
  void hold(MemoryUse use, int64_t bytes) { blocks_.push_back(ledger_.hold(use, bytes)); }

  // Of the optimizer's state.
  void hold_part(MemoryUse use, int64_t bytes) {
    if (shape_.offload) {
      offloaded_ += bytes;
    } else {
      hold(use, bytes);
    }
  }

  void hold_state(int64_t size) {
    const int64_t share = ceil_div(size, shape_.ranks);
    if (shape_.master_weights) hold_part(MemoryUse::master_weights, share * float32_bytes);
    const bool coded = shape_.int8_moments && size >= runtime::optim::StateFormat().smallest_int8_tensor;
    for (int64_t moment = 0; moment < shape_.optimizer_moments; ++moment) {
      hold_part(MemoryUse::moments, coded ? share : share * float32_bytes);
      if (coded) hold_part(MemoryUse::moments, ceil_div(share, kernels::moment_block) * float32_bytes);
    }
    chunks_ += ceil_div(share, kernels::chunk_elements);
  }

  static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

  Ledger& ledger_;
  const TrainingShape& shape_;
  std::vector<Block> blocks_;
  int64_t chunks_ = 0;
  int64_t offloaded_ = 0;
};

/// What the tape keeps of a recorded block.
struct SavedBlock {
  Block h1, inv_rms1, y1;     // the residual stream, 1 / rms, and the norm's output
  Block qkv_in, qkv;          // before the norms of queries and keys, and as attention reads it
  Block attended, logsumexp;  // attention's output
  Block h2, inv_rms2, y2;
  Block gate_up, act;
};

/// The residual stream and the update that the next norm adds to it (none before the first block).
struct ResidualStream {
  Block residual, update;
};

class Rehearsal {
 public:
  Rehearsal(Ledger& ledger, const DecoderConfig& config, const TrainingShape& shape)
      : ledger_(ledger),
        c_(config),
        shape_(shape),
        tokens_(shape.micro_batch_tokens),
        width_(runtime::element_size(shape.compute)),
        checkpointed_(std::min(config.layers, shape.recompute.blocks)) {}

  void step(int64_t chunks) {
    constexpr int64_t alignment = 64;
    const int64_t array = (tokens_ * float32_bytes + alignment - 1) / alignment * alignment;
    const Block batch = ledger_.hold(MemoryUse::small, 3 * array + alignment);
    backward(forward());
    const Block partials = scratch(ops::gradient_norm_bytes(shape_.device, chunks));
  }

 private:
  struct Recorded {
    std::vector<ResidualStream> inputs;  // of the blocks that run again
    std::vector<SavedBlock> blocks;      // all others
    Block gradient;                      // of the final norm's output
    Block h, inv_rms;                    // of the final norm
  };

  Block rows(MemoryUse use, int64_t cols) { return ledger_.hold(use, tokens_ * cols * width_); }
  Block scratch(int64_t bytes) { return ledger_.hold(MemoryUse::workspace, bytes); }
  Block row_numbers(MemoryUse use, int64_t each = 1) { return ledger_.hold(use, tokens_ * each * float32_bytes); }

  ops::MatrixShape matrix(int64_t cols) const { return {shape_.device, shape_.compute, tokens_, cols}; }
  ops::HeadsShape heads() const { return {shape_.device, shape_.compute, tokens_, c_.heads, c_.kv_heads, c_.head_dim}; }

  /// A block whose ops are recorded in `saved`; nullptr: none are, and what it returns is kept to run the next one
  /// again.
  ResidualStream block(const ResidualStream& in, SavedBlock* saved, MemoryUse use, bool remakes) {
    SavedBlock discarded;
    const bool recorded = saved != nullptr;
    const MemoryUse kept = recorded ? use : MemoryUse::passing;
    const MemoryUse remade = remakes ? MemoryUse::passing : kept;
    SavedBlock& s = recorded ? *saved : discarded;
    s.h1 = in.update ? rows(kept, c_.hidden_size) : in.residual;
    Block y = rows(remade, c_.hidden_size);
    if (recorded) s.inv_rms1 = row_numbers(kept);
    if (recorded && !remakes) s.y1 = y;
    const Block attended = attend(s, recorded, use, remakes);
    s.h2 = rows(recorded ? use : MemoryUse::activations, c_.hidden_size);
    if (!recorded) s.h1.reset();
    y = rows(remade, c_.hidden_size);
    if (recorded) s.inv_rms2 = row_numbers(kept);
    if (recorded && !remakes) s.y2 = y;
    s.gate_up = rows(kept, 2 * c_.intermediate_size);
    const Block act = rows(remade, c_.intermediate_size);
    if (recorded && !remakes) s.act = act;
    return {s.h2, rows(recorded ? MemoryUse::passing : MemoryUse::activations, c_.hidden_size)};
  }

  /// The projection of attention's output.
  Block attend(SavedBlock& s, bool recorded, MemoryUse use, bool remakes) {
    const MemoryUse kept = recorded ? use : MemoryUse::passing;
    Block qkv = rows(kept, c_.qkv_size());
    if (c_.qk_norm && recorded) {
      s.qkv_in = std::exchange(qkv, rows(remakes ? MemoryUse::passing : kept, c_.qkv_size()));
    }
    const Block out = rows(kept, c_.q_size());
    if (recorded) {
      s.logsumexp = row_numbers(kept, c_.heads);
      s.attended = out;
      if (!(c_.qk_norm && remakes)) s.qkv = qkv;
    }
    return rows(MemoryUse::passing, c_.hidden_size);
  }

  Recorded forward() {
    Recorded recorded;
    ResidualStream stream{rows(MemoryUse::activations, c_.hidden_size), nullptr};
    for (int64_t layer = 0; layer < c_.layers; ++layer) {
      if (layer < checkpointed_) {
        recorded.inputs.push_back(stream);
        stream = block(stream, nullptr, MemoryUse::passing, false);
      } else {
        recorded.blocks.emplace_back();
        stream = block(stream, &recorded.blocks.back(), MemoryUse::activations, shape_.recompute.ops);
      }
    }
    recorded.h = rows(MemoryUse::activations, c_.hidden_size);
    const Block y = rows(MemoryUse::passing, c_.hidden_size);
    recorded.inv_rms = row_numbers(MemoryUse::activations);
    stream = {};
    recorded.gradient = rows(MemoryUse::passing, c_.hidden_size);
    const Block head = ledger_.hold(
        MemoryUse::head, ops::linear_cross_entropy_bytes({shape_.device, shape_.compute, tokens_, c_.vocab_size,
                                                          c_.hidden_size, std::max<int64_t>(0, tokens_ - 1)}));
    return recorded;
  }

  void backward(Recorded recorded) {
    Block gradient = std::move(recorded.gradient);  // of the residual stream, and of the update too
    scratch(ops::rms_norm_backward_bytes(matrix(c_.hidden_size)));
    recorded.h.reset();
    recorded.inv_rms.reset();
    while (!recorded.blocks.empty()) {
      SavedBlock saved = std::move(recorded.blocks.back());
      recorded.blocks.pop_back();
      gradient = backward(std::move(saved), std::move(gradient), shape_.recompute.ops);
    }
    while (!recorded.inputs.empty()) {
      ResidualStream in = std::move(recorded.inputs.back());
      recorded.inputs.pop_back();
      SavedBlock saved;
      block(in, &saved, MemoryUse::recomputed, false);
      in = {};
      const Block kept_by_the_outer_tape = gradient;
      gradient = backward(std::move(saved), std::move(gradient), false);
    }
    scratch(ops::embedding_backward_bytes(matrix(c_.hidden_size)));
  }

  /// The backward pass of a recorded block; takes the gradient of its outputs, returns that of its inputs.
  Block backward(SavedBlock s, Block gradient, bool remakes) {
    gradient = backward_feed_forward(s, remakes);
    const Block dqkv = backward_attention(s, remakes);
    const Block y = remakes ? rows(MemoryUse::recomputed, c_.hidden_size) : nullptr;
    if (c_.qkv_bias) scratch(ops::bias_backward_bytes(matrix(c_.qkv_size())));
    Block dx = rows(MemoryUse::passing, c_.hidden_size);
    scratch(ops::rms_norm_backward_bytes(matrix(c_.hidden_size)));
    return dx;
  }

  Block backward_feed_forward(SavedBlock& s, bool remakes) {
    if (remakes) rows(MemoryUse::recomputed, c_.intermediate_size);
    if (c_.mlp_bias) scratch(ops::bias_backward_bytes(matrix(c_.hidden_size)));
    Block dact = rows(MemoryUse::passing, c_.intermediate_size);
    s.act.reset();
    dact.reset();  // the gradient of gate and up takes their place
    if (remakes) rows(MemoryUse::recomputed, c_.hidden_size);
    if (c_.mlp_bias) scratch(ops::bias_backward_bytes(matrix(2 * c_.intermediate_size)));
    Block dy = rows(MemoryUse::passing, c_.hidden_size);
    s.gate_up.reset();
    s.y2.reset();
    scratch(ops::rms_norm_backward_bytes(matrix(c_.hidden_size)));
    s.h2.reset();
    s.inv_rms2.reset();
    return dy;
  }

  Block backward_attention(SavedBlock& s, bool remakes) {
    if (c_.o_bias) scratch(ops::bias_backward_bytes(matrix(c_.hidden_size)));
    const Block dattended = rows(MemoryUse::passing, c_.q_size());
    Block dqkv;
    {
      const Block again = c_.qk_norm && remakes ? rows(MemoryUse::recomputed, c_.qkv_size()) : nullptr;
      dqkv = rows(MemoryUse::passing, c_.qkv_size());
      scratch(ops::attention_backward_bytes(heads()));
    }
    s.qkv.reset();
    s.attended.reset();
    s.logsumexp.reset();
    if (c_.qk_norm) scratch(ops::rotary_norm_backward_bytes(heads()));
    s.qkv_in.reset();
    return dqkv;
  }

  Ledger& ledger_;
  const DecoderConfig& c_;
  const TrainingShape& shape_;
  int64_t tokens_;
  int64_t width_;
  int64_t checkpointed_;  // blocks that run again
};

}  // namespace

std::string describe(const Recompute& recompute, int64_t layers) {
  const int64_t blocks = std::min(layers, recompute.blocks);
  const std::string again = fmt::format("{} of {} blocks", blocks, layers);
  if (blocks == layers) return "all blocks";
  if (recompute.ops) return blocks > 0 ? "cheap ops, " + again : "cheap ops";
  return blocks > 0 ? again : "none";
}

std::string_view name(MemoryUse use) {
  static constexpr std::array<std::string_view, memory_uses> names = {
      "weights",           "gradients",         "master weights",      "optimizer moments",
      "optimizer windows", "saved activations", "passing activations", "recomputed",
      "loss in chunks",    "kernel workspaces", "library workspaces",  "batch and lists"};
  return names[static_cast<size_t>(use)];
}

int64_t TrainingMemory::peak() const {
  return std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
}

TrainingMemory plan_training(const DecoderConfig& config, const TrainingShape& shape) {
  Ledger ledger;
  int64_t pinned = shape.device == DeviceType::cuda ? runtime::cuda::staging_bytes : 0;
  {
    const Lasting lasting(ledger, config, shape);
    Rehearsal(ledger, config, shape).step(lasting.chunks());
    pinned += lasting.offloaded();
  }
  return {.bytes = ledger.at_most(),
          .reserved = ledger.reserved(),
          .pinned = pinned,
          .recompute = {.ops = shape.recompute.ops, .blocks = std::min(config.layers, shape.recompute.blocks)}};
}

TrainingMemory plan_training_within(const DecoderConfig& config, TrainingShape shape, int64_t bytes) {
  TrainingMemory plan;
  shape.recompute = {};
  for (;;) {
    plan = plan_training(config, shape);
    if (plan.reserved <= bytes || shape.recompute.blocks == config.layers) return plan;
    if (shape.recompute.ops) ++shape.recompute.blocks;
    shape.recompute.ops = true;
  }
}

}  // namespace subspect::model
