// Decoders of tokenizer.json: ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence. They work on streams,
// so that decoding a whole list and decoding token by token are the same code.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "model/tokenizer/json_reader.h"

namespace subspect::model::tokenizer {

/// A stage of decoding. Tokens come as one or more pushes of valid UTF-8; `begins` marks the first of a token.
class DecodeStage {
 public:
  explicit DecodeStage(DecodeStage* next) : next_(next) {}
  virtual ~DecodeStage() = default;
  virtual void push(std::string_view text, bool begins) = 0;
  /// Gives what is held back and starts anew.
  virtual void finish() { next_->finish(); }

 protected:
  DecodeStage* next_;
};

/// The stages that a tokenizer's decoder is made of, for one stream.
class DecodePipeline {
 public:
  virtual ~DecodePipeline() = default;
  /// Takes one whole token; returns the text that became certain.
  virtual std::string push(std::string_view token) = 0;
  virtual std::string finish() = 0;
};

/// A decoder as the file describes it, of which any number of pipelines can be made.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::unique_ptr<DecodePipeline> start() const = 0;
};

/// @param part the decoder, or JSON null: tokens are joined by spaces. Throws Error for an unsupported one.
/// @param clean_up adds Transformers' clean_up_tokenization_spaces at the end.
std::unique_ptr<Decoder> make_decoder(const JsonPart& part, bool clean_up);

}  // namespace subspect::model::tokenizer
