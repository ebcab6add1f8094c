// The generation loop: admit prompts while there is room, prefill them packed, then decode one token for all that run.
#include "model/generation/generate.h"

#include <algorithm>
#include <array>
#include <list>
#include <map>
#include <memory>
#include <optional>

#include "model/config_reader.h"
#include "model/generation/decode_step.h"
#include "model/generation/kv_cache.h"
#include "model/generation/sampler.h"
#include "model/generation/text_collector.h"
#include "runtime/error.h"
#include "runtime/hardware.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/embedding.h"
#include "runtime/upload.h"

namespace subspect::model {

using runtime::Error;
using runtime::Execution;
using runtime::Stream;
using runtime::Tensor;
using runtime::UsageError;
using runtime::Variable;
namespace ops = runtime::ops;

namespace {

constexpr int64_t cpu_sequences = 64;
constexpr int64_t gpu_sequences = 256;
constexpr int64_t cpu_cache_bytes = int64_t{4} << 30;
constexpr int64_t gpu_cache_share = 6;  // one part in so many of the GPU's memory
constexpr size_t most_steps = 16;       // of different shapes that are kept: on a GPU each holds memory

/// A prompt on its way to a completion.
struct Sequence {
  size_t index = 0;             // of the prompt
  std::vector<int32_t> tokens;  // prompt and completion
  int64_t prompt_length = 0;
  int64_t max_length = 0;  // of tokens
  PageList pages;
  TextCollector text;

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  SamplerRow row() const { return {.sequence = static_cast<int64_t>(index), .position = length(), .tokens = tokens}; }
};

class Generator {
 public:
  Generator(Stream& stream, Decoder& decoder, const Tokenizer* tokenizer, std::span<const std::vector<int32_t>> prompts,
            const GenerationOptions& options)
      : stream_(stream),
        decoder_(decoder),
        tokenizer_(tokenizer),
        prompts_(prompts),
        options_(options),
        completions_(prompts.size()),
        cache_(stream, decoder.config(), decoder.dtype(), cache_tokens()) {}

  std::vector<Completion> run(const GenerationCallback& callback) {
    while (next_ < prompts_.size() || !running_.empty()) {
      if (has_room()) admit();
      if (!running_.empty()) decode();
      if (callback) {
        callback({finished_, static_cast<int64_t>(prompts_.size()), new_tokens_, just_finished_, completions_});
      }
      just_finished_.clear();
    }
    return std::move(completions_);
  }

 private:
  /// Positions that a prompt and its completion may take.
  int64_t max_length(const std::vector<int32_t>& prompt) const {
    return std::min(static_cast<int64_t>(prompt.size()) + options_.max_new_tokens, decoder_.config().max_positions);
  }

  int64_t cache_tokens() const {
    int64_t longest = 1;
    for (const std::vector<int32_t>& prompt : prompts_) longest = std::max(longest, max_length(prompt));
    longest = KvCache::pages_for(longest) * KvCache::page_size;
    int64_t tokens = options_.max_cache_tokens;
    if (tokens == 0) {
      const int64_t affordable =
          default_cache_bytes(stream_.device()) / KvCache::bytes_per_token(decoder_.config(), decoder_.dtype());
      tokens = std::min(longest * std::min(options_.max_sequences, static_cast<int64_t>(prompts_.size())), affordable);
    }
    return std::max(tokens, longest);
  }

  bool fits(const std::vector<int32_t>& prompt) const {
    return static_cast<int64_t>(running_.size()) < options_.max_sequences &&
           KvCache::pages_for(max_length(prompt)) <= cache_.free_pages();
  }

  /// Prompts enter in groups, since a prefill of one is hardly cheaper than that of several.
  bool has_room() const {
    if (next_ == prompts_.size() || !fits(prompts_[next_])) return false;
    const int64_t places = options_.max_sequences - static_cast<int64_t>(running_.size());
    const int64_t waiting = static_cast<int64_t>(prompts_.size() - next_);
    return running_.empty() || places >= std::min(waiting, (options_.max_sequences + 3) / 4);
  }

