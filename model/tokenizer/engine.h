// Engine: the pipeline of one tokenizer.json, from text to ids and back.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/decoder.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/post_processor.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/token_model.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/vocabulary.h"

namespace subspect::model::tokenizer {

/// What tokenizer_config.json says that changes the pipeline.
struct EngineOptions {
  std::vector<AddedToken> more_tokens;  ///< of added_tokens_decoder and added_tokens.json
  bool clean_up = false;                ///< clean_up_tokenization_spaces
  bool clean_up_bpe = false;            ///< ..._for_bpe_even_though_it_will_corrupt_output
};

class Engine {
 public:
  /// @param root of tokenizer.json.
  Engine(const JsonPart& root, const EngineOptions& options);

  Encoding encode(std::string_view text, bool add_special_tokens) const;
  std::unique_ptr<DecodePipeline> start_decoding() const { return decoder_->start(); }

  const Vocabulary& vocabulary() const { return vocabulary_; }
  /// The text that a decoder gets for an id of the vocabulary: the token, in its normalized form where added tokens
  /// have one.
  const std::string& decoder_input(int32_t id) const;
  bool is_special(int32_t id) const {
    return static_cast<size_t>(id) < special_.size() && special_[static_cast<size_t>(id)];
  }
  std::string unk_token() const { return model_->unk_token(); }

 private:
  /// Work space of one encoding; kept for the next one, with the words it has seen.
  struct Scratch {
    RegexScratch regex;
    BpeScratch bpe;
    std::vector<TokenLength> tokens;
  };
  class Borrowed;

  void add_token(AddedToken token, const JsonPart& where);
  void tokenize(const Pieces& pieces, std::string_view text, Scratch& scratch, Encoding& encoding,
                std::vector<std::string_view>* texts) const;

  Vocabulary vocabulary_;
  std::vector<bool> special_;  // by id
  std::unordered_map<int32_t, std::string> normalized_tokens_;
  AddedTokens added_;
  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<TokenModel> model_;
  std::unique_ptr<PostProcessor> post_processor_;
  std::unique_ptr<Decoder> decoder_;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace subspect::model::tokenizer
