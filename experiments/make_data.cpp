#include "experiments/make_data.h"

#include <filesystem>

#include "runtime/error.h"

namespace subspect::experiments {

void DataFileConfig::visit(Fields& f) {
  std::vector<std::string> names;
  for (const SyntheticCorpus& known : synthetic_corpora()) names.push_back(known.name);
  f.field("corpus", corpus, "what is generated; docs/experiments.md describes the corpora",
          Rule().required().one_of(names));
  f.field("count", count, "rows", Rule().required().at_least(1));
  f.field("split", split, "which part of the made-up world: held_out is never trained on",
          Rule().one_of({"train", "held_out", "all"}));
  if (f.when(corpus == "facts", "corpus is facts")) {
    f.field("solved", solved, "share of the word problems that come with their solution",
            Rule().at_least(0).at_most(1));
  }
}

SyntheticSpec DataFileConfig::spec(uint64_t seed) const {
  SyntheticSpec result;
  result.corpus = corpus;
  result.count = count;
  result.seed = seed;
  result.split = split;
  result.solved = solved;
  return result;
}

void MakeData::visit(Fields& f) {
  f.field("files", files_, "name -> corpus; written as NAME.jsonl in the run directory", Rule().required().not_empty());
  f.field("seed", seed_, "of everything that is drawn", Rule().at_least(0));
}

Plan MakeData::plan(const PlanContext& /*context*/) const {
  Plan plan;
  for (const auto& [name, file] : files_) {
    plan.steps.push_back(fmt::format("write {}.jsonl: {} rows of {}", name, file.count, file.corpus));
  }
  return plan;
}

void MakeData::run(RunContext& context) {
  Table table = context.dir.table({"file", "corpus", "split", "rows", "bytes"});
  for (const auto& [name, file] : files_) {
    const std::filesystem::path path = context.dir.path() / (name + ".jsonl");
    if (table.contains({{"file", path.filename().string()}})) continue;
    context.stop_if_interrupted();
    write_synthetic(file.spec(static_cast<uint64_t>(seed_)), path);
    table.append({{"file", path.filename().string()},
                  {"corpus", file.corpus},
                  {"split", file.split},
                  {"rows", file.count},
                  {"bytes", static_cast<int64_t>(std::filesystem::file_size(path))}});
  }
  table.write();
}

}  // namespace subspect::experiments
