// Study: a graph of stages, each another experiment in its own folder `stages/NAME`. A finished stage never runs twice
// unless its resolved configuration or its inputs changed; what depends on a changed stage runs again.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "experiments/config/config.h"
#include "experiments/experiment.h"

namespace subspect::experiments {

/// Stages that are repeated with other seeds, and everything that reads from them.
struct SeedsConfig {
  std::vector<int64_t> values;
  std::vector<std::string> stages;  ///< that get the seed; none: every fine-tuning

  void visit(Fields& f);
};

/// One stage: any other kind of experiment, plus `needs`.
struct Stage {
  std::string kind;
  std::vector<std::string> needs;  ///< stages that must be done before, besides those whose outputs it reads
  std::string copy_of;             ///< of a copy that `seeds` made: the stage as it was written
  int64_t copy_seed = 0;           ///< and the copy's seed
  std::unique_ptr<Experiment> experiment;

  void visit(Fields& f);
};

class Study final : public Experiment {
 public:
  std::string_view kind() const override { return "study"; }
  bool uses_ranks() const override { return true; }  // its stages may
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

  bool repeats() const { return !seeds_.values.empty(); }
  /// `root`, which this study was read from, with the stages that `seeds` repeats replaced by a copy for each seed
  /// ("useful-seed43"), and without `seeds`. Throws UsageError for a stage that has no seed.
  Node with_copies(const Node& root) const;

  /// Names of the stages in the order they run: dependencies first, otherwise as written. Throws UsageError for a
  /// cycle, naming it.
  std::vector<std::string> order() const;

 private:
  /// What decides whether a stage is done: the hash of its configuration, of the contents of its inputs, and of the
  /// keys of the stages it reads from. In the order of `order()`.
  std::map<std::string, std::string> keys() const;
  std::vector<std::string> dependencies(const Stage& stage) const;
  const Stage& stage(std::string_view name) const;
  RunDirOptions stage_options(const std::string& name, const std::string& key,
                              const std::filesystem::path& directory) const;

  /// Names of the stages that `seeds` repeats: the listed ones and those that depend on them.
  std::vector<std::string> repeated() const;
  /// The tables of all copies of a stage as one with the column `seed`, in `directory`/seeds/STAGE.
  void write_seed_tables(const std::filesystem::path& directory) const;

  Named<ModelPath> models_;
  Named<Stage> stages_;
  SeedsConfig seeds_;
};

/// How paths of a study's YAML are read: names of `models:` and of stages stand for `directory/stages/NAME/...`.
ReadOptions study_read_options(const Node& root, const std::filesystem::path& directory);

/// A hash of what a path names: contents of files; names, sizes and contents or times of the files of a folder or glob.
std::string fingerprint(const Path& path);

}  // namespace subspect::experiments
