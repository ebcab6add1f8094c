// Stop strings are looked for in the text, not in the tokens: a tokenizer may split them in many ways.
#include "model/generation/text_collector.h"

#include <algorithm>

namespace subspect::model {

TextCollector::TextCollector(const Tokenizer* tokenizer, const std::vector<std::string>& stop, bool skip_special_tokens)
    : tokenizer_(tokenizer), stop_(&stop) {
  if (tokenizer != nullptr) decoder_.emplace(*tokenizer, skip_special_tokens);
}

bool TextCollector::push(int32_t id) {
  if (!decoder_ || stopped_ || !tokenizer_->has_token(id)) return stopped_;
  return append(decoder_->push(id));
}

bool TextCollector::finish() {
  return decoder_ && !stopped_ ? append(decoder_->finish()) : stopped_;
}

bool TextCollector::append(const std::string& piece) {
  const size_t old_size = text_.size();
  text_ += piece;
  size_t cut = std::string::npos;
  for (const std::string& stop : *stop_) {
    if (stop.empty()) continue;
    // A new occurrence ends in the new piece.
    const size_t from = old_size - std::min(old_size, stop.size() - 1);
    cut = std::min(cut, text_.find(stop, from));
  }
  if (cut != std::string::npos) {
    text_.resize(cut);
    stopped_ = true;
  }
  return stopped_;
}

}  // namespace subspect::model
