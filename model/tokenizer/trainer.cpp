// The byte-level BPE trainer: counts words, then merges the most frequent pair again and again, keeping the counts of
// pairs up to date with a heap of candidates that are checked when they come up.
#include "model/tokenizer/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <queue>
#include <unordered_map>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/regex.h"
#include "model/tokenizer/unicode.h"
#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::model {

using nlohmann::ordered_json;
using runtime::Error;
using runtime::UsageError;

const std::string_view qwen2_split_regex =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+"
    "|\\s+(?!\\S)|\\s+";

namespace {

using Pair = std::pair<int32_t, int32_t>;

struct PairHash {
  size_t operator()(const Pair& pair) const {
    const uint64_t key =
        static_cast<uint64_t>(static_cast<uint32_t>(pair.first)) << 32 | static_cast<uint32_t>(pair.second);
    return static_cast<size_t>((key * 0x9E3779B97F4A7C15ULL) >> 16);
  }
};

using WordList = std::vector<uint32_t>;  // ascending, without repetition
using PairWords = std::unordered_map<Pair, WordList, PairHash>;

struct Word {
  std::vector<int32_t> tokens;
  int64_t count;
};

/// A pair that may be merged, and the words that had it when it was offered.
struct Candidate {
  int64_t count;
  Pair pair;
  WordList words;

  /// The queue's order: the most frequent first, then the smallest ids.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

void note(PairWords& where, const Pair& pair, uint32_t word) {
  WordList& words = where[pair];
  if (words.empty() || words.back() != word) words.push_back(word);
}

class Trainer {
 public:
  Trainer(const std::vector<std::string>& special_tokens, const BpeTrainerOptions& options) : options_(options) {
    for (const std::string& token : special_tokens) add_token(token);
    std::vector<char32_t> alphabet(tokenizer::byte_alphabet().begin(), tokenizer::byte_alphabet().end());
    std::sort(alphabet.begin(), alphabet.end());
    for (const char32_t character : alphabet) {
      std::string token;
      tokenizer::append_utf8(token, character);
      add_token(token);
    }
  }

  void train(const std::vector<std::pair<std::string, int64_t>>& word_counts) {
    read_words(word_counts);
    offer_initial_pairs();
    while (static_cast<int64_t>(tokens_.size()) < options_.vocab_size && !queue_.empty()) {
      Candidate top = queue_.top();
      queue_.pop();
      if (const int64_t count = pair_counts_[top.pair]; count != top.count) {
        top.count = count;
        queue_.push(std::move(top));
        continue;
      }
      if (top.count < 1 || top.count < options_.min_frequency) break;
      merge(top);
    }
  }

  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::vector<Pair>& merges() const { return merges_; }

 private:
  int32_t add_token(const std::string& token) {
    const auto [entry, is_new] = ids_.emplace(token, static_cast<int32_t>(tokens_.size()));
    if (is_new) tokens_.push_back(token);
    return entry->second;
  }

  void read_words(const std::vector<std::pair<std::string, int64_t>>& word_counts) {
    std::vector<int32_t> byte_ids;
    for (const char32_t character : tokenizer::byte_alphabet()) {
      std::string token;
      tokenizer::append_utf8(token, character);
      byte_ids.push_back(ids_.at(token));
    }
    for (const auto& [text, count] : word_counts) {
      Word word{{}, count};
      for (const char byte : text) word.tokens.push_back(byte_ids[static_cast<unsigned char>(byte)]);
      words_.push_back(std::move(word));
    }
  }

  void offer_initial_pairs() {
    PairWords where;
    for (uint32_t i = 0; i < words_.size(); ++i) {
      const auto& tokens = words_[i].tokens;
      for (size_t k = 0; k + 1 < tokens.size(); ++k) {
        const Pair pair{tokens[k], tokens[k + 1]};
        pair_counts_[pair] += words_[i].count;
        note(where, pair, i);
      }
    }
    offer(where);
  }

  void offer(PairWords& where) {
    for (auto& [pair, words] : where) {
      const int64_t count = pair_counts_[pair];
      if (count > 0) queue_.push({count, pair, std::move(words)});
    }
  }

