// Post-processors of tokenizer.json: ByteLevel (trims offsets), TemplateProcessing (BOS and EOS), Sequence.
#pragma once

#include <memory>
#include <vector>

#include "model/tokenizer/json_reader.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/vocabulary.h"

namespace subspect::model::tokenizer {

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  /// @param texts of the tokens: what the vocabulary says, or for added tokens what stood in the text.
  virtual void apply(Encoding& encoding, std::vector<std::string_view>& texts, bool add_special_tokens) const = 0;
  /// Whether `apply` looks at the texts.
  virtual bool needs_texts() const = 0;
};

/// Makes the post-processor that `part` describes; null for JSON null. Throws Error for an unsupported one, and for
/// template tokens outside the vocabulary.
std::unique_ptr<PostProcessor> make_post_processor(const JsonPart& part, const Vocabulary& vocabulary);

}  // namespace subspect::model::tokenizer
