// Unicode normalization forms C, D, KC and KD (Unicode Standard Annex 15) with alignments.
#pragma once

#include "model/tokenizer/normalized_text.h"

namespace subspect::model::tokenizer {

enum class NormalizationForm : uint8_t { nfc, nfd, nfkc, nfkd };

/// Brings a text into a normalization form. A composed character is aligned with its first constituent, as in
/// `tokenizers`.
void normalize(NormalizedText& text, NormalizationForm form);

}  // namespace subspect::model::tokenizer