  void merge(const Candidate& candidate) {
    const auto [left, right] = candidate.pair;
    const int32_t merged = add_token(tokens_[static_cast<size_t>(left)] + tokens_[static_cast<size_t>(right)]);
    merges_.push_back(candidate.pair);
    PairWords where;
    for (const uint32_t index : candidate.words) merge_in(index, candidate.pair, merged, where);
    offer(where);
  }

  /// Merges the pair in one word and counts what that changes around it.
  void merge_in(uint32_t index, const Pair& pair, int32_t merged, PairWords& where) {
    Word& word = words_[index];
    auto& tokens = word.tokens;
    const auto lose = [&](int32_t a, int32_t b) { pair_counts_[{a, b}] -= word.count; };
    const auto gain = [&](int32_t a, int32_t b) {
      pair_counts_[{a, b}] += word.count;
      note(where, {a, b}, index);
    };
    size_t out = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i + 1 == tokens.size() || tokens[i] != pair.first || tokens[i + 1] != pair.second) {
        tokens[out++] = tokens[i];
        continue;
      }
      if (out > 0) {
        lose(tokens[out - 1], pair.first);
        gain(tokens[out - 1], merged);
      }
      if (i + 2 < tokens.size()) {
        lose(pair.second, tokens[i + 2]);
        gain(merged, tokens[i + 2]);
      }
      tokens[out++] = merged;
      ++i;
    }
    tokens.resize(out);
  }

  const BpeTrainerOptions& options_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<Word> words_;
  std::unordered_map<Pair, int64_t, PairHash> pair_counts_;
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> merges_;
};

/// All special tokens, the named ones too, each once.
std::vector<std::string> special_tokens(const BpeTrainerOptions& options) {
  std::vector<std::string> result = options.special_tokens;
  result.insert(result.end(), {options.bos_token, options.eos_token, options.pad_token});
  std::vector<std::string> unique;
  for (const std::string& token : result) {
    if (!token.empty() && std::find(unique.begin(), unique.end(), token) == unique.end()) unique.push_back(token);
  }
  return unique;
}

/// Words in the order in which they first occur, and how often they do.
std::vector<std::pair<std::string, int64_t>> count_words(const TextSource& texts, const std::string& pattern) {
  const tokenizer::Regex regex(pattern.empty() ? "(?!)" : pattern, "split_regex of the tokenizer trainer");
  tokenizer::RegexScratch scratch;
  std::vector<std::pair<std::string, int64_t>> words;
  std::unordered_map<std::string, size_t> known;
  const auto add = [&](std::string_view word) {
    if (word.empty()) return;
    const auto [entry, is_new] = known.emplace(word, words.size());
    if (is_new) words.emplace_back(word, 0);
    ++words[entry->second].second;
  };
  std::string text;
  for (int64_t number = 0; texts(text); ++number) {
    if (const auto byte = tokenizer::find_invalid_utf8(text)) {
      throw Error(fmt::format("text {} is not valid UTF-8 at byte {}", number, *byte), "tokenizer training data",
                  "convert the data to UTF-8");
    }
    tokenizer::Ranges matches;
    regex.find_all(text, scratch, matches);
    const std::string_view view = text;
    size_t position = 0;
    for (const auto& [begin, end] : matches) {
      add(view.substr(position, begin - position));
      add(view.substr(begin, end - begin));
      position = end;
    }
    add(view.substr(position));
  }
  return words;
}

ordered_json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", use_regex}};
}

