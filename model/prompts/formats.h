// The prompt formats that the registry (model/prompts.cpp) knows: one maker each.
#pragma once

#include <memory>

#include "model/prompts.h"

namespace subspect::model::prompts {

std::unique_ptr<PromptFormat> make_raw(PromptFormatOptions options);
std::unique_ptr<PromptFormat> make_alpaca(PromptFormatOptions options);
std::unique_ptr<PromptFormat> make_chatml(PromptFormatOptions options);
std::unique_ptr<PromptFormat> make_llama2(PromptFormatOptions options);
std::unique_ptr<PromptFormat> make_llama3(PromptFormatOptions options);
/// Throws UsageError for a template that is empty, lacks {instruction}, or names other fields.
std::unique_ptr<PromptFormat> make_custom(PromptFormatOptions options);

/// The text without white space at both ends, as Python's str.strip().
std::string_view strip(std::string_view text);

}  // namespace subspect::model::prompts
