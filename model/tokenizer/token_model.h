// Models of tokenizer.json: how a piece of text becomes tokens of the vocabulary. BPE and WordLevel.
#pragma once

#include <memory>

#include "model/tokenizer/bpe.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/vocabulary.h"

namespace subspect::model::tokenizer {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// Appends the tokens of a piece.
  virtual void tokenize(const Piece& piece, BpeScratch& scratch, std::vector<TokenLength>& out) const = 0;
  /// Whether pieces may come as bytes (`Piece::bytes`).
  virtual bool reads_bytes() const = 0;
  /// Whether clean_up_tokenization_spaces applies: to all models but BPE.
  virtual bool cleans_up() const = 0;
  virtual std::string unk_token() const = 0;
};

/// Makes the model that `part` describes. Throws Error for an unsupported or inconsistent one.
/// @param vocabulary of the model; outlives it.
std::unique_ptr<TokenModel> make_token_model(const JsonPart& part, const Vocabulary& vocabulary);

}  // namespace subspect::model::tokenizer
