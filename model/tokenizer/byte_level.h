// The byte-level alphabet of GPT-2: 256 printable characters that stand for the bytes, so that vocabularies of bytes
// can be written as text (Radford et al. 2019; OpenAI's encoder.py, bytes_to_unicode).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace subspect::model::tokenizer {

/// The character of each byte: printable Latin-1 bytes stand for themselves, the others for U+0100 on, in order.
const std::array<char32_t, 256>& byte_alphabet();

/// The byte of a character of the alphabet.
std::optional<unsigned char> byte_of(char32_t character);

/// Bytes spelled in the alphabet, as UTF-8.
std::string spell_bytes(std::string_view bytes);

/// The bytes that a token of the alphabet stands for; none when it has other characters.
std::optional<std::string> read_bytes(std::string_view token);

}  // namespace subspect::model::tokenizer
