// The decoders as stages of a stream.
#include "model/tokenizer/decoder.h"

#include <charconv>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/unicode.h"

namespace subspect::model::tokenizer {

namespace {

constexpr std::string_view replacement_character = "\xEF\xBF\xBD";  // U+FFFD

void replace_all(std::string& text, std::string_view pattern, std::string_view content) {
  for (size_t at = text.find(pattern); at != std::string::npos; at = text.find(pattern, at + content.size())) {
    text.replace(at, pattern.size(), content);
  }
}

/// Collects the output.
class Output final : public DecodeStage {
 public:
  Output() : DecodeStage(nullptr) {}
  void push(std::string_view text, bool) override { text_ += text; }
  void finish() override {}
  std::string take() { return std::exchange(text_, {}); }

 private:
  std::string text_;
};

/// A stage that needs whole tokens: gathers them from a stage that gives parts.
class WholeTokens : public DecodeStage {
 public:
  using DecodeStage::DecodeStage;

  void push(std::string_view text, bool begins) override {
    if (begins) flush();
    token_ += text;
    open_ = true;
  }
  void finish() override {
    flush();
    end();
    next_->finish();
  }

 protected:
  virtual void token(const std::string& text) = 0;
  /// The last token has been seen.
  virtual void end() {}

 private:
  void flush() {
    if (!open_) return;
    token(token_);
    token_.clear();
    open_ = false;
  }

  std::string token_;
  bool open_ = false;
};

/// Whole tokens that come in one push each, without the delay of waiting for the next one.
template <class Stage>
class Immediate final : public Stage {
 public:
  using Stage::Stage;
  void push(std::string_view text, bool) override { this->token(std::string(text)); }
};

class ReplaceStage : public WholeTokens {
 public:
  ReplaceStage(DecodeStage* next, std::string pattern, std::string content)
      : WholeTokens(next), pattern_(std::move(pattern)), content_(std::move(content)) {}

 protected:
  void token(const std::string& text) override {
    std::string changed = text;
    replace_all(changed, pattern_, content_);
    next_->push(changed, true);
  }

 private:
  std::string pattern_;
  std::string content_;
};

/// Runs of tokens <0x00>..<0xFF> become the characters they spell, or one U+FFFD each when they are not UTF-8. The
/// whole run decides, so it is held until it ends.
class ByteFallbackStage : public WholeTokens {
 public:
  using WholeTokens::WholeTokens;

 protected:
  void token(const std::string& text) override {
    if (const auto byte = parse(text)) {
      bytes_.push_back(static_cast<char>(*byte));
      return;
    }
    end();
    next_->push(text, true);
  }

  void end() override {
    if (bytes_.empty()) return;
    if (!find_invalid_utf8(bytes_)) {
      next_->push(bytes_, true);
    } else {
      for (size_t i = 0; i < bytes_.size(); ++i) next_->push(replacement_character, true);
    }
    bytes_.clear();
  }

 private:
  static std::optional<unsigned> parse(std::string_view text) {
    if (text.size() != 6 || !text.starts_with("<0x") || text.back() != '>') return std::nullopt;
    unsigned value = 0;
    const char* begin = text.data() + 3;
    const auto [end, error] = std::from_chars(begin, begin + 2, value, 16);
    if (error != std::errc() || end != begin + 2) return std::nullopt;
    return value;
  }

  std::string bytes_;
};

/// Tokens of the byte-level alphabet become bytes, all of them one text; a token with other characters stands for
/// itself.
class ByteLevelStage : public WholeTokens {
 public:
  using WholeTokens::WholeTokens;

 protected:
  void token(const std::string& text) override {
    const auto bytes = read_bytes(text);
    pending_ += bytes ? *bytes : text;
    release(false);
  }
  void end() override {
    release(true);
    begins_ = true;
  }

 private:
  void release(bool at_end) {
    std::string text;
    pending_.erase(0, append_utf8_lossy(text, pending_, at_end));
    if (text.empty()) return;
    next_->push(text, begins_);
    begins_ = false;
  }

  std::string pending_;
  bool begins_ = true;
};

/// All tokens become one.
class FuseStage final : public DecodeStage {
 public:
  using DecodeStage::DecodeStage;
  void push(std::string_view text, bool) override { next_->push(text, std::exchange(begins_, false)); }
  void finish() override {
    begins_ = true;
    next_->finish();
  }

