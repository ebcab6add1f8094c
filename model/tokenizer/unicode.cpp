// UTF-8 and character properties (from utf8proc).
#include "model/tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>

#include "model/tokenizer/unicode_supplement.h"

namespace subspect::model::tokenizer {

namespace {

/// Outcome of reading one sequence: its length if valid, else the length of the maximal ill-formed prefix.
struct Sequence {
  size_t length;
  bool valid;
  bool incomplete;  ///< valid as far as it goes, but the text ends
};

/// Table 3-7 of the Unicode standard, "Well-Formed UTF-8 Byte Sequences".
Sequence read_sequence(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return {1, true, false};
  if (lead < 0xC2 || lead > 0xF4) return {1, false, false};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  unsigned low = 0x80;
  unsigned high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {i, false, true};
    if (at(i) < low || at(i) > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false};
}

template <class Ranges>
bool contains(const Ranges& ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](const auto& range) { return c >= range.first && c <= range.last; });
}

bool in_other_alphabetic_symbols(char32_t c) {
  return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
         (c >= 0x1F170 && c <= 0x1F189);
}

}  // namespace

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    if (static_cast<unsigned char>(text[position]) < 0x80) {
      ++position;
      continue;
    }
    const Sequence sequence = read_sequence(text.substr(position));
    if (!sequence.valid) return position;
    position += sequence.length;
  }
  return std::nullopt;
}

char32_t next_code_point(std::string_view text, size_t& position) {
  const auto at = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const char32_t lead = at(position);
  if (lead < 0x80) {
    ++position;
    return lead;
  }
  const size_t length = sequence_length(text[position]);
  char32_t value = lead & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) value = (value << 6) | (at(position + i) & 0x3F);
  position += length;
  return value;
}

std::vector<char32_t> code_points(std::string_view text) {
  std::vector<char32_t> result;
  result.reserve(text.size());
  for (size_t position = 0; position < text.size();) result.push_back(next_code_point(text, position));
  return result;
}

int64_t count_code_points(std::string_view text) {
  int64_t count = 0;
  for (const char byte : text) count += is_continuation(byte) ? 0 : 1;
  return count;
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto add = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    add(code_point);
  } else if (code_point < 0x800) {
    add(0xC0 | (code_point >> 6));
    add(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    add(0xE0 | (code_point >> 12));
    add(0x80 | ((code_point >> 6) & 0x3F));
    add(0x80 | (code_point & 0x3F));
  } else {
    add(0xF0 | (code_point >> 18));
    add(0x80 | ((code_point >> 12) & 0x3F));
    add(0x80 | ((code_point >> 6) & 0x3F));
    add(0x80 | (code_point & 0x3F));
  }
}

size_t append_utf8_lossy(std::string& text, std::string_view bytes, bool at_end) {
  size_t position = 0;
  while (position < bytes.size()) {
    const Sequence sequence = read_sequence(bytes.substr(position));
    if (sequence.incomplete && !at_end) break;
    if (sequence.valid) {
      text.append(bytes.substr(position, sequence.length));
    } else {
      text.append("\xEF\xBF\xBD");
    }
    position += sequence.length;
  }
  return position;
}

bool is_whitespace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_numeric(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  if (category == UTF8PROC_CATEGORY_CN) return contains(newer_digits, c) || contains(newer_numbers, c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}

bool is_word(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    case UTF8PROC_CATEGORY_CN:
      return contains(newer_letters, c) || contains(newer_marks, c) || contains(newer_digits, c);
    default:
      return c == 0x200C || c == 0x200D || in_other_alphabetic_symbols(c);
  }
}

void append_lowercase(std::vector<char32_t>& out, char32_t c) {
  if (c == 0x130) {  // the only code point whose lower case is two: i and a combining dot
    out.push_back('i');
    out.push_back(0x307);
    return;
  }
  out.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

}  // namespace subspect::model::tokenizer
