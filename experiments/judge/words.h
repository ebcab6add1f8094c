// Words of a text, for judges that compare what was asked with what was said. Internal to judge/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace subspect::experiments {

/// Lower-case ASCII letters; typographic apostrophes become straight ones.
inline std::string fold(std::string_view text) {
  std::string folded;
  while (!text.empty()) {
    if (text.starts_with("\xe2\x80\x99") || text.starts_with("\xe2\x80\x98")) {
      folded += '\'';
      text.remove_prefix(3);
      continue;
    }
    const char c = text.front();
    folded += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    text.remove_prefix(1);
  }
  return folded;
}

/// The runs of letters, digits, apostrophes and non-ASCII bytes of a folded text.
inline std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : fold(text) + " ") {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '\'' || byte >= 0x80) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  return words;
}

}  // namespace subspect::experiments
