// Finding added tokens.
#include "model/tokenizer/added_tokens.h"

#include <algorithm>

#include "model/tokenizer/unicode.h"

namespace subspect::model::tokenizer {

namespace {

bool starts_with_word(std::string_view text) {
  size_t position = 0;
  return !text.empty() && is_word(next_code_point(text, position));
}

size_t last_character(std::string_view text) {
  size_t position = text.size() - 1;
  while (is_continuation(text[position])) --position;
  return position;
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && starts_with_word(text.substr(last_character(text)));
}

size_t skip_spaces(std::string_view text, size_t position) {
  while (position < text.size()) {
    size_t next = position;
    if (!is_whitespace(next_code_point(text, next))) break;
    position = next;
  }
  return position;
}

size_t skip_spaces_back(std::string_view text, size_t position) {
  while (position > 0) {
    size_t begin = last_character(text.substr(0, position));
    const size_t candidate = begin;
    if (!is_whitespace(next_code_point(text, begin))) break;
    position = candidate;
  }
  return position;
}

}  // namespace

void TextTrie::add(std::string_view text, size_t value) {
  uint32_t node = 0;
  for (const char c : text) {
    auto& children = nodes_[node].children;
    const auto found =
        std::find_if(children.begin(), children.end(), [c](const auto& child) { return child.first == c; });
    if (found != children.end()) {
      node = found->second;
      continue;
    }
    const auto next = static_cast<uint32_t>(nodes_.size());
    children.emplace_back(c, next);
    nodes_.emplace_back();
    node = next;
  }
  if (nodes_[node].value == no_match) nodes_[node].value = value;
  starts_[static_cast<unsigned char>(text.front())] = true;
}

TextTrie::Match TextTrie::find(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<unsigned char>(text[begin])]) continue;
    Match match{begin, begin, no_match};
    uint32_t node = 0;
    for (size_t i = begin; i < text.size(); ++i) {
      const auto& children = nodes_[node].children;
      const auto found =
          std::find_if(children.begin(), children.end(), [&](const auto& child) { return child.first == text[i]; });
      if (found == children.end()) break;
      node = found->second;
      if (nodes_[node].value != no_match) match = {begin, i + 1, nodes_[node].value};
    }
    if (match.value != no_match) return match;
  }
  return {text.size(), text.size(), no_match};
}

void AddedTokens::add(AddedToken token) {
  tokens_.push_back(std::move(token));
}

void AddedTokens::prepare(const Normalizer* normalizer, RegexScratch& scratch) {
  // Special tokens come first, so that they win over others that are normalized to the same text.
  for (const bool special : {true, false}) {
    for (size_t i = 0; i < tokens_.size(); ++i) {
      AddedToken& token = tokens_[i];
      if (token.special != special || token.content.empty()) continue;
      if (!token.normalized) {
        plain_.add(token.content, i);
        continue;
      }
      NormalizedText content(token.content, 0);
      if (normalizer != nullptr) normalizer->apply(content, scratch);
      token.normalized_content = content.text();
      if (!content.text().empty()) normalized_.add(content.text(), i);
    }
  }
}

void AddedTokens::extract(std::string_view text, const Normalizer* normalizer, RegexScratch& scratch,
                          Pieces& pieces) const {
  if (text.empty()) return;
  const auto whole = [](const NormalizedText& source) { return Piece{&source, 0, source.text().size(), -1, false}; };
  std::vector<Piece> plain;
  split(whole(pieces.texts.emplace_back(text, 0)), plain_, plain);
  for (const Piece& piece : plain) {
    if (piece.added_token >= 0) {
      pieces.list.push_back(piece);
      continue;
    }
    if (normalizer == nullptr) {
      split(piece, normalized_, pieces.list);
      continue;
    }
    NormalizedText& changed = pieces.own(piece);
    normalizer->apply(changed, scratch);
    split(whole(changed), normalized_, pieces.list);
  }
}

void AddedTokens::split(const Piece& piece, const TextTrie& trie, std::vector<Piece>& out) const {
  const std::string_view text = piece.view();
  const auto add = [&](size_t begin, size_t end, int32_t id) {
    if (begin < end) out.push_back({piece.text, piece.begin + begin, piece.begin + end, id, false});
  };
  size_t done = 0;
  for (size_t from = 0;;) {
    const TextTrie::Match match = trie.find(text, from);
    if (match.value == TextTrie::no_match) break;
    from = match.end;
    const AddedToken& token = tokens_[match.value];
    if (token.single_word &&
        (ends_with_word(text.substr(0, match.begin)) || starts_with_word(text.substr(match.end)))) {
      continue;
    }
    const size_t begin = token.lstrip ? std::max(skip_spaces_back(text, match.begin), done) : match.begin;
    const size_t end = token.rstrip ? skip_spaces(text, match.end) : match.end;
    add(done, begin, -1);
    add(begin, end, token.id);
    done = end;
  }
  add(done, text.size(), -1);
}

AddedToken read_added_token(const JsonPart& part, int32_t id) {
  AddedToken token;
  token.content = part.at("content").text();
  token.id = id;
  token.single_word = part.boolean_or("single_word", false);
  token.lstrip = part.boolean_or("lstrip", false);
  token.rstrip = part.boolean_or("rstrip", false);
  token.special = part.boolean_or("special", false);
  token.normalized = part.boolean_or("normalized", !token.special);
  return token;
}

}  // namespace subspect::model::tokenizer
