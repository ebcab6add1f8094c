// The pipeline: added tokens, normalizer, pre-tokenizer, model, post-processor.
#include "model/tokenizer/engine.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "model/tokenizer/unicode.h"
#include "runtime/error.h"

namespace subspect::model::tokenizer {

using nlohmann::json;
using runtime::Error;

namespace {

/// Turns ascending byte positions into code point positions; going back is slow, but right.
class CodePointCounter {
 public:
  explicit CodePointCounter(std::string_view text) : text_(text) {}

  /// The code point that holds the byte, or their number at the end.
  int64_t at(size_t byte) {
    while (byte_ > byte) count_ -= starts(--byte_);
    while (byte_ < byte) count_ += starts(byte_++);
    return byte_ < text_.size() && is_continuation(text_[byte_]) ? count_ - 1 : count_;
  }

 private:
  int64_t starts(size_t byte) const { return is_continuation(text_[byte]) ? 0 : 1; }

  std::string_view text_;
  size_t byte_ = 0;
  int64_t count_ = 0;  // code points that start before byte_
};

JsonPart member(const JsonPart& root, const char* key, const json& null) {
  return root.value.contains(key) ? root.at(key) : JsonPart{null, fmt::format("{}.{}", root.where, key)};
}

}  // namespace

/// A scratch from the idle ones, given back at the end.
class Engine::Borrowed {
 public:
  explicit Borrowed(const Engine& engine) : engine_(engine) {
    const std::lock_guard lock(engine_.mutex_);
    if (!engine_.idle_.empty()) {
      scratch_ = std::move(engine_.idle_.back());
      engine_.idle_.pop_back();
    }
    if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>();
  }
  ~Borrowed() {
    const std::lock_guard lock(engine_.mutex_);
    engine_.idle_.push_back(std::move(scratch_));
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

  Scratch& operator*() { return *scratch_; }

 private:
  const Engine& engine_;
  std::unique_ptr<Scratch> scratch_;
};

Engine::Engine(const JsonPart& root, const EngineOptions& options) {
  if (root.text_or("version", "1.0") != "1.0") root.unsupported("version " + root.at("version").text());
  const json null;
  const JsonPart model = root.at("model");
  vocabulary_ = Vocabulary(model.at("vocab"));
  model_ = make_token_model(model, vocabulary_);
  if (root.has("added_tokens")) {
    const JsonPart list = root.at("added_tokens");
    for (size_t i = 0; i < list.size(); ++i) {
      const JsonPart entry = list.item(i);
      add_token(read_added_token(entry, Vocabulary::check_id(entry.at("id").integer(), entry)), entry);
    }
  }
  for (const AddedToken& token : options.more_tokens) add_token(token, root);
  normalizer_ = make_normalizer(member(root, "normalizer", null));
  pre_tokenizer_ = make_pre_tokenizer(member(root, "pre_tokenizer", null), model_->reads_bytes());
  post_processor_ = make_post_processor(member(root, "post_processor", null), vocabulary_);
  const bool clean_up = options.clean_up && (model_->cleans_up() || options.clean_up_bpe);
  decoder_ = make_decoder(member(root, "decoder", null), clean_up);
  Borrowed scratch(*this);
  added_.prepare(normalizer_.get(), (*scratch).regex);
  for (const AddedToken& token : added_.list()) {
    if (token.normalized) normalized_tokens_.emplace(token.id, token.normalized_content);
  }
}

const std::string& Engine::decoder_input(int32_t id) const {
  const auto found = normalized_tokens_.find(id);
  return found != normalized_tokens_.end() ? found->second : *vocabulary_.token(id);
}

void Engine::add_token(AddedToken token, const JsonPart& where) {
  if (token.content.empty()) return;
  const auto known = vocabulary_.find(token.content);
  if (known && *known != token.id) {
    where.fail(fmt::format("the added token \"{}\" has the ids {} and {}", token.content, *known, token.id));
  }
  for (const AddedToken& other : added_.list()) {
    if (other.id == token.id) return;  // tokenizer_config.json repeats those of tokenizer.json
  }
  if (const std::string* other = vocabulary_.token(token.id); other != nullptr && !known) {
    where.fail(fmt::format("token id {} is given twice, to \"{}\" and \"{}\"", token.id, *other, token.content));
  }
  if (!known) vocabulary_.add(token.content, token.id);
  const auto index = static_cast<size_t>(token.id);
  if (special_.size() <= index) special_.resize(index + 1);
  special_[index] = token.special;
  added_.add(std::move(token));
}

Encoding Engine::encode(std::string_view text, bool add_special_tokens) const {
  if (const auto byte = find_invalid_utf8(text)) {
    throw Error(fmt::format("the text is not valid UTF-8 at byte {}", *byte), "tokenizer input",
                "convert the data to UTF-8");
  }
  if (text.size() > INT32_MAX) throw Error("the text is longer than 2 GiB", "tokenizer input", "split it");
  Borrowed scratch(*this);
  Pieces pieces;
  added_.extract(text, normalizer_.get(), (*scratch).regex, pieces);
  if (pre_tokenizer_ != nullptr) pre_tokenizer_->apply(pieces, (*scratch).regex);
  Encoding encoding;
  std::vector<std::string_view> texts;
  const bool needs_texts = post_processor_ != nullptr && post_processor_->needs_texts();
  tokenize(pieces, text, *scratch, encoding, needs_texts ? &texts : nullptr);
  if (post_processor_ != nullptr) post_processor_->apply(encoding, texts, add_special_tokens);
  return encoding;
}

void Engine::tokenize(const Pieces& pieces, std::string_view text, Scratch& scratch, Encoding& encoding,
                      std::vector<std::string_view>* texts) const {
  CodePointCounter begins(text);
  CodePointCounter ends(text);
  for (const Piece& piece : pieces.list) {
    auto& tokens = scratch.tokens;
    tokens.clear();
    if (piece.added_token >= 0) {
      tokens.push_back({piece.added_token, static_cast<uint32_t>(piece.end - piece.begin)});
    } else {
      model_->tokenize(piece, scratch.bpe, tokens);
    }
    size_t position = piece.begin;
    for (const TokenLength& token : tokens) {
      const ByteSpan span = piece.text->original(position, position + token.bytes);
      position += token.bytes;
      encoding.ids.push_back(token.id);
      encoding.offsets.push_back({begins.at(span.begin), ends.at(span.end)});
      if (texts != nullptr) {
        texts->push_back(piece.added_token >= 0 ? piece.view() : std::string_view(*vocabulary_.token(token.id)));
      }
    }
  }
  encoding.added.assign(encoding.ids.size(), 0);
}

}  // namespace subspect::model::tokenizer