 private:
  bool begins_ = true;
};

/// Takes up to `start` and `stop` of a character off the two ends of every token.
class StripStage final : public DecodeStage {
 public:
  StripStage(DecodeStage* next, std::string content, size_t start, size_t stop)
      : DecodeStage(next), content_(std::move(content)), start_(start), stop_(stop) {}

  void push(std::string_view text, bool begins) override {
    if (begins) {
      held_ = 0;
      to_strip_ = start_;
    }
    std::string out;
    for (size_t position = 0; position < text.size();) {
      const size_t length = sequence_length(text[position]);
      take(text.substr(position, length), out);
      position += length;
    }
    next_->push(out, begins);
  }
  void finish() override {
    held_ = 0;
    next_->finish();
  }

 private:
  void take(std::string_view character, std::string& out) {
    const bool is_content = character == content_;
    if (is_content && to_strip_ > 0) {
      --to_strip_;
      return;
    }
    to_strip_ = 0;
    if (is_content && stop_ > 0) {
      if (held_ < stop_) {
        ++held_;
      } else {
        out += content_;  // the oldest of the held ones is not among the last `stop`
      }
      return;
    }
    for (; held_ > 0; --held_) out += content_;
    out += character;
  }

  std::string content_;
  size_t start_;
  size_t stop_;
  size_t to_strip_ = 0;
  size_t held_ = 0;  // characters that may turn out to be the last
};

/// The replacement character becomes a space, and in the first token nothing, where the pre-tokenizer had put one.
class MetaspaceStage final : public DecodeStage {
 public:
  MetaspaceStage(DecodeStage* next, std::string replacement, bool prepends)
      : DecodeStage(next), replacement_(std::move(replacement)), prepends_(prepends) {}

  void push(std::string_view text, bool begins) override {
    if (begins) ++tokens_;
    std::string changed(text);
    replace_all(changed, replacement_, tokens_ == 1 && prepends_ ? "" : " ");
    next_->push(changed, begins);
  }
  void finish() override {
    tokens_ = 0;
    next_->finish();
  }

 private:
  std::string replacement_;
  bool prepends_;
  size_t tokens_ = 0;
};

/// Without a decoder, tokens are joined by spaces.
class JoinStage final : public DecodeStage {
 public:
  using DecodeStage::DecodeStage;
  void push(std::string_view text, bool begins) override {
    if (begins && !std::exchange(first_, false)) next_->push(" ", false);
    next_->push(text, false);
  }
  void finish() override {
    first_ = true;
    next_->finish();
  }

 private:
  bool first_ = true;
};

/// One replacement over the whole text; holds back what may be the beginning of the pattern.
class TextReplaceStage final : public DecodeStage {
 public:
  TextReplaceStage(DecodeStage* next, std::string_view pattern, std::string_view content)
      : DecodeStage(next), pattern_(pattern), content_(content) {}

  void push(std::string_view text, bool) override {
    pending_ += text;
    std::string out;
    size_t position = 0;
    for (size_t at = pending_.find(pattern_); at != std::string::npos; at = pending_.find(pattern_, position)) {
      out.append(pending_, position, at - position);
      out += content_;
      position = at + pattern_.size();
    }
    const size_t keep = possible_beginning(position);
    out.append(pending_, position, pending_.size() - keep - position);
    pending_.erase(0, pending_.size() - keep);
    next_->push(out, false);
  }
  void finish() override {
    next_->push(std::exchange(pending_, {}), false);
    next_->finish();
  }

 private:
  /// Length of the longest end of the pending text, not before `from`, that the pattern may go on from.
  size_t possible_beginning(size_t from) const {
    for (size_t length = std::min(pattern_.size() - 1, pending_.size() - from); length > 0; --length) {
      if (pending_.ends_with(pattern_.substr(0, length))) return length;
    }
    return 0;
  }

