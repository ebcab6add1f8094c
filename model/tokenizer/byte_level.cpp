// The byte-level alphabet.
#include "model/tokenizer/byte_level.h"

#include "model/tokenizer/unicode.h"

namespace subspect::model::tokenizer {

const std::array<char32_t, 256>& byte_alphabet() {
  static const auto alphabet = [] {
    std::array<char32_t, 256> result{};
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
      result[byte] = printable ? byte : next++;
    }
    return result;
  }();
  return alphabet;
}

std::optional<unsigned char> byte_of(char32_t character) {
  static const auto bytes = [] {
    std::array<int16_t, 0x144> result{};
    result.fill(-1);
    for (size_t byte = 0; byte < 256; ++byte) result[byte_alphabet()[byte]] = static_cast<int16_t>(byte);
    return result;
  }();
  if (character >= bytes.size() || bytes[character] < 0) return std::nullopt;
  return static_cast<unsigned char>(bytes[character]);
}

std::string spell_bytes(std::string_view bytes) {
  std::string result;
  for (const char byte : bytes) append_utf8(result, byte_alphabet()[static_cast<unsigned char>(byte)]);
  return result;
}

std::optional<std::string> read_bytes(std::string_view token) {
  std::string result;
  for (size_t position = 0; position < token.size();) {
    const auto byte = byte_of(next_code_point(token, position));
    if (!byte) return std::nullopt;
    result.push_back(static_cast<char>(*byte));
  }
  return result;
}

}  // namespace subspect::model::tokenizer
