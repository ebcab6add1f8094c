// The post-processors.
#include "model/tokenizer/post_processor.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/unicode.h"

namespace subspect::model::tokenizer {

namespace {

/// Takes the spaces of a token out of its offsets, if asked to.
class ByteLevel final : public PostProcessor {
 public:
  explicit ByteLevel(const JsonPart& part)
      : add_prefix_space_(part.boolean_or("add_prefix_space", true)), trim_(part.boolean_or("trim_offsets", true)) {}

  bool needs_texts() const override { return trim_; }

  void apply(Encoding& encoding, std::vector<std::string_view>& texts, bool) const override {
    if (!trim_) return;
    for (size_t i = 0; i < encoding.ids.size(); ++i) trim(encoding.offsets[i], texts[i], i == 0);
  }

 private:
  void trim(TextSpan& span, std::string_view text, bool first) const {
    const std::vector<char32_t> characters = code_points(text);
    const char32_t space = byte_alphabet()[' '];
    const auto is_space = [&](char32_t c) { return c == space || is_whitespace(c); };
    const auto leading_end = std::find_if_not(characters.begin(), characters.end(), is_space);
    const auto trailing_end = std::find_if_not(characters.rbegin(), characters.rend(), is_space);
    int64_t leading = leading_end - characters.begin();
    const int64_t trailing = trailing_end - characters.rbegin();
    // A single space at the very front is the one that add_prefix_space put there.
    if ((first || span.begin == 0) && add_prefix_space_ && leading == 1) leading = 0;
    if (leading > 0) span.begin = std::min(span.begin + leading, span.end);
    if (trailing > 0 && span.end >= trailing) span.end = std::max(span.end - trailing, span.begin);
  }

  bool add_prefix_space_;
  bool trim_;
};

/// Puts tokens before and after a text.
class TemplateProcessing final : public PostProcessor {
 public:
  TemplateProcessing(const JsonPart& part, const Vocabulary& vocabulary) {
    const JsonPart single = part.at("single");
    bool before = true;
    bool found = false;
    for (size_t i = 0; i < single.size(); ++i) {
      const JsonPart item = single.item(i);
      if (item.has("Sequence")) {
        if (found) part.unsupported("a template with two sequences for a single text");
        before = false;
        found = true;
      } else {
        read_token(part, item.at("SpecialToken").at("id").text(), vocabulary, before ? before_ : after_);
      }
    }
    if (!found) part.fail("the template for a single text has no sequence");
  }

  bool needs_texts() const override { return false; }

  void apply(Encoding& encoding, std::vector<std::string_view>& texts, bool add_special_tokens) const override {
    if (!add_special_tokens) return;
    insert(encoding, texts, 0, before_);
    insert(encoding, texts, encoding.ids.size(), after_);
  }

 private:
  static void read_token(const JsonPart& part, const std::string& name, const Vocabulary& vocabulary,
                         std::vector<int32_t>& out) {
    const JsonPart ids = part.at("special_tokens").at(name.c_str()).at("ids");
    for (size_t i = 0; i < ids.size(); ++i) {
      const int64_t id = ids.item(i).integer();
      if (vocabulary.token(id) == nullptr) ids.fail(fmt::format("token id {} is not in the vocabulary", id));
      out.push_back(static_cast<int32_t>(id));
    }
  }

  static void insert(Encoding& encoding, std::vector<std::string_view>& texts, size_t at,
                     const std::vector<int32_t>& ids) {
    const auto position = static_cast<std::ptrdiff_t>(at);
    encoding.ids.insert(encoding.ids.begin() + position, ids.begin(), ids.end());
    encoding.offsets.insert(encoding.offsets.begin() + position, ids.size(), {0, 0});
    encoding.added.insert(encoding.added.begin() + position, ids.size(), 1);
    if (!texts.empty()) texts.insert(texts.begin() + position, ids.size(), std::string_view());
  }

  std::vector<int32_t> before_;
  std::vector<int32_t> after_;
};

class Sequence final : public PostProcessor {
 public:
  Sequence(const JsonPart& list, const Vocabulary& vocabulary) {
    for (size_t i = 0; i < list.size(); ++i) {
      auto part = make_post_processor(list.item(i), vocabulary);
      if (part != nullptr) parts_.push_back(std::move(part));
    }
  }

  bool needs_texts() const override {
    return std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->needs_texts(); });
  }

  void apply(Encoding& encoding, std::vector<std::string_view>& texts, bool add_special_tokens) const override {
    for (const auto& part : parts_) part->apply(encoding, texts, add_special_tokens);
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> parts_;
};

}  // namespace

std::unique_ptr<PostProcessor> make_post_processor(const JsonPart& part, const Vocabulary& vocabulary) {
  if (part.value.is_null()) return nullptr;
  const std::string type = part.type();
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(part);
  if (type == "TemplateProcessing") return std::make_unique<TemplateProcessing>(part, vocabulary);
  if (type == "Sequence") return std::make_unique<Sequence>(part.at("processors"), vocabulary);
  part.unsupported(type + " (post-processor)");
}

}  // namespace subspect::model::tokenizer
