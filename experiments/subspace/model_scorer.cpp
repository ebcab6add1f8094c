// Evaluation of models in memory.
#include "experiments/subspace/model_scorer.h"

#include <utility>

#include "model/tokenizer/tokenizer.h"

namespace subspect::experiments::subspace {

namespace fs = std::filesystem;

struct ModelScorer::Loaded {
  fs::path directory;
  model::Decoder decoder;
  model::Tokenizer tokenizer;
};

ModelScorer::ModelScorer(RunContext& context, const std::vector<TaskConfig>& tasks, fs::path tokenizers,
                         const IntervalConfig& intervals)
    : context_(context),
      evaluator_(tasks, context.dir.state() / "judgements"),
      outcomes_(context.dir),
      intervals_(intervals),
      tokenizers_(std::move(tokenizers)) {}

ModelScorer::~ModelScorer() = default;

std::vector<std::string> ModelScorer::columns() const {
  std::vector<std::string> columns = evaluator_.columns();
  for (const std::string& column : evaluator_.interval_columns()) {
    columns.insert(columns.end(), {column + "_low", column + "_high"});
  }
  return columns;
}

NamedCells ModelScorer::score(const std::string& name, const fs::path& directory, const model::NamedTensors& weights) {
  if (!loaded_ || loaded_->directory != directory) {
    loaded_.reset();
    const model::DecoderConfig config = model::read_decoder_config(directory / "config.json");
    const bool own_tokenizer = fs::exists(directory / "tokenizer.json");
    loaded_ = std::make_unique<Loaded>(
        Loaded{directory, model::Decoder(context_.stream, config, model::compute_dtype(config.dtype)),
               model::Tokenizer::load(own_tokenizer ? directory : tokenizers_)});
  }
  model::load_weights(context_.stream, loaded_->decoder, weights, name);
  return score({.name = name, .decoder = loaded_->decoder, .tokenizer = loaded_->tokenizer, .directory = directory});
}

NamedCells ModelScorer::score(const Subject& subject) {
  return record(subject.name,
                evaluator_.evaluate(context_, subject, context_.dir.file("samples/" + subject.name + ".jsonl")));
}

NamedCells ModelScorer::record(const std::string& name, const std::vector<Score>& scores) {
  outcomes_.add(name, scores);
  NamedCells cells;
  for (const Score& score : scores) {
    if (score.column.empty()) continue;
    cells.emplace_back(score.column, score.value);
    if (score.outcomes.values.empty()) continue;
    const statistics::Interval interval = intervals_.of(score).interval;
    cells.emplace_back(score.column + "_low", interval.low);
    cells.emplace_back(score.column + "_high", interval.high);
  }
  return cells;
}

}  // namespace subspect::experiments::subspace
