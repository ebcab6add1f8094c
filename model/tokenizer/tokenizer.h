// Tokenizers of Hugging Face model directories: text to token ids with character offsets, and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::model {

/// A half-open range of Unicode code points of the text that was encoded.
struct TextSpan {
  int64_t begin = 0;
  int64_t end = 0;

  bool operator==(const TextSpan&) const = default;
};

/// The tokens of one text. All three lists have one entry per token.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<TextSpan> offsets;  ///< as `tokenizers` gives them; (0, 0) for tokens that the template added
  std::vector<uint8_t> added;     ///< 1 for tokens that stand for no text: BOS and EOS of the post-processor's template
};

/// A tokenizer.json with the files beside it. Immutable; copies share everything; all methods may be called from
/// several threads at once.
///
/// Supported: BPE (with byte_fallback, fuse_unk, ignore_merges) and WordLevel models; normalizers NFC, NFD, NFKC, NFKD,
/// Lowercase, Strip, Replace, Prepend, Sequence; pre-tokenizers Split, ByteLevel, Metaspace, Digits, Whitespace,
/// WhitespaceSplit, Sequence; post-processors ByteLevel, TemplateProcessing, Sequence; decoders ByteLevel, Replace,
/// ByteFallback, Fuse, Strip, Metaspace, Sequence. Anything else is an Error that names the component and the file.
class Tokenizer {
 public:
  /// Reads tokenizer.json and, where present, tokenizer_config.json, special_tokens_map.json, added_tokens.json and
  /// chat_template.jinja of a directory. Throws Error naming the file for damaged or unsupported contents: truncated
  /// JSON, ids that are negative, huge or given twice, merges of tokens that are not in the vocabulary.
  static Tokenizer load(const std::filesystem::path& directory);

  /// The same from the text of tokenizer.json and, if not empty, of tokenizer_config.json.
  /// @param where names the source in errors.
  static Tokenizer parse(const std::string& tokenizer_json, const std::string& tokenizer_config,
                         const std::string& where);

  /// Ids and offsets exactly as `tokenizers` gives them. Throws Error naming the byte for text that is not UTF-8.
  /// @param add_special_tokens lets the post-processor add its BOS or EOS.
  Encoding encode(std::string_view text, bool add_special_tokens = true) const;

  /// The text of a list of ids, always valid UTF-8 (U+FFFD stands for bytes that are not). As `decode` of Transformers
  /// 5, which applies clean_up_tokenization_spaces to models other than BPE only; but a special token that is also
  /// `normalized` is skipped like the others, which `tokenizers` 0.23 forgets. Throws Error for an id outside the
  /// vocabulary.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  std::optional<int32_t> token_to_id(std::string_view token) const;
  /// The token as the vocabulary spells it (byte-level alphabet, U+2581 for spaces). Throws Error for an unknown id.
  const std::string& id_to_token(int32_t id) const;
  /// False for the ids of an embedding's padding rows (Qwen2.5's has 151936 rows for 151665 tokens), and for gaps.
  bool has_token(int32_t id) const;
  /// True for added tokens marked as special, which `skip_special_tokens` leaves out.
  bool is_special(int32_t id) const;
  /// One more than the highest id: what the model's embedding must at least hold.
  int64_t vocab_size() const;

  /// Special tokens of tokenizer_config.json and special_tokens_map.json; absent when not named there.
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> pad_id() const;
  std::optional<int32_t> unk_id() const;

  /// The ids that `encode` puts before and after every text when it adds special tokens (often BOS, or nothing).
  const std::vector<int32_t>& prefix_ids() const;
  const std::vector<int32_t>& suffix_ids() const;

  /// The Jinja chat template of the directory; empty when it has none. It is carried along, never executed.
  const std::string& chat_template() const;

  /// Writes every tokenizer file that was read into a directory, byte for byte, so that a checkpoint carries them.
  void save(const std::filesystem::path& directory) const;
  /// Names of these files, tokenizer.json first.
  std::vector<std::string> files() const;

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

  std::shared_ptr<const Impl> impl_;
};

/// Decodes token by token. The pieces joined are exactly what `Tokenizer::decode` gives for the whole list, and every
/// piece is valid UTF-8: bytes whose character or meaning depends on tokens to come are held back.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  /// The text that became certain with this token; often its own, sometimes empty. Throws Error for an unknown id.
  std::string push(int32_t id);
  /// The rest. The decoder then starts anew.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace subspect::model
