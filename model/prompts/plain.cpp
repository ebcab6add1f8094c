// Formats without control tokens: raw and alpaca.
#include <fmt/format.h>

#include "model/prompts/formats.h"
#include "model/tokenizer/unicode.h"

namespace subspect::model::prompts {

namespace {

/// The instruction as it is, the response right behind it.
class Raw final : public PromptFormat {
 public:
  using PromptFormat::PromptFormat;
  std::string_view name() const override { return "raw"; }

 private:
  std::string prompt(const std::string& instruction, const std::string& system) const override {
    return system.empty() ? instruction : fmt::format("{}\n\n{}", system, instruction);
  }
};

/// Taori et al. 2023, Stanford Alpaca, train.py: "prompt_no_input". A space is put between its last
/// colon and the response: without one, byte-level expressions make one word of the colon and the first word of the
/// response, and a prompt tokenized alone would not be a prefix of what was learned.
class Alpaca final : public PromptFormat {
 public:
  using PromptFormat::PromptFormat;
  std::string_view name() const override { return "alpaca"; }

 private:
  std::string_view default_system() const override {
    return "Below is an instruction that describes a task. Write a response that appropriately completes the request.";
  }
  std::string prompt(const std::string& instruction, const std::string& system) const override {
    return fmt::format("{}{}### Instruction:\n{}\n\n### Response:", system, system.empty() ? "" : "\n\n", instruction);
  }
  std::string response(const std::string& text) const override {
    size_t position = 0;
    const bool separate = text.empty() || tokenizer::is_whitespace(tokenizer::next_code_point(text, position));
    return separate ? text : " " + text;
  }
};

}  // namespace

std::unique_ptr<PromptFormat> make_raw(PromptFormatOptions options) {
  return std::make_unique<Raw>(std::move(options));
}

std::unique_ptr<PromptFormat> make_alpaca(PromptFormatOptions options) {
  return std::make_unique<Alpaca>(std::move(options));
}

}  // namespace subspect::model::prompts
