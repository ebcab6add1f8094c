// Text generation: batched over prompts of different lengths, with a paged KV cache and continuous batching.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/decoder.h"

namespace subspect::model {

class Tokenizer;

/// Of prompts in one forward pass, unless one prompt is longer.
inline constexpr int64_t max_prefill_tokens = 8192;

struct SamplingOptions {
  double temperature = 0.0;  ///< 0 = greedy: the highest score, the lowest id among equals
  int64_t top_k = 0;         ///< 0 = all
  double top_p = 1.0;        ///< keep the most likely tokens that sum to this
  double repetition_penalty =
      1.0;  ///< as Transformers: scores of tokens of prompt and completion, divided when positive
  uint64_t seed = 0;

  bool draws() const { return temperature > 0; }
  bool penalizes() const { return repetition_penalty != 1.0; }
};

struct GenerationOptions {
  int64_t max_new_tokens = 256;
  SamplingOptions sampling = {};
  std::vector<std::string> stop = {};  ///< the text is cut before the first of them; needs a tokenizer
  std::vector<int64_t> eos_ids = {};   ///< end a sequence; not part of the text
  bool ignore_eos = false;             ///< benchmarks: always max_new_tokens
  int64_t max_sequences = 64;          ///< that run at once
  int64_t max_cache_tokens = 0;        ///< of the KV cache; 0 = what max_sequences of the longest need
  bool skip_special_tokens = true;     ///< in the text
  /// Of every forward pass, over the prompts and the new tokens alike; nullptr: none.
  const Intervention* intervention = nullptr;
};

enum class FinishReason : uint8_t { stop, length };

/// "stop" (an EOS id or a stop string) or "length" (max_new_tokens, or the model's positions are used up).
std::string_view name(FinishReason reason);

struct Completion {
  std::vector<int32_t>
      tokens;        ///< new ids, a final EOS included; with a stop string, up to the token that completed it
  std::string text;  ///< cut before a stop string; empty without a tokenizer
  FinishReason finish_reason = FinishReason::length;
};

struct GenerationProgress {
  int64_t finished = 0;  ///< sequences
  int64_t total = 0;
  int64_t new_tokens = 0;
  std::span<const size_t> just_finished = {};    ///< prompts that this step finished
  std::span<const Completion> completions = {};  ///< of all prompts; only those of finished ones are complete
};

/// Most bytes of the KV cache where `max_cache_tokens` is 0, unless one sequence needs more: a sixth of a GPU's memory,
/// 4 GiB on a CPU.
int64_t default_cache_bytes(runtime::Device device);
/// The same for a device of a type with so much memory, which need not be there.
int64_t default_cache_bytes(runtime::DeviceType device, int64_t memory_bytes);

/// Sequences that are worth running at once: 64 on a CPU, 256 on a GPU, which is hardly slower with many than with few.
int64_t default_sequences(runtime::Device device);

/// Called after every step; may throw to end the generation (ctrl-C).
using GenerationCallback = std::function<void(const GenerationProgress&)>;

/// Completes every prompt (lists of at least one id); results are in the prompts' order.
///
/// A prompt's completion depends on the prompt, its index, and the seed: not on what else is in the batch or how many
/// run at once, but for the rounding of matrix products, which may depend on their number of rows (in float32 some
/// 1e-7 of a score). The same call gives the same result for any number of threads.
/// @param tokenizer for texts and stop strings; may be null when neither is wanted.
std::vector<Completion> generate(runtime::Stream& stream, Decoder& decoder, const Tokenizer* tokenizer,
                                 std::span<const std::vector<int32_t>> prompts, const GenerationOptions& options,
                                 const GenerationCallback& callback = {});

/// EOS ids of a model directory: generation_config.json's (a number or a list), else config.json's.
std::vector<int64_t> read_eos_ids(const std::filesystem::path& directory, const DecoderConfig& config);

}  // namespace subspect::model
