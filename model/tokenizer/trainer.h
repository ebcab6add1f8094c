// Trains byte-level BPE tokenizers that this program, `tokenizers` and Transformers read alike.
// Method: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units", section 3.2, on the
// bytes of pre-tokens (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::model {

/// Qwen2's pre-tokenizer expression, the default of the trainer.
extern const std::string_view qwen2_split_regex;

struct BpeTrainerOptions {
  int64_t vocab_size = 2000;  ///< at most, special tokens included; at least 256 + special tokens
  int64_t min_frequency = 2;  ///< a pair that occurs less often is not merged
  std::vector<std::string> special_tokens = {"<|endoftext|>"};  ///< take the ids from 0 in this order
  std::string split_regex = std::string(qwen2_split_regex);     ///< empty: each text is one pre-token
  std::string bos_token;                                        ///< special; empty = none. Put before every text
  std::string eos_token = "<|endoftext|>";
  std::string pad_token = "<|endoftext|>";
  std::string chat_template;     ///< Jinja, for tokenizer_config.json; empty = none
  int64_t model_max_length = 0;  ///< for tokenizer_config.json; 0 = not written
};

/// Gives the next text, or false at the end. Called until then, once.
using TextSource = std::function<bool(std::string& text)>;

/// The files of a trained tokenizer.
struct TrainedTokenizer {
  std::string tokenizer_json;
  std::string tokenizer_config;
  std::string special_tokens_map;
  int64_t vocab_size = 0;  ///< reached; smaller than asked for when no pair was left
};

/// Learns merges from the texts. The same texts in the same order give the same bytes.
///
/// Merges are those of `tokenizers`' BpeTrainer: the most frequent pair, among equals the one with the smallest ids.
/// Throws UsageError for options that cannot be met, Error for a text that is not UTF-8.
TrainedTokenizer train_bpe(const TextSource& texts, const BpeTrainerOptions& options);

/// The same over a list.
TrainedTokenizer train_bpe(const std::vector<std::string>& texts, const BpeTrainerOptions& options);

/// Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json into a directory, which is made.
void save_tokenizer(const TrainedTokenizer& tokenizer, const std::filesystem::path& directory);

}  // namespace subspect::model
