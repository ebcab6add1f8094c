// `kind: data`: writes corpora that the program generates as JSONL files, for stages that read files.
#pragma once

#include <cstdint>
#include <string>

#include "experiments/data/synthetic.h"
#include "experiments/experiment.h"

namespace subspect::experiments {

/// One file: a corpus of experiments/data/synthetic.h.
struct DataFileConfig {
  std::string corpus;
  int64_t count = 0;
  std::string split = "train";
  double solved = 0.3;

  void visit(Fields& f);
  SyntheticSpec spec(uint64_t seed) const;
};

/// Writes NAME.jsonl for every entry of `files`, and one row per file: file,corpus,split,rows,bytes.
class MakeData final : public Experiment {
 public:
  std::string_view kind() const override { return "data"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  Named<DataFileConfig> files_;
  int64_t seed_ = 42;
};

}  // namespace subspect::experiments
