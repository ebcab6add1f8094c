// TextCollector: a completion's text as its tokens arrive, cut before the first stop string.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.h"

namespace subspect::model {

class TextCollector {
 public:
  /// @param tokenizer nullptr: no text is made and no stop string is ever found. Outlives the collector.
  /// @param stop outlives the collector; empty strings are no stop strings.
  TextCollector(const Tokenizer* tokenizer, const std::vector<std::string>& stop, bool skip_special_tokens);

  /// True once the text holds a stop string; it was then cut before the first one. An id without a token, which a
  /// model with padding rows may choose, adds no text, as in Transformers.
  bool push(int32_t id);
  /// Adds what was held back for an incomplete character; the result as `push`.
  bool finish();

  const std::string& text() const { return text_; }

 private:
  bool append(const std::string& piece);

  const Tokenizer* tokenizer_;
  std::optional<StreamDecoder> decoder_;
  const std::vector<std::string>* stop_;
  std::string text_;
  bool stopped_ = false;
};

}  // namespace subspect::model