ordered_json pre_tokenizer(const std::string& pattern) {
  if (pattern.empty()) return byte_level(false);
  const ordered_json split = {
      {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", {split, byte_level(false)}}};
}

ordered_json post_processor(const std::string& bos, int64_t bos_id) {
  if (bos.empty()) return byte_level(false);
  const auto token = [&](int type) { return ordered_json{{"SpecialToken", {{"id", bos}, {"type_id", type}}}}; };
  const auto sequence = [](const char* name, int type) {
    return ordered_json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  ordered_json special;
  special[bos] = {{"id", bos}, {"ids", ordered_json::array({bos_id})}, {"tokens", ordered_json::array({bos})}};
  return {{"type", "TemplateProcessing"},
          {"single", ordered_json::array({token(0), sequence("A", 0)})},
          {"pair", ordered_json::array({token(0), sequence("A", 0), token(1), sequence("B", 1)})},
          {"special_tokens", special}};
}

std::string write_tokenizer(const Trainer& trainer, const std::vector<std::string>& specials,
                            const BpeTrainerOptions& options) {
  ordered_json added = ordered_json::array();
  int64_t bos_id = 0;
  for (size_t i = 0; i < specials.size(); ++i) {
    if (specials[i] == options.bos_token) bos_id = static_cast<int64_t>(i);
    added.push_back({{"id", i},
                     {"content", specials[i]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  ordered_json vocab = ordered_json::object();
  // ordered_json looks every key up before it appends it; the list underneath takes them as they are.
  auto& entries = vocab.get_ref<ordered_json::object_t&>();
  const auto& tokens = trainer.tokens();
  for (size_t i = 0; i < tokens.size(); ++i) entries.push_back({tokens[i], i});
  ordered_json merges = ordered_json::array();
  for (const auto& [left, right] : trainer.merges()) {
    merges.push_back({tokens[static_cast<size_t>(left)], tokens[static_cast<size_t>(right)]});
  }
  const ordered_json root = {{"version", "1.0"},
                             {"truncation", nullptr},
                             {"padding", nullptr},
                             {"added_tokens", added},
                             {"normalizer", nullptr},
                             {"pre_tokenizer", pre_tokenizer(options.split_regex)},
                             {"post_processor", post_processor(options.bos_token, bos_id)},
                             {"decoder", byte_level(false)},
                             {"model",
                              {{"type", "BPE"},
                               {"dropout", nullptr},
                               {"unk_token", nullptr},
                               {"continuing_subword_prefix", nullptr},
                               {"end_of_word_suffix", nullptr},
                               {"fuse_unk", false},
                               {"byte_fallback", false},
                               {"ignore_merges", false},
                               {"vocab", vocab},
                               {"merges", merges}}}};
  return root.dump(1) + "\n";
}

ordered_json named_tokens(const BpeTrainerOptions& options) {
  ordered_json result = ordered_json::object();
  if (!options.bos_token.empty()) result["bos_token"] = options.bos_token;
  if (!options.eos_token.empty()) result["eos_token"] = options.eos_token;
  if (!options.pad_token.empty()) result["pad_token"] = options.pad_token;
  return result;
}

}  // namespace

TrainedTokenizer train_bpe(const TextSource& texts, const BpeTrainerOptions& options) {
  const std::vector<std::string> specials = special_tokens(options);
  const auto smallest = static_cast<int64_t>(256 + specials.size());
  if (options.vocab_size < smallest) {
    throw UsageError(fmt::format("a byte-level vocabulary of {} tokens is too small", options.vocab_size), "vocab_size",
                     fmt::format("ask for at least {} (256 bytes and the special tokens)", smallest));
  }
  Trainer trainer(specials, options);
  trainer.train(count_words(texts, options.split_regex));

  ordered_json config = named_tokens(options);
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["clean_up_tokenization_spaces"] = false;
  if (options.model_max_length > 0) config["model_max_length"] = options.model_max_length;
  if (!options.chat_template.empty()) config["chat_template"] = options.chat_template;
  TrainedTokenizer result;
  result.tokenizer_json = write_tokenizer(trainer, specials, options);
  result.tokenizer_config = config.dump(2) + "\n";
  result.special_tokens_map = named_tokens(options).dump(2) + "\n";
  result.vocab_size = static_cast<int64_t>(trainer.tokens().size());
  return result;
}

TrainedTokenizer train_bpe(const std::vector<std::string>& texts, const BpeTrainerOptions& options) {
  size_t next = 0;
  const TextSource source = [&](std::string& text) {
    if (next == texts.size()) return false;
    text = texts[next++];
    return true;
  };
  return train_bpe(source, options);
}

void save_tokenizer(const TrainedTokenizer& tokenizer, const std::filesystem::path& directory) {
  runtime::io::write_file_atomically(directory / "tokenizer.json", tokenizer.tokenizer_json);
  runtime::io::write_file_atomically(directory / "tokenizer_config.json", tokenizer.tokenizer_config);
  runtime::io::write_file_atomically(directory / "special_tokens_map.json", tokenizer.special_tokens_map);
}

}  // namespace subspect::model
