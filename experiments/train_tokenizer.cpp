#include "experiments/train_tokenizer.h"

#include <filesystem>

#include "experiments/data/mixture.h"
#include "model/prompts.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/trainer.h"

namespace subspect::experiments {

namespace {

/// Qwen2's expression, whose numbers are single digits, or Llama 3's, whose numbers have up to three.
std::string split_regex(const std::string& numbers) {
  std::string regex(model::qwen2_split_regex);
  const std::string digit = R"(|\p{N}|)";
  if (numbers == "triples") regex.replace(regex.find(digit), digit.size(), R"(|\p{N}{1,3}|)");
  return regex;
}

}  // namespace

void TrainTokenizer::visit(Fields& f) {
  f.field("data", data_, "texts it is trained on", Rule().required().not_empty());
  f.field("prompt_format", prompt_format_, "how prompts and responses are joined into texts",
          Rule().one_of(model::prompt_format_names(false)));
  f.field("vocab_size", vocab_size_, "tokens at most", Rule().at_least(257));
  f.field("min_frequency", min_frequency_, "a pair that occurs less often is not merged", Rule().at_least(1));
  f.field("numbers", numbers_, "digits: one token per digit (Qwen2); triples: up to three digits together (Llama 3)",
          Rule().one_of({"digits", "triples"}));
  f.field("seed", seed_, "of everything that is drawn", Rule().at_least(0));
}

Plan TrainTokenizer::plan(const PlanContext& context) const {
  for (const DataSource& source : data_) {
    if (!source.path.empty()) context.require_file(source.path, "path");
  }
  Plan plan;
  plan.steps.push_back(fmt::format("train a tokenizer of {} tokens", vocab_size_));
  return plan;
}

void TrainTokenizer::run(RunContext& context) {
  const Dataset dataset = read_mixture(data_, {.seed = static_cast<uint64_t>(seed_)});
  const auto format = model::make_prompt_format(prompt_format_);
  std::vector<std::string> texts;
  int64_t bytes = 0;
  for (const Example& example : dataset.examples) {
    texts.push_back(example.prompt.empty() ? example.response
                                           : format->render({example.prompt, example.response, std::nullopt}).text);
    bytes += static_cast<int64_t>(texts.back().size());
  }
  context.stop_if_interrupted();
  model::BpeTrainerOptions options;
  options.vocab_size = vocab_size_;
  options.min_frequency = min_frequency_;
  options.split_regex = split_regex(numbers_);
  const model::TrainedTokenizer trained = model::train_bpe(texts, options);
  const std::filesystem::path directory = context.dir.path() / "model";
  model::save_tokenizer(trained, directory);

  const model::Tokenizer tokenizer = model::Tokenizer::load(directory);
  int64_t tokens = 0;
  for (const std::string& text : texts) tokens += static_cast<int64_t>(tokenizer.encode(text).ids.size());
  Table table = context.dir.table({"texts", "bytes", "tokens", "vocab_size", "bytes_per_token"});
  if (table.size() == 0) {
    table.append(Row{static_cast<int64_t>(texts.size()), bytes, tokens, trained.vocab_size,
                     static_cast<double>(bytes) / static_cast<double>(tokens)});
  }
  table.write();
  context.log.info("tokenizer: {} tokens, {:.2f} bytes per token", trained.vocab_size,
                   static_cast<double>(bytes) / static_cast<double>(tokens));
}

}  // namespace subspect::experiments
