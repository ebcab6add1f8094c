// A format given by the user: a template with {instruction}, {system} and {response}.
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "model/prompts/formats.h"
#include "runtime/error.h"

namespace subspect::model::prompts {

using runtime::UsageError;

namespace {

/// A piece of a template: literal text, or a field.
struct Part {
  std::string text;
  bool is_field;
};

[[noreturn]] void fail(const std::string& what) {
  throw UsageError(what, "custom prompt template",
                   "use the fields {instruction}, {system} and {response}; write {{ and }} for braces");
}

std::vector<Part> parse(std::string_view pattern) {
  std::vector<Part> parts;
  std::string literal;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '{' && c != '}') {
      literal += c;
      continue;
    }
    if (i + 1 < pattern.size() && pattern[i + 1] == c) {
      literal += c;
      ++i;
      continue;
    }
    const size_t end = c == '{' ? pattern.find('}', i) : std::string_view::npos;
    if (end == std::string_view::npos) fail(fmt::format("the brace at byte {} has no partner", i));
    const std::string field(pattern.substr(i + 1, end - i - 1));
    if (field != "instruction" && field != "system" && field != "response") {
      fail(fmt::format("unknown field {{{}}}", field));
    }
    parts.push_back({std::exchange(literal, {}), false});
    parts.push_back({field, true});
    i = end;
  }
  parts.push_back({literal, false});
  return parts;
}

class Custom final : public PromptFormat {
 public:
  explicit Custom(PromptFormatOptions options) : PromptFormat(std::move(options)) {
    if (this->options().custom_template.empty()) fail("the template is empty");
    const std::vector<Part> parts = parse(this->options().custom_template);
    const auto is_response = [](const Part& part) { return part.is_field && part.text == "response"; };
    const auto found = std::find_if(parts.begin(), parts.end(), is_response);
    before_.assign(parts.begin(), found);
    if (found != parts.end()) {
      if (std::any_of(found + 1, parts.end(), [](const Part& part) { return part.is_field; })) {
        fail("a field stands behind {response}");
      }
      for (auto part = found + 1; part != parts.end(); ++part) after_ += part->text;
    }
    const auto is_instruction = [](const Part& part) { return part.is_field && part.text == "instruction"; };
    if (std::none_of(before_.begin(), before_.end(), is_instruction)) fail("{instruction} is missing");
  }

  std::string_view name() const override { return "custom"; }

 private:
  std::string prompt(const std::string& instruction, const std::string& system) const override {
    std::string text;
    for (const Part& part : before_) {
      text += !part.is_field ? part.text : part.text == "system" ? system : instruction;
    }
    return text;
  }
  std::string response(const std::string& text) const override { return text + after_; }

  std::vector<Part> before_;
  std::string after_;
};

}  // namespace

std::unique_ptr<PromptFormat> make_custom(PromptFormatOptions options) {
  return std::make_unique<Custom>(std::move(options));
}

}  // namespace subspect::model::prompts