  std::string_view pattern_;
  std::string_view content_;
  std::string pending_;
};

using Stages = std::vector<std::unique_ptr<DecodeStage>>;
/// Makes a stage before `next`. @param whole says that every token comes to it in one push.
using StageMaker = std::function<std::unique_ptr<DecodeStage>(DecodeStage* next, bool whole)>;

struct StageSpec {
  StageMaker make;
  bool fuses = false;  ///< gives one token in many pushes
};

template <class Stage, class... Args>
StageSpec whole_token_stage(bool fuses, Args... args) {
  return {[=](DecodeStage* next, bool whole) -> std::unique_ptr<DecodeStage> {
            if (whole) return std::make_unique<Immediate<Stage>>(next, args...);
            return std::make_unique<Stage>(next, args...);
          },
          fuses};
}

template <class Stage, class... Args>
StageSpec stream_stage(bool fuses, Args... args) {
  return {
      [=](DecodeStage* next, bool) -> std::unique_ptr<DecodeStage> { return std::make_unique<Stage>(next, args...); },
      fuses};
}

class Pipeline final : public DecodePipeline {
 public:
  explicit Pipeline(const std::vector<StageSpec>& specs) {
    std::vector<bool> whole;
    bool fused = false;
    for (const StageSpec& spec : specs) {
      whole.push_back(!fused);
      fused = fused || spec.fuses;
    }
    first_ = &output_;
    for (size_t i = specs.size(); i-- > 0;) {
      stages_.push_back(specs[i].make(first_, whole[i]));
      first_ = stages_.back().get();
    }
  }

  std::string push(std::string_view token) override {
    first_->push(token, true);
    return output_.take();
  }
  std::string finish() override {
    first_->finish();
    return output_.take();
  }

 private:
  Output output_;
  Stages stages_;
  DecodeStage* first_;
};

class StagedDecoder final : public Decoder {
 public:
  explicit StagedDecoder(std::vector<StageSpec> specs) : specs_(std::move(specs)) {}
  std::unique_ptr<DecodePipeline> start() const override { return std::make_unique<Pipeline>(specs_); }

 private:
  std::vector<StageSpec> specs_;
};

size_t read_count(const JsonPart& part) {
  const int64_t count = part.integer();
  if (count < 0) part.fail("a count is required");
  return static_cast<size_t>(count);
}

void add_stages(const JsonPart& part, std::vector<StageSpec>& specs) {
  const std::string type = part.type();
  if (type == "Sequence") {
    const JsonPart list = part.at("decoders");
    for (size_t i = 0; i < list.size(); ++i) add_stages(list.item(i), specs);
  } else if (type == "ByteLevel") {
    specs.push_back(whole_token_stage<ByteLevelStage>(true));
  } else if (type == "ByteFallback") {
    specs.push_back(whole_token_stage<ByteFallbackStage>(false));
  } else if (type == "Fuse") {
    specs.push_back(stream_stage<FuseStage>(true));
  } else if (type == "Replace") {
    const JsonPart pattern = part.at("pattern");
    if (!pattern.has("String")) part.unsupported("Replace with a regular expression (decoder)");
    const std::string text = pattern.at("String").text();
    if (text.empty()) pattern.fail("an empty pattern");
    specs.push_back(whole_token_stage<ReplaceStage>(false, text, part.at("content").text()));
  } else if (type == "Strip") {
    specs.push_back(stream_stage<StripStage>(false, part.at("content").text(), read_count(part.at("start")),
                                             read_count(part.at("stop"))));
  } else if (type == "Metaspace") {
    const bool prepends =
        part.text_or("prepend_scheme", "always") != "never" && part.boolean_or("add_prefix_space", true);
    specs.push_back(stream_stage<MetaspaceStage>(false, part.at("replacement").text(), prepends));
  } else {
    part.unsupported(type + " (decoder)");
  }
}

/// clean_up_tokenization of Transformers: these replacements, one after the other.
void add_clean_up(std::vector<StageSpec>& specs) {
  using Pair = std::pair<std::string_view, std::string_view>;
  static constexpr Pair pairs[] = {{" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
                                   {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& pair : pairs) specs.push_back(stream_stage<TextReplaceStage>(true, pair.first, pair.second));
}

}  // namespace

std::unique_ptr<Decoder> make_decoder(const JsonPart& part, bool clean_up) {
  std::vector<StageSpec> specs;
  if (part.value.is_null()) {
    specs.push_back(stream_stage<JoinStage>(true));
  } else {
    add_stages(part, specs);
  }
  if (clean_up) add_clean_up(specs);
  return std::make_unique<StagedDecoder>(std::move(specs));
}

}  // namespace subspect::model::tokenizer
