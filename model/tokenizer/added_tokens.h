// Added tokens: texts that are found before the normalizer and the model see them, such as <|im_start|>.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/vocabulary.h"

namespace subspect::model::tokenizer {

struct AddedToken {
  std::string content;
  std::string normalized_content;  ///< what is searched for, and decoded to, when `normalized`
  int32_t id = 0;
  bool single_word = false;  ///< not inside a word
  bool lstrip = false;       ///< takes white space on its left with it
  bool rstrip = false;       ///< and on its right
  bool normalized = false;   ///< found in the normalized text, by its normalized content
  bool special = false;
};

/// Finds the leftmost, longest of a set of texts.
class TextTrie {
 public:
  void add(std::string_view text, size_t value);

  struct Match {
    size_t begin;
    size_t end;
    size_t value;
  };
  static constexpr size_t no_match = SIZE_MAX;
  /// The first match that begins at `from` or behind; its value is no_match when there is none.
  Match find(std::string_view text, size_t from) const;

 private:
  struct Node {
    std::vector<std::pair<char, uint32_t>> children;
    size_t value = no_match;
  };
  std::vector<Node> nodes_ = std::vector<Node>(1);
  bool starts_[256] = {};
};

class AddedTokens {
 public:
  /// @param normalizer may be null.
  void add(AddedToken token);
  /// Builds the search structures after the last `add`.
  void prepare(const Normalizer* normalizer, RegexScratch& scratch);

  /// Splits the text into added tokens and the rest, normalized.
  void extract(std::string_view text, const Normalizer* normalizer, RegexScratch& scratch, Pieces& pieces) const;

  const std::vector<AddedToken>& list() const { return tokens_; }

 private:
  void split(const Piece& piece, const TextTrie& trie, std::vector<Piece>& out) const;

  std::vector<AddedToken> tokens_;
  TextTrie plain_;
  TextTrie normalized_;
};

/// Reads an entry of "added_tokens", or of "added_tokens_decoder" where the id is the key.
AddedToken read_added_token(const JsonPart& part, int32_t id);

}  // namespace subspect::model::tokenizer
