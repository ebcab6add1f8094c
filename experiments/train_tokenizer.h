// `kind: tokenizer`: trains a byte-level BPE tokenizer on the texts of datasets, for models trained from scratch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/data/dataset.h"
#include "experiments/experiment.h"

namespace subspect::experiments {

/// Writes the tokenizer to `model/` and one row: texts,bytes,tokens,vocab_size,bytes_per_token.
class TrainTokenizer final : public Experiment {
 public:
  std::string_view kind() const override { return "tokenizer"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  std::vector<DataSource> data_;
  int64_t vocab_size_ = 2000;
  int64_t min_frequency_ = 2;
  std::string numbers_ = "digits";
  std::string prompt_format_ = "alpaca";
  int64_t seed_ = 42;
};

}  // namespace subspect::experiments
