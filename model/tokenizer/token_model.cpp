// The models.
#include "model/tokenizer/token_model.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "runtime/error.h"

namespace subspect::model::tokenizer {

namespace {

class BpeModel final : public TokenModel {
 public:
  BpeModel(const JsonPart& part, const Vocabulary& vocabulary)
      : bpe_(vocabulary, read_merges(part.at("merges")), read_options(part), part.where) {}

  void tokenize(const Piece& piece, BpeScratch& scratch, std::vector<TokenLength>& out) const override {
    bpe_.encode(piece.view(), piece.bytes, scratch, out);
  }
  bool reads_bytes() const override { return bpe_.has_all_bytes(); }
  bool cleans_up() const override { return false; }
  std::string unk_token() const override { return bpe_.options().unk_token; }

 private:
  static BpeOptions read_options(const JsonPart& part) {
    if (part.has("dropout") && part.at("dropout").value != 0.0) part.unsupported("dropout of BPE");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!part.text_or(key, "").empty()) part.unsupported(fmt::format("{} of BPE", key));
    }
    BpeOptions options;
    options.unk_token = part.text_or("unk_token", "");
    options.fuse_unk = part.boolean_or("fuse_unk", false);
    options.byte_fallback = part.boolean_or("byte_fallback", false);
    options.ignore_merges = part.boolean_or("ignore_merges", false);
    return options;
  }

  /// "a b", or ["a", "b"] in files of `tokenizers` 0.20 and later.
  static std::vector<NamedMerge> read_merges(const JsonPart& part) {
    std::vector<NamedMerge> merges;
    merges.reserve(part.size());
    for (const auto& entry : part.value) {
      if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
        merges.push_back({entry[0].get<std::string>(), entry[1].get<std::string>()});
        continue;
      }
      const std::string text = entry.is_string() ? entry.get<std::string>() : std::string();
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        part.fail(fmt::format("merge {} is not a pair of tokens", merges.size()));
      }
      merges.push_back({text.substr(0, space), text.substr(space + 1)});
    }
    return merges;
  }

  Bpe bpe_;
};

class WordLevelModel final : public TokenModel {
 public:
  WordLevelModel(const JsonPart& part, const Vocabulary& vocabulary)
      : vocabulary_(vocabulary), where_(part.where), unk_token_(part.text_or("unk_token", "<unk>")) {}

  void tokenize(const Piece& piece, BpeScratch&, std::vector<TokenLength>& out) const override {
    auto id = vocabulary_.find(piece.view());
    if (!id) id = vocabulary_.find(unk_token_);
    if (!id) {
      throw runtime::Error(
          fmt::format("\"{}\" is not in the vocabulary, nor is the unknown token \"{}\"", piece.view(), unk_token_),
          where_, "use a tokenizer that knows the words of the text");
    }
    out.push_back({*id, static_cast<uint32_t>(piece.end - piece.begin)});
  }
  bool reads_bytes() const override { return false; }
  bool cleans_up() const override { return true; }
  std::string unk_token() const override { return unk_token_; }

 private:
  const Vocabulary& vocabulary_;
  std::string where_;
  std::string unk_token_;
};

}  // namespace

std::unique_ptr<TokenModel> make_token_model(const JsonPart& part, const Vocabulary& vocabulary) {
  // Old files leave the type of BPE out.
  const std::string type = part.has("type") || !part.has("merges") ? part.type() : "BPE";
  if (type == "BPE") return std::make_unique<BpeModel>(part, vocabulary);
  if (type == "WordLevel") return std::make_unique<WordLevelModel>(part, vocabulary);
  part.unsupported(type + " (model)");
}

}  // namespace subspect::model::tokenizer
