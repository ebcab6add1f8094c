// Prompt formats: how an instruction (and its response) becomes the text of a model, and which tokens of it are
// learned.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/tokenizer/tokenizer.h"

namespace subspect::model {

/// The parts of one exchange.
struct PromptFields {
  std::string instruction;
  std::string response;               ///< empty when the model is to write it
  std::optional<std::string> system;  ///< absent: the format's default; empty: none
};

/// A rendered exchange. `text` is the prompt followed by the response, without any end token.
struct RenderedPrompt {
  std::string text;
  int64_t response_byte = 0;        ///< where the response begins, in bytes of `text`
  int64_t response_code_point = 0;  ///< the same in Unicode code points
};

/// What a user may choose about a format.
struct PromptFormatOptions {
  std::optional<std::string> system;  ///< used where an example has none; absent: the format's own default
  std::string custom_template;        ///< of `custom`: {instruction}, {system}, {response}; {{ and }} are braces
  std::string date;  ///< of `llama3`, e.g. "26 Jul 2024": the date header of Llama 3.1 and later; empty: none
};

/// A way to write prompts.
class PromptFormat {
 public:
  explicit PromptFormat(PromptFormatOptions options) : options_(std::move(options)) {}
  virtual ~PromptFormat() = default;

  virtual std::string_view name() const = 0;

  /// Prompt and response, for training. The caller appends the id that ends a response (`end_id`), never its text.
  RenderedPrompt render(const PromptFields& fields) const;
  /// The prompt alone, for generation; `fields.response` is not used.
  std::string render_prompt(const PromptFields& fields) const;

  /// The token that ends a response in this format ("<|im_end|>", "<|eot_id|>"); empty: the tokenizer's EOS.
  virtual std::string_view end_token() const { return ""; }
  /// The BOS text that every rendered text begins with ("<s>", "<|begin_of_text|>"); empty: BOS is left to the
  /// tokenizer.
  virtual std::string_view bos_text() const { return ""; }

 protected:
  /// The text before the response. @param system what applies, never absent; empty: none
  virtual std::string prompt(const std::string& instruction, const std::string& system) const = 0;
  /// The response as it is written after the prompt.
  virtual std::string response(const std::string& text) const { return text; }
  /// The system text where neither the example nor the user gives one.
  virtual std::string_view default_system() const { return ""; }

  const PromptFormatOptions& options() const { return options_; }

 private:
  PromptFormatOptions options_;
};

/// Makes a format by its name: raw, alpaca, chatml, llama2, llama3 or custom. Throws UsageError for an unknown name
/// (naming the nearest) and for a custom template with unknown fields.
std::unique_ptr<PromptFormat> make_prompt_format(std::string_view name, const PromptFormatOptions& options = {});

/// Names and descriptions (one line: what it is and where it comes from) of all formats, in a fixed order.
struct PromptFormatInfo {
  std::string_view name;
  std::string_view description;
};
std::vector<PromptFormatInfo> prompt_formats();

/// Their names, in that order; @param with_template also of the format custom, which needs a template
std::vector<std::string> prompt_format_names(bool with_template);

/// Ids of a rendered text with exactly one BOS: the text's own, or the one that the tokenizer adds. An EOS that the
/// tokenizer's template would add is left out: the caller ends a sample. Throws Error when the format's BOS is not a
/// token of the tokenizer.
Encoding encode_prompt(const Tokenizer& tokenizer, const PromptFormat& format, std::string_view text);

/// The id that ends a response: that of the format's end token, else the tokenizer's EOS. Throws Error when neither is
/// in the vocabulary.
int32_t end_id(const Tokenizer& tokenizer, const PromptFormat& format);

/// Which tokens are learned: 1 where a token lies wholly in the response, that is, its first character is at or behind
/// `response_code_point`. A token that straddles the boundary shows the model a part of the prompt and is not learned;
/// nor is a token that the tokenizer's template added.
std::vector<uint8_t> response_mask(const Encoding& encoding, int64_t response_code_point);

/// Number of code points of valid UTF-8.
int64_t count_code_points(std::string_view text);

}  // namespace subspect::model