  /// Takes prompts in order as long as they fit, and computes their keys, values and first new token.
  void admit() {
    std::vector<std::list<Sequence>::iterator> admitted;
    int64_t tokens = 0;
    while (next_ < prompts_.size() && fits(prompts_[next_])) {
      const std::vector<int32_t>& prompt = prompts_[next_];
      const auto length = static_cast<int64_t>(prompt.size());
      if (!admitted.empty() && tokens + length > max_prefill_tokens) break;
      tokens += length;
      running_.push_back({.index = next_,
                          .tokens = prompt,
                          .prompt_length = length,
                          .max_length = max_length(prompt),
                          .pages = cache_.take(max_length(prompt)),
                          .text = TextCollector(tokenizer_, options_.stop, options_.skip_special_tokens)});
      admitted.push_back(std::prev(running_.end()));
      ++next_;
    }
    accept(admitted, prefill(admitted));
  }

  /// Fills the cache with the prompts, and chooses the token that follows each.
  std::vector<int32_t> prefill(const std::vector<std::list<Sequence>::iterator>& sequences) {
    std::vector<Document> documents;
    std::vector<int32_t> slots;
    std::vector<int32_t> last_rows;
    std::vector<SamplerRow> rows;
    for (const auto& sequence : sequences) {
      documents.push_back({.ids = sequence->tokens, .targets = {}});
      for (int64_t t = 0; t < sequence->length(); ++t) slots.push_back(KvCache::slot(sequence->pages, t));
      last_rows.push_back(static_cast<int32_t>(slots.size()) - 1);
      rows.push_back(sequence->row());
    }
    const Batch batch = pack(stream_, documents);
    const std::array<std::span<const int32_t>, 2> arrays = {slots, last_rows};
    const std::vector<Tensor> uploaded = runtime::upload_together(stream_, arrays);
    const auto attention = [&](const Execution& on, int64_t layer, const Variable& qkv) {
      ops::append_to_cache(on, qkv.value, decoder_.config().heads, cache_.layer(layer), uploaded[0]);
      return decoder_.packed_attention(on, layer, qkv, batch);
    };
    const Execution on{stream_};
    const Variable hidden =
        decoder_.forward(on, batch.ids, batch.positions, attention, {.intervention = options_.intervention});
    const Tensor last = ops::take_rows(on, hidden.value, uploaded[1]);
    return choose_tokens(stream_, decoder_.logits(stream_, last), rows, options_.sampling);
  }

  /// One more token for every running sequence.
  void decode() {
    std::vector<std::list<Sequence>::iterator> sequences;
    sequences.reserve(running_.size());
    for (auto it = running_.begin(); it != running_.end(); ++it) sequences.push_back(it);
    std::vector<DecodeRow> rows;
    rows.reserve(sequences.size());
    for (const auto& sequence : sequences) rows.push_back({sequence->row(), &sequence->pages});
    accept(sequences, step_for(rows).run(rows));
  }

  DecodeStep& step_for(std::span<const DecodeRow> rows) {
    const DecodeStep::Shape shape = DecodeStep::shape_of(stream_.device(), rows);
    std::unique_ptr<DecodeStep>* step = &steps_[shape];
    if (*step == nullptr && steps_.size() > most_steps) {
      steps_.clear();
      step = &steps_[shape];
    }
    if (*step == nullptr) {
      *step = std::make_unique<DecodeStep>(stream_, decoder_, cache_, options_.sampling, shape, options_.intervention);
    }
    return **step;
  }

  /// Adds each sequence's next token, and retires those that are done.
  void accept(const std::vector<std::list<Sequence>::iterator>& sequences, const std::vector<int32_t>& chosen) {
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (const std::optional<FinishReason> reason = push(*sequences[i], chosen[i])) retire(sequences[i], *reason);
    }
    new_tokens_ += static_cast<int64_t>(chosen.size());
  }

  /// Adds a token; says why the sequence ends, if it does.
  std::optional<FinishReason> push(Sequence& sequence, int32_t id) const {
    sequence.tokens.push_back(id);
    const bool is_eos =
        std::find(options_.eos_ids.begin(), options_.eos_ids.end(), int64_t{id}) != options_.eos_ids.end();
    if (is_eos && !options_.ignore_eos) return FinishReason::stop;
    if (sequence.text.push(id)) return FinishReason::stop;
    if (sequence.length() >= sequence.max_length) return FinishReason::length;
    return std::nullopt;
  }

