// The chat formats of Llama 2 and Llama 3, as the templates of Llama-2-chat and Llama-3-Instruct write them.
#include <fmt/format.h>

#include "model/prompts/formats.h"

namespace subspect::model::prompts {

namespace {

/// [INST] with the system text inside the first instruction. The spaces around the response are part of the template.
class Llama2 final : public PromptFormat {
 public:
  using PromptFormat::PromptFormat;
  std::string_view name() const override { return "llama2"; }
  std::string_view bos_text() const override { return "<s>"; }

 private:
  std::string prompt(const std::string& instruction, const std::string& system) const override {
    const std::string content =
        system.empty() ? instruction : fmt::format("<<SYS>>\n{}\n<</SYS>>\n\n{}", system, instruction);
    return fmt::format("{}[INST] {} [/INST]", bos_text(), strip(content));
  }
  std::string response(const std::string& text) const override { return fmt::format(" {} ", strip(text)); }
};

/// Headers and <|eot_id|>. With a date, the system turn of Llama 3.1 and later, which is there even without a text.
class Llama3 final : public PromptFormat {
 public:
  using PromptFormat::PromptFormat;
  std::string_view name() const override { return "llama3"; }
  std::string_view bos_text() const override { return "<|begin_of_text|>"; }
  std::string_view end_token() const override { return "<|eot_id|>"; }

 private:
  static std::string header(std::string_view role) {
    return fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n", role);
  }
  std::string prompt(const std::string& instruction, const std::string& system) const override {
    std::string text(bos_text());
    if (!options().date.empty()) {
      text += fmt::format("{}Cutting Knowledge Date: December 2023\nToday Date: {}\n\n{}{}", header("system"),
                          options().date, strip(system), end_token());
    } else if (!system.empty()) {
      text += fmt::format("{}{}{}", header("system"), strip(system), end_token());
    }
    text += fmt::format("{}{}{}{}", header("user"), strip(instruction), end_token(), header("assistant"));
    return text;
  }
  std::string response(const std::string& text) const override { return std::string(strip(text)); }
};

}  // namespace

std::unique_ptr<PromptFormat> make_llama2(PromptFormatOptions options) {
  return std::make_unique<Llama2>(std::move(options));
}

std::unique_ptr<PromptFormat> make_llama3(PromptFormatOptions options) {
  return std::make_unique<Llama3>(std::move(options));
}

}  // namespace subspect::model::prompts
