// The registry of prompt formats, and the step from rendered text to ids and labels.
#include "model/prompts.h"

#include <fmt/format.h>

#include "model/prompts/formats.h"
#include "model/tokenizer/unicode.h"
#include "runtime/error.h"
#include "runtime/nearest.h"

namespace subspect::model {

using runtime::Error;
using runtime::UsageError;

namespace {

struct Entry {
  PromptFormatInfo info;
  std::unique_ptr<PromptFormat> (*make)(PromptFormatOptions options);
};

constexpr Entry registry[] = {
    {{"raw", "the text as it is"}, prompts::make_raw},
    {{"alpaca", "instruction and response headers of Stanford Alpaca"}, prompts::make_alpaca},
    {{"chatml", "turns of Qwen2.5-Instruct (<|im_start|>, <|im_end|>)"}, prompts::make_chatml},
    {{"llama2", "[INST] turns of Llama-2-chat"}, prompts::make_llama2},
    {{"llama3", "header turns of Llama-3-Instruct (<|eot_id|>)"}, prompts::make_llama3},
    {{"custom", "a template with {instruction}, {system} and {response}"}, prompts::make_custom},
};

std::string system_of(const PromptFields& fields, const PromptFormatOptions& options, std::string_view fallback) {
  if (fields.system) return *fields.system;
  return options.system ? *options.system : std::string(fallback);
}

}  // namespace

namespace prompts {

std::string_view strip(std::string_view text) {
  // Python also strips the separators U+001C to U+001F.
  const auto is_space = [](char32_t c) { return tokenizer::is_whitespace(c) || (c >= 0x1C && c <= 0x1F); };
  size_t begin = 0;
  size_t end = 0;
  bool found = false;
  for (size_t position = 0; position < text.size();) {
    const size_t here = position;
    if (is_space(tokenizer::next_code_point(text, position))) continue;
    if (!found) begin = here;
    found = true;
    end = position;
  }
  return text.substr(begin, end - begin);
}

}  // namespace prompts

RenderedPrompt PromptFormat::render(const PromptFields& fields) const {
  RenderedPrompt result;
  result.text = render_prompt(fields);
  result.response_byte = static_cast<int64_t>(result.text.size());
  result.response_code_point = count_code_points(result.text);
  result.text += response(fields.response);
  return result;
}

std::string PromptFormat::render_prompt(const PromptFields& fields) const {
  return prompt(fields.instruction, system_of(fields, options_, default_system()));
}

std::unique_ptr<PromptFormat> make_prompt_format(std::string_view name, const PromptFormatOptions& options) {
  for (const Entry& entry : registry) {
    if (entry.info.name == name) return entry.make(options);
  }
  const std::string near = runtime::nearest(name, prompt_format_names(true));
  throw UsageError(fmt::format("unknown prompt format \"{}\"", name), "prompt_format",
                   fmt::format("{}`subspect list prompt-formats` shows all",
                               near.empty() ? "" : fmt::format("did you mean \"{}\"? ", near)));
}

std::vector<PromptFormatInfo> prompt_formats() {
  std::vector<PromptFormatInfo> result;
  for (const Entry& entry : registry) result.push_back(entry.info);
  return result;
}

std::vector<std::string> prompt_format_names(bool with_template) {
  std::vector<std::string> names;
  for (const Entry& entry : registry) {
    if (with_template || entry.info.name != "custom") names.emplace_back(entry.info.name);
  }
  return names;
}

Encoding encode_prompt(const Tokenizer& tokenizer, const PromptFormat& format, std::string_view text) {
  const std::string_view bos = format.bos_text();
  if (!bos.empty()) {
    if (!tokenizer.token_to_id(bos)) {
      throw Error(fmt::format("the tokenizer has no token {}, with which every prompt begins", bos),
                  fmt::format("prompt format {}", format.name()), "use the format of the model's family");
    }
    return tokenizer.encode(text, false);
  }
  Encoding encoding = tokenizer.encode(text, true);
  // What the template adds at the end is the caller's business.
  while (!encoding.added.empty() && encoding.added.back() != 0 &&
         encoding.added.size() > tokenizer.prefix_ids().size()) {
    encoding.ids.pop_back();
    encoding.offsets.pop_back();
    encoding.added.pop_back();
  }
  return encoding;
}

int32_t end_id(const Tokenizer& tokenizer, const PromptFormat& format) {
  const auto id = format.end_token().empty() ? tokenizer.eos_id() : tokenizer.token_to_id(format.end_token());
  if (id) return *id;
  if (format.end_token().empty()) {
    throw Error("the tokenizer names no eos_token", fmt::format("prompt format {}", format.name()),
                "add eos_token to tokenizer_config.json");
  }
  throw Error(fmt::format("the tokenizer has no token {}, which ends a response", format.end_token()),
              fmt::format("prompt format {}", format.name()), "use the format of the model's family");
}

std::vector<uint8_t> response_mask(const Encoding& encoding, int64_t response_code_point) {
  std::vector<uint8_t> mask(encoding.ids.size(), 0);
  for (size_t i = 0; i < mask.size(); ++i) {
    mask[i] = encoding.added[i] == 0 && encoding.offsets[i].begin >= response_code_point ? 1 : 0;
  }
  return mask;
}

int64_t count_code_points(std::string_view text) {
  return tokenizer::count_code_points(text);
}

}  // namespace subspect::model
