// Normalizers of tokenizer.json: NFC, NFD, NFKC, NFKD, Lowercase, Strip, Replace, Prepend, Sequence.
#pragma once

#include <memory>

#include "model/tokenizer/json_reader.h"
#include "model/tokenizer/normalized_text.h"
#include "model/tokenizer/regex.h"

namespace subspect::model::tokenizer {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(NormalizedText& text, RegexScratch& scratch) const = 0;
};

/// Makes the normalizer that `part` describes; null for JSON null. Throws Error for an unsupported one.
std::unique_ptr<Normalizer> make_normalizer(const JsonPart& part);

}  // namespace subspect::model::tokenizer
