// UTF-8 and the few character properties that tokenizers ask for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::model::tokenizer {

/// The byte at which `text` stops being UTF-8 (no surrogates, no overlong forms, at most U+10FFFF).
std::optional<size_t> find_invalid_utf8(std::string_view text);

/// Length of the UTF-8 sequence that begins with `lead`; `lead` is the first byte of a valid one.
inline size_t sequence_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

inline bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

/// The code point at `position` of valid UTF-8; `position` moves behind it.
char32_t next_code_point(std::string_view text, size_t& position);

std::vector<char32_t> code_points(std::string_view text);

/// Number of code points of valid UTF-8.
int64_t count_code_points(std::string_view text);

void append_utf8(std::string& text, char32_t code_point);

/// Length in UTF-8.
inline size_t utf8_length(char32_t code_point) {
  return code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
}

/// Appends `bytes` with U+FFFD for each maximal ill-formed subsequence (as Rust's from_utf8_lossy). Unless `at_end`, an
/// incomplete but so far valid sequence at the end is not taken. Returns the number of bytes taken.
size_t append_utf8_lossy(std::string& text, std::string_view bytes, bool at_end);

/// Unicode White_Space.
bool is_whitespace(char32_t code_point);
/// General category N.
bool is_numeric(char32_t code_point);
/// What \w means in Rust's regex: Alphabetic, M, Nd, Pc, Join_Control.
bool is_word(char32_t code_point);
/// Appends the lower-case form of one code point (one or two code points).
void append_lowercase(std::vector<char32_t>& out, char32_t code_point);

}  // namespace subspect::model::tokenizer
