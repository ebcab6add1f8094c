// Pre-tokenizers of tokenizer.json: Split, ByteLevel, Metaspace, Digits, Whitespace, WhitespaceSplit, Sequence.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "model/tokenizer/json_reader.h"
#include "model/tokenizer/normalized_text.h"
#include "model/tokenizer/regex.h"

namespace subspect::model::tokenizer {

/// A part of a text on its way to tokens: bytes [begin, end) of `*text`, not empty.
struct Piece {
  const NormalizedText* text;
  size_t begin;
  size_t end;
  int32_t added_token = -1;  ///< the id, when the piece is an added token; it is then left alone
  /// The bytes are to be read as tokens of the byte-level alphabet, one character per byte.
  bool bytes = false;

  std::string_view view() const { return std::string_view(text->text()).substr(begin, end - begin); }
};

/// The pieces of one text in order, and the changed texts they lie in.
struct Pieces {
  std::vector<Piece> list;
  std::deque<NormalizedText> texts;  // stable addresses

  /// A text of its own that holds a piece.
  NormalizedText& own(const Piece& piece) { return texts.emplace_back(*piece.text, piece.begin, piece.end); }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Splits every piece that is no added token.
  virtual void apply(Pieces& pieces, RegexScratch& scratch) const;

 protected:
  /// Appends the parts of one piece to `out`. @param pieces owns changed texts.
  virtual void split(const Piece& piece, Pieces& pieces, RegexScratch& scratch, std::vector<Piece>& out) const = 0;
};

/// Makes the pre-tokenizer that `part` describes; null for JSON null. Throws Error for an unsupported one.
/// @param mark_bytes lets a ByteLevel that comes last mark its pieces (`Piece::bytes`) instead of spelling them out in
/// the alphabet, which takes twice the memory: for models that hold all 256 characters.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonPart& part, bool mark_bytes);

}  // namespace subspect::model::tokenizer
