// ChatML, as the chat template of Qwen2.5-Instruct writes it.
#include <fmt/format.h>

#include "model/prompts/formats.h"

namespace subspect::model::prompts {

namespace {

class Chatml final : public PromptFormat {
 public:
  using PromptFormat::PromptFormat;
  std::string_view name() const override { return "chatml"; }
  std::string_view end_token() const override { return "<|im_end|>"; }

 private:
  std::string_view default_system() const override {
    return "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
  }
  std::string prompt(const std::string& instruction, const std::string& system) const override {
    const std::string head = system.empty() ? "" : fmt::format("<|im_start|>system\n{}<|im_end|>\n", system);
    return fmt::format("{}<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", head, instruction);
  }
};

}  // namespace

std::unique_ptr<PromptFormat> make_chatml(PromptFormatOptions options) {
  return std::make_unique<Chatml>(std::move(options));
}

}  // namespace subspect::model::prompts