  void retire(std::list<Sequence>::iterator sequence, FinishReason reason) {
    // A character that was held back may complete a stop string.
    if (sequence->text.finish()) reason = FinishReason::stop;
    Completion& completion = completions_[sequence->index];
    completion.tokens.assign(sequence->tokens.begin() + sequence->prompt_length, sequence->tokens.end());
    completion.text = sequence->text.text();
    completion.finish_reason = reason;
    cache_.give_back(sequence->pages);
    just_finished_.push_back(sequence->index);
    running_.erase(sequence);
    ++finished_;
  }

  Stream& stream_;
  Decoder& decoder_;
  const Tokenizer* tokenizer_;
  std::span<const std::vector<int32_t>> prompts_;
  const GenerationOptions& options_;
  std::vector<Completion> completions_;
  KvCache cache_;
  std::map<DecodeStep::Shape, std::unique_ptr<DecodeStep>> steps_;
  std::list<Sequence> running_;
  size_t next_ = 0;  // the prompt that enters next
  int64_t finished_ = 0;
  std::vector<size_t> just_finished_;
  int64_t new_tokens_ = 0;
};

void check_options(const GenerationOptions& options, const Tokenizer* tokenizer) {
  check_sampling(options.sampling);
  if (options.max_new_tokens < 1) {
    throw UsageError(fmt::format("max_new_tokens {} is out of range", options.max_new_tokens), "", "give 1 or more");
  }
  if (options.max_sequences < 1) {
    throw UsageError(fmt::format("max_sequences {} is out of range", options.max_sequences), "", "give 1 or more");
  }
  runtime::require(options.stop.empty() || tokenizer != nullptr, "generate",
                   "stop strings need a tokenizer. Received none.");
}

void check_prompt(const std::vector<int32_t>& prompt, size_t index, const DecoderConfig& config) {
  const std::string where = fmt::format("prompt {}", index);
  if (prompt.empty()) throw Error("the prompt has no tokens", where, "give text, or a tokenizer that adds a BOS token");
  if (static_cast<int64_t>(prompt.size()) >= config.max_positions) {
    throw Error(fmt::format("{} tokens leave no room in the model's {} positions", prompt.size(), config.max_positions),
                where, "shorten the prompt");
  }
  ops::check_token_ids(prompt, config.vocab_size, where);
}

}  // namespace

std::string_view name(FinishReason reason) {
  return reason == FinishReason::stop ? "stop" : "length";
}

int64_t default_sequences(runtime::Device device) {
  return device.type == runtime::DeviceType::cpu ? cpu_sequences : gpu_sequences;
}

int64_t default_cache_bytes(runtime::Device device) {
  return default_cache_bytes(device.type, runtime::hardware_of(device).memory_bytes);
}

int64_t default_cache_bytes(runtime::DeviceType device, int64_t memory_bytes) {
  return device == runtime::DeviceType::cpu ? cpu_cache_bytes : memory_bytes / gpu_cache_share;
}

std::vector<Completion> generate(Stream& stream, Decoder& decoder, const Tokenizer* tokenizer,
                                 std::span<const std::vector<int32_t>> prompts, const GenerationOptions& options,
                                 const GenerationCallback& callback) {
  check_options(options, tokenizer);
  for (size_t i = 0; i < prompts.size(); ++i) check_prompt(prompts[i], i, decoder.config());
  if (prompts.empty()) return {};
  return Generator(stream, decoder, tokenizer, prompts, options).run(callback);
}

std::vector<int64_t> read_eos_ids(const std::filesystem::path& directory, const DecoderConfig& config) {
  const std::filesystem::path path = directory / "generation_config.json";
  if (std::filesystem::exists(path)) {
    std::vector<int64_t> ids = ConfigReader::read(path).ids("eos_token_id");
    if (!ids.empty()) return ids;
  }
  return config.eos_ids;
}

}  // namespace subspect::model
