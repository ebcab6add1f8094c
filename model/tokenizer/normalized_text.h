// NormalizedText: a changed copy of a part of the text that knows for each byte which bytes of the original it stands
// for. The rules by which changes move these alignments are those of `tokenizers`, whose offsets must be met exactly.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace subspect::model::tokenizer {

/// Half-open range of bytes of the original text.
struct ByteSpan {
  uint32_t begin = 0;
  uint32_t end = 0;
};

/// One character of a transformed text: the code point, and 0 when it replaces the next old character, -n when it
/// replaces it and the n after it vanish, 1 when it is new.
struct CharChange {
  char32_t code_point;
  int32_t change;
};

class NormalizedText {
 public:
  /// `text` as it stands in the original from byte `begin` on.
  NormalizedText(std::string_view text, uint32_t begin) : text_(text), begin_(begin) {}
  /// The bytes [begin, end) of another; not empty.
  NormalizedText(const NormalizedText& source, size_t begin, size_t end);

  const std::string& text() const { return text_; }
  /// Where in the original this text begins.
  uint32_t original_begin() const { return begin_; }
  /// The bytes of the original that [begin, end), not empty, stands for.
  ByteSpan original(size_t begin, size_t end) const;

  /// Puts `prefix` in front, aligned with the first character. An empty text stays empty.
  void prepend(std::string_view prefix);
  /// Replaces the ranges (ascending, disjoint) by `content`, aligned with the last byte of what it replaces.
  void replace(const std::vector<std::pair<size_t, size_t>>& ranges, std::string_view content);
  /// Becomes `changes`, the first `removed` old characters vanishing.
  void transform(const std::vector<CharChange>& changes, size_t removed = 0);

 private:
  /// Spells the alignment out; until then, every byte stands for the character it belongs to.
  void align();
  ByteSpan before(size_t position) const;

  std::string text_;
  std::vector<ByteSpan> alignment_;  // one per byte, or empty when nothing was changed
  uint32_t begin_;
};

}  // namespace subspect::model::tokenizer
