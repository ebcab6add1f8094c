// A tiny decoder, a tokenizer of a few words, and random sequences: what the tests of training share.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "experiments/training/trainer.h"
#include "model/decoder.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/random.h"

namespace subspect::experiments::testing {

inline constexpr int64_t tiny_vocabulary = 40;

inline const char* tiny_config_json() {
  return R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48, "vocab_size": 40,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
    "hidden_act": "silu", "bos_token_id": null, "eos_token_id": 0, "initializer_range": 0.1})";
}

/// Words w1 .. w38 and "Answer:", "<eos>" as id 0, split at white space.
inline std::string tiny_tokenizer_json() {
  std::string vocabulary = R"("<eos>": 0, "<unk>": 39)";
  for (int i = 1; i < 39; ++i) vocabulary += ", \"w" + std::to_string(i) + "\": " + std::to_string(i);
  return R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{"id": 0, "content": "<eos>",
    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "vocab": {)" +
         vocabulary + R"(}, "unk_token": "<unk>"}})";
}

inline std::string tiny_tokenizer_config() {
  return R"({"eos_token": "<eos>", "tokenizer_class": "PreTrainedTokenizerFast"})";
}

inline model::Tokenizer tiny_tokenizer() {
  return model::Tokenizer::parse(tiny_tokenizer_json(), tiny_tokenizer_config(), "the test's tokenizer");
}

/// Random sequences of `shortest` to `longest` tokens; about a third of the positions are not learned.
inline std::vector<TrainingSequence> random_sequences(size_t count, int64_t shortest, int64_t longest, uint64_t seed) {
  runtime::Random random(seed);
  std::vector<TrainingSequence> sequences(count);
  for (TrainingSequence& sequence : sequences) {
    const auto length = shortest + static_cast<int64_t>(random.below(static_cast<uint64_t>(longest - shortest + 1)));
    for (int64_t t = 0; t < length; ++t) {
      sequence.ids.push_back(static_cast<int32_t>(random.below(tiny_vocabulary)));
      const bool learned = t == 0 || random.chance(0.67);
      sequence.targets.push_back(learned ? static_cast<int32_t>(random.below(tiny_vocabulary))
                                         : runtime::ops::ignored_target);
      sequence.predicted += learned ? 1 : 0;
    }
  }
  return sequences;
}

inline std::vector<const TrainingSequence*> pointers(std::span<const TrainingSequence> sequences) {
  std::vector<const TrainingSequence*> list;
  for (const TrainingSequence& sequence : sequences) list.push_back(&sequence);
  return list;
}

/// A tiny decoder from a fixed seed with its trainer.
class TinyTraining {
 public:
  enum class Rule { adamw, sgd };

  explicit TinyTraining(TrainerOptions options = {}, int threads = 2, Rule rule = Rule::adamw, double lr = 1e-2,
                        runtime::DType dtype = runtime::DType::float32,
                        const runtime::optim::StateFormat& format = {.master_weights = true},
                        const runtime::optim::Sharding& sharding = {})
      : stream_(runtime::Stream::open(runtime::Device{}, threads)),
        decoder_(*stream_, model::parse_decoder_config(tiny_config_json(), "tiny"), dtype) {
    decoder_.initialize(*stream_, 7);
    decoder_.allocate_grads(*stream_);
    const auto parameters = decoder_.parameters();
    auto optimizer = rule == Rule::adamw
                         ? runtime::optim::make_adamw(*stream_, parameters, {.lr = lr}, format, sharding)
                         : runtime::optim::make_sgd(*stream_, parameters, {.lr = lr}, format, sharding);
    if (options.total_steps == 0) options.total_steps = 100;
    trainer_ = std::make_unique<Trainer>(*stream_, decoder_, std::move(optimizer), options);
  }

  runtime::Stream& stream() { return *stream_; }
  model::Decoder& decoder() { return decoder_; }
  Trainer& trainer() { return *trainer_; }

  std::vector<std::vector<float>> weights() {
    std::vector<std::vector<float>> values;
    for (const auto* parameter : decoder_.parameters()) values.push_back(parameter->value.to_host<float>(*stream_));
    return values;
  }
  std::vector<std::vector<float>> gradients() {
    std::vector<std::vector<float>> values;
    for (const auto* parameter : decoder_.parameters()) values.push_back(parameter->grad.to_host<float>(*stream_));
    return values;
  }

 private:
  std::shared_ptr<runtime::Stream> stream_;
  model::Decoder decoder_;
  std::unique_ptr<Trainer> trainer_;
};

}  // namespace subspect::experiments::testing
