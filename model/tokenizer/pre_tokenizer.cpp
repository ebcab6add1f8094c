// The pre-tokenizers.
#include "model/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/unicode.h"

namespace subspect::model::tokenizer {

namespace {

/// A stretch of a piece, and whether the pattern matched it.
struct Stretch {
  size_t begin;
  size_t end;
  bool match;
};

enum class Behavior : uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// Joins neighbours or drops matches as the behavior says.
std::vector<Stretch> arrange(const std::vector<Stretch>& stretches, Behavior behavior) {
  if (behavior == Behavior::isolated) return stretches;
  std::vector<Stretch> result;
  if (behavior == Behavior::removed) {
    for (const Stretch& stretch : stretches) {
      if (!stretch.match) result.push_back(stretch);
    }
    return result;
  }
  const bool backwards = behavior == Behavior::merged_with_next;
  bool previous_match = false;
  for (size_t i = 0; i < stretches.size(); ++i) {
    const Stretch& stretch = stretches[backwards ? stretches.size() - 1 - i : i];
    const bool join =
        behavior == Behavior::contiguous ? stretch.match == previous_match : stretch.match && !previous_match;
    if (!join || result.empty()) {
      result.push_back(stretch);
    } else if (backwards) {
      result.back().begin = stretch.begin;
    } else {
      result.back().end = stretch.end;
    }
    previous_match = stretch.match;
  }
  if (backwards) std::reverse(result.begin(), result.end());
  return result;
}

/// Matches and what lies between them, covering the whole text.
std::vector<Stretch> cover(const Ranges& matches, size_t size, bool invert) {
  std::vector<Stretch> result;
  result.reserve(matches.size() + 1);
  size_t position = 0;
  for (const auto& [begin, end] : matches) {
    if (position != begin) result.push_back({position, begin, invert});
    result.push_back({begin, end, !invert});
    position = end;
  }
  if (position != size) result.push_back({position, size, invert});
  return result;
}

template <class Predicate>
Ranges find_characters(std::string_view text, const Predicate& predicate) {
  Ranges matches;
  for (size_t position = 0; position < text.size();) {
    const size_t begin = position;
    if (predicate(next_code_point(text, position))) matches.emplace_back(begin, position);
  }
  return matches;
}

void append(const Piece& piece, const std::vector<Stretch>& stretches, std::vector<Piece>& out) {
  for (const Stretch& stretch : stretches) {
    if (stretch.begin < stretch.end) {
      out.push_back({piece.text, piece.begin + stretch.begin, piece.begin + stretch.end, -1, false});
    }
  }
}

void append(const Piece& piece, const Ranges& matches, Behavior behavior, bool invert, std::vector<Piece>& out) {
  append(piece, arrange(cover(matches, piece.end - piece.begin, invert), behavior), out);
}

Piece whole(const NormalizedText& text) {
  return {&text, 0, text.text().size(), -1, false};
}

class Split final : public PreTokenizer {
 public:
  explicit Split(const JsonPart& part)
      : regex_(read_pattern(part.at("pattern"))),
        behavior_(read_behavior(part.at("behavior"))),
        invert_(part.boolean_or("invert", false)) {}

 private:
  static Behavior read_behavior(const JsonPart& part) {
    const std::string name = part.text();
    if (name == "Removed") return Behavior::removed;
    if (name == "Isolated") return Behavior::isolated;
    if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
    if (name == "MergedWithNext") return Behavior::merged_with_next;
    if (name == "Contiguous") return Behavior::contiguous;
    part.unsupported(name + " (behavior of Split)");
  }

  void split(const Piece& piece, Pieces&, RegexScratch& scratch, std::vector<Piece>& out) const override {
    Ranges matches;
    regex_.find_all(piece.view(), scratch, matches);
    append(piece, matches, behavior_, invert_, out);
  }

  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

/// \w+|[^\w\s]+, white space removed; the classes are Rust's, so no regular expression is used.
class Whitespace final : public PreTokenizer {
  void split(const Piece& piece, Pieces&, RegexScratch&, std::vector<Piece>& out) const override {
    const std::string_view text = piece.view();
    size_t begin = 0;
    int last_kind = 0;
    for (size_t position = 0; position < text.size();) {
      const size_t here = position;
      const char32_t c = next_code_point(text, position);
      const int kind = is_whitespace(c) ? 0 : is_word(c) ? 1 : 2;
      if (kind != last_kind) {
        if (last_kind != 0) out.push_back({piece.text, piece.begin + begin, piece.begin + here, -1, false});
        begin = here;
        last_kind = kind;
      }
    }
    if (last_kind != 0) out.push_back({piece.text, piece.begin + begin, piece.end, -1, false});
  }
};

class WhitespaceSplit final : public PreTokenizer {
  void split(const Piece& piece, Pieces&, RegexScratch&, std::vector<Piece>& out) const override {
    append(piece, find_characters(piece.view(), is_whitespace), Behavior::removed, false, out);
  }
};

class Digits final : public PreTokenizer {
 public:
  explicit Digits(bool individual) : behavior_(individual ? Behavior::isolated : Behavior::contiguous) {}

