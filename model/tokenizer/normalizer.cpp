// The normalizers.
#include "model/tokenizer/normalizer.h"

#include <nlohmann/json.hpp>

#include "model/tokenizer/normalization_forms.h"
#include "model/tokenizer/unicode.h"

namespace subspect::model::tokenizer {

namespace {

class Form final : public Normalizer {
 public:
  explicit Form(NormalizationForm form) : form_(form) {}
  void apply(NormalizedText& text, RegexScratch&) const override { normalize(text, form_); }

 private:
  NormalizationForm form_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(NormalizedText& text, RegexScratch&) const override {
    std::vector<CharChange> changes;
    std::vector<char32_t> lower;
    for (size_t position = 0; position < text.text().size();) {
      lower.clear();
      append_lowercase(lower, next_code_point(text.text(), position));
      for (size_t i = 0; i < lower.size(); ++i) changes.push_back({lower[i], i == 0 ? 0 : 1});
    }
    text.transform(changes);
  }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  void apply(NormalizedText& text, RegexScratch&) const override {
    const std::vector<char32_t> all = code_points(text.text());
    size_t begin = 0;
    size_t end = all.size();
    while (left_ && begin < end && is_whitespace(all[begin])) ++begin;
    while (right_ && end > begin && is_whitespace(all[end - 1])) --end;
    if (begin == 0 && end == all.size()) return;
    std::vector<CharChange> changes;
    for (size_t i = begin; i < end; ++i) {
      changes.push_back({all[i], i + 1 == end ? -static_cast<int32_t>(all.size() - end) : 0});
    }
    text.transform(changes, begin);
  }

 private:
  bool left_;
  bool right_;
};

class Replace final : public Normalizer {
 public:
  explicit Replace(const JsonPart& part)
      : regex_(read_pattern(part.at("pattern"))), content_(part.at("content").text()) {
    if (part.at("pattern").has("Regex") && content_.find('$') != std::string::npos) {
      part.unsupported("Replace with groups of a regular expression");
    }
  }

  void apply(NormalizedText& text, RegexScratch& scratch) const override {
    Ranges matches;
    regex_.find_all(text.text(), scratch, matches);
    text.replace(matches, content_);
  }

 private:
  Regex regex_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(NormalizedText& text, RegexScratch&) const override { text.prepend(prefix_); }

 private:
  std::string prefix_;
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(const JsonPart& list) {
    for (size_t i = 0; i < list.size(); ++i) parts_.push_back(make_normalizer(list.item(i)));
  }
  void apply(NormalizedText& text, RegexScratch& scratch) const override {
    for (const auto& part : parts_) part->apply(text, scratch);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const JsonPart& part) {
  if (part.value.is_null()) return nullptr;
  const std::string type = part.type();
  if (type == "NFC") return std::make_unique<Form>(NormalizationForm::nfc);
  if (type == "NFD") return std::make_unique<Form>(NormalizationForm::nfd);
  if (type == "NFKC") return std::make_unique<Form>(NormalizationForm::nfkc);
  if (type == "NFKD") return std::make_unique<Form>(NormalizationForm::nfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "Strip") {
    return std::make_unique<Strip>(part.boolean_or("strip_left", true), part.boolean_or("strip_right", true));
  }
  if (type == "Replace") return std::make_unique<Replace>(part);
  if (type == "Prepend") return std::make_unique<Prepend>(part.at("prepend").text());
  if (type == "Sequence") return std::make_unique<Sequence>(part.at("normalizers"));
  part.unsupported(type + " (normalizer)");
}

}  // namespace subspect::model::tokenizer
