// subspect tokenize, detokenize, tokenizer train: text to token ids and back.
#include <CLI/CLI.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/trainer.h"
#include "runtime/error.h"
#include "tools/cli/commands.h"
#include "tools/cli/common.h"

namespace subspect::cli {

namespace {

struct TokenizeOptions {
  std::string model, input;
  bool without_special = false;
};

int tokenize(const TokenizeOptions& options) {
  const auto tokenizer = model::Tokenizer::load(tokenizer_directory(options.model));
  LineOutput output("");
  for_each_json_line(options.input, [&](const nlohmann::json& line, const std::string& where) {
    const auto encoding = tokenizer.encode(text_member(line, "text", where), !options.without_special);
    nlohmann::ordered_json offsets = nlohmann::ordered_json::array();
    for (const auto& span : encoding.offsets) offsets.push_back({span.begin, span.end});
    output.write({{"ids", encoding.ids}, {"offsets", std::move(offsets)}});
  });
  return 0;
}

int detokenize(const TokenizeOptions& options) {
  const auto tokenizer = model::Tokenizer::load(tokenizer_directory(options.model));
  LineOutput output("");
  for_each_json_line(options.input, [&](const nlohmann::json& line, const std::string& where) {
    const auto ids = ids_member(line, "ids", where);
    output.write({{"text", tokenizer.decode(ids, options.without_special)}});
  });
  return 0;
}

struct TrainOptions {
  std::vector<std::string> inputs;
  std::string output, field = "text";
  model::BpeTrainerOptions trainer;
};

/// Texts of a file: the field of each line of .jsonl, else each line.
void add_texts(const std::string& file, const std::string& field, std::vector<std::string>& texts) {
  if (file.ends_with(".jsonl")) {
    for_each_json_line(file, [&](const nlohmann::json& line, const std::string& where) {
      texts.push_back(text_member(line, field, where));
    });
    return;
  }
  std::ifstream stream(file, std::ios::binary);
  if (!stream || std::filesystem::is_directory(file)) {
    throw runtime::Error("cannot read the input", file, "check the path");
  }
  for (std::string line; std::getline(stream, line);) texts.push_back(line + "\n");
}

int train_tokenizer(const TrainOptions& options, bool verbose) {
  Console console(verbose);
  std::vector<std::string> texts;
  for (const std::string& file : options.inputs) add_texts(file, options.field, texts);
  const auto trained = model::train_bpe(texts, options.trainer);
  model::save_tokenizer(trained, options.output);
  console.log.info("{} tokens learned from {} texts, in {}", trained.vocab_size, texts.size(), options.output);
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("tokenize", "text to token ids with character offsets, line by line");
  const auto options = std::make_shared<TokenizeOptions>();
  command->add_option("--model", options->model, "a model or tokenizer directory, or a hub id")->required();
  command->add_option("--input", options->input, "lines {\"text\": ...}; default: standard input")
      ->type_name("F.jsonl");
  command->add_flag("--no-special-tokens", options->without_special, "no BOS or EOS that the tokenizer would add");
  command->footer("Example:\n  echo '{\"text\": \"Hello\"}' | subspect tokenize --model DIR");
  command->callback([options, &invocation] { invocation.action = [options] { return tokenize(*options); }; });
}

void add_detokenize(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("detokenize", "token ids to text, line by line");
  const auto options = std::make_shared<TokenizeOptions>();
  command->add_option("--model", options->model, "a model or tokenizer directory, or a hub id")->required();
  command->add_option("--input", options->input, "lines {\"ids\": [...]}; default: standard input")
      ->type_name("F.jsonl");
  command->add_flag("--skip-special-tokens", options->without_special, "leave special tokens out of the text");
  command->footer("Example:\n  echo '{\"ids\": [9707]}' | subspect detokenize --model DIR");
  command->callback([options, &invocation] { invocation.action = [options] { return detokenize(*options); }; });
}

void add_tokenizer(CLI::App& app, Invocation& invocation) {
  CLI::App* group = app.add_subcommand("tokenizer", "make tokenizers");
  group->require_subcommand(1);
  group->fallthrough();
  group->footer("Example:\n  subspect tokenizer train --input corpus.txt --vocab-size 4096 --output tokenizer/");
  CLI::App* command = group->add_subcommand("train", "learn a byte-level BPE tokenizer");
  const auto options = std::make_shared<TrainOptions>();
  command->add_option("--input", options->inputs, "text files, or .jsonl with the field --field")
      ->required()
      ->type_name("F");
  command->add_option("--vocab-size", options->trainer.vocab_size, "tokens at most")->required();
  command->add_option("--output", options->output, "the directory that is made")->required()->type_name("DIR");
  command->add_option("--field", options->field, "of .jsonl lines")->capture_default_str();
  command->add_option("--min-frequency", options->trainer.min_frequency, "of a pair that is merged")
      ->capture_default_str();
  command->footer("Example:\n  subspect tokenizer train --input corpus.txt --vocab-size 4096 --output tokenizer/");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] { return train_tokenizer(*options, invocation.verbose); };
  });
}

}  // namespace subspect::cli