 private:
  void split(const Piece& piece, Pieces&, RegexScratch&, std::vector<Piece>& out) const override {
    append(piece, find_characters(piece.view(), is_numeric), behavior_, false, out);
  }

  Behavior behavior_;
};

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(const JsonPart& part, bool mark_bytes)
      : add_prefix_space_(part.boolean_or("add_prefix_space", true)),
        use_regex_(part.boolean_or("use_regex", true)),
        mark_bytes_(mark_bytes),
        regex_("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", part.where) {}

 private:
  void split(const Piece& piece, Pieces& pieces, RegexScratch& scratch, std::vector<Piece>& out) const override {
    Piece source = piece;
    if (add_prefix_space_ && source.view().front() != ' ') {
      NormalizedText& text = pieces.own(piece);
      text.prepend(" ");
      source = whole(text);
    }
    const size_t first = out.size();
    if (use_regex_) {
      Ranges matches;
      regex_.find_all(source.view(), scratch, matches);
      append(source, matches, Behavior::isolated, false, out);
    } else {
      out.push_back(source);
    }
    for (size_t i = first; i < out.size(); ++i) {
      if (mark_bytes_) {
        out[i].bytes = true;
      } else {
        out[i] = spell_out(out[i], pieces);
      }
    }
  }

  static Piece spell_out(const Piece& piece, Pieces& pieces) {
    std::vector<CharChange> changes;
    for (const char byte : piece.view()) {
      changes.push_back({byte_alphabet()[static_cast<unsigned char>(byte)], is_continuation(byte) ? 1 : 0});
    }
    NormalizedText& text = pieces.own(piece);
    text.transform(changes);
    return whole(text);
  }

  bool add_prefix_space_;
  bool use_regex_;
  bool mark_bytes_;
  Regex regex_;
};

class Metaspace final : public PreTokenizer {
 public:
  explicit Metaspace(const JsonPart& part)
      : replacement_(part.at("replacement").text()), scheme_(part.text_or("prepend_scheme", "always")) {
    if (count_code_points(replacement_) != 1) part.fail("\"replacement\" must be one character");
    // Files older than prepend_scheme say add_prefix_space.
    if (!part.boolean_or("add_prefix_space", true)) scheme_ = "never";
    if (scheme_ != "always" && scheme_ != "first" && scheme_ != "never") {
      part.unsupported(scheme_ + " (prepend_scheme of Metaspace)");
    }
    split_ = part.boolean_or("split", true);
  }

 private:
  void split(const Piece& piece, Pieces& pieces, RegexScratch&, std::vector<Piece>& out) const override {
    NormalizedText& text = pieces.own(piece);
    text.replace(find_characters(text.text(), [](char32_t c) { return c == ' '; }), replacement_);
    const bool prepends = scheme_ == "always" || (scheme_ == "first" && text.original_begin() == 0);
    if (prepends && !text.text().starts_with(replacement_)) text.prepend(replacement_);
    if (!split_) {
      out.push_back(whole(text));
      return;
    }
    Ranges matches;
    for (size_t at = text.text().find(replacement_); at != std::string::npos;
         at = text.text().find(replacement_, at + replacement_.size())) {
      matches.emplace_back(at, at + replacement_.size());
    }
    append(whole(text), matches, Behavior::merged_with_next, false, out);
  }

  std::string replacement_;
  std::string scheme_;
  bool split_ = true;
};

class Sequence final : public PreTokenizer {
 public:
  Sequence(const JsonPart& list, bool mark_bytes) {
    for (size_t i = 0; i < list.size(); ++i) {
      auto part = make_pre_tokenizer(list.item(i), mark_bytes && i + 1 == list.size());
      if (part != nullptr) parts_.push_back(std::move(part));
    }
  }

  void apply(Pieces& pieces, RegexScratch& scratch) const override {
    for (const auto& part : parts_) part->apply(pieces, scratch);
  }

 private:
  void split(const Piece&, Pieces&, RegexScratch&, std::vector<Piece>&) const override {}

  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

}  // namespace

void PreTokenizer::apply(Pieces& pieces, RegexScratch& scratch) const {
  std::vector<Piece> out;
  out.reserve(pieces.list.size());
  for (const Piece& piece : pieces.list) {
    if (piece.added_token >= 0) {
      out.push_back(piece);
    } else {
      split(piece, pieces, scratch, out);
    }
  }
  pieces.list = std::move(out);
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonPart& part, bool mark_bytes) {
  if (part.value.is_null()) return nullptr;
  const std::string type = part.type();
  if (type == "Split") return std::make_unique<Split>(part);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(part, mark_bytes);
  if (type == "Metaspace") return std::make_unique<Metaspace>(part);
  if (type == "Digits") return std::make_unique<Digits>(part.boolean_or("individual_digits", false));
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  if (type == "Sequence") return std::make_unique<Sequence>(part.at("pretokenizers"), mark_bytes);
  part.unsupported(type + " (pre-tokenizer)");
}

}  // namespace subspect::model::tokenizer
