// Experiment: a kind of run. Its config is visited once for reading, writing and documentation; it plans without
// computing, and runs with everything it needs in a RunContext. An experiment is two files and one line in
// registry.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "experiments/config/fields.h"
#include "experiments/run_dir.h"
#include "experiments/table.h"
#include "model/config.h"
#include "model/hub.h"
#include "runtime/comm/communicator.h"
#include "runtime/device.h"
#include "runtime/io/metrics.h"
#include "runtime/log.h"
#include "runtime/progress.h"

namespace subspect::experiments {

/// What a run would do and cost. Zero means "none or not known".
struct Plan {
  int64_t parameters = 0;    ///< of the model that is trained or of the largest model that is read
  int64_t device_bytes = 0;  ///< peak memory on the device
  std::vector<std::pair<std::string, int64_t>> device_uses;  ///< what it consists of, where that is known
  int64_t host_bytes = 0;                                    ///< peak memory besides (the same memory on a CPU)
  int64_t disk_bytes = 0;                                    ///< written under the run directory
  double flops = 0;                                          ///< floating-point operations in all
  double recomputed = 0;  ///< share of the model's blocks that the backward pass runs again
  double seconds = 0;     ///< estimated; 0: made from flops and the device's speed
  std::vector<std::pair<std::string, std::string>> facts;  ///< further lines: "training tokens" -> "1.3 M"
  std::vector<std::string> steps;                          ///< what is done, in order, one line each
  std::vector<std::string> warnings;
  /// A model directory or config.json that describes the model this run writes; for plans of stages that need it.
  std::string model_config;
};

/// What a plan may take for granted before models and data are downloaded.
struct PlanAssumptions {
  std::filesystem::path model_configs;  ///< folder with OWNER--NAME.json, the config.json of the hub id OWNER/NAME
  std::set<std::string> missing;        ///< what was not there: models, tokenizers, files
};

struct PlanContext {
  runtime::Device device;     ///< need not be there where its memory is given
  int64_t device_memory = 0;  ///< bytes of it in all; 0: not known
  int ranks = 1;              ///< that run together, each on a device of its own
  int threads = 0;
  double flops_per_second = 0;  ///< of the device on matrix products, estimated
  runtime::Log* log = nullptr;  ///< never null
  /// For a path that a stage of the study has yet to make: the stage's Plan::model_config (or "" when it makes none).
  std::function<std::string(const Path&)> planned_model;
  const model::Downloads* downloads = nullptr;  ///< leave to download the models that are planned with
  PlanAssumptions* assumed = nullptr;           ///< null: what is missing is an error

  /// The directory or config.json that describes `model` now: the path itself, or what its stage will make. Empty when
  /// that is not known before the stage ran: then nothing about the model can be checked.
  std::string describing(const Path& model) const;
  /// The config.json of the model that `described` names (not empty): itself, its directory's, or the assumed one.
  std::filesystem::path config_json(const std::string& described) const;
  /// Whether the weights of the model that `described` names (not empty) can be read now.
  bool has_weights(const std::string& described) const;
  /// The directory of the tokenizer at `path`; empty while a stage has yet to make it, or where it is assumed.
  std::filesystem::path tokenizer_directory(const Path& path) const;
  /// The configuration of that model, where it is known now.
  std::optional<model::DecoderConfig> decoder_config(const Path& model) const;
  /// Whether an input (a file, a folder or a glob) is there. Throws UsageError when it is neither there nor the output
  /// of a stage nor assumed.
  bool require_file(const Path& path, std::string_view key) const;
};

/// What a running experiment is given.
struct RunContext {
  RunDir& dir;
  runtime::Stream& stream;
  runtime::Log& log;
  runtime::Progress& progress;
  runtime::io::MetricsWriter& metrics;
  runtime::comm::Communicator* ranks = nullptr;  ///< that run this experiment together; nullptr: this process alone
  const model::Downloads* downloads = nullptr;   ///< leave to download models; none: what is there only

  /// Whether this is the rank that writes files, rows and messages.
  bool leads() const { return ranks == nullptr || ranks->is_first(); }
  /// What the leading rank says; all ranks call it.
  bool agree(bool value) const { return ranks == nullptr ? value : ranks->agree(value ? 1 : 0) != 0; }

  /// True once the user asked to stop: save what resuming needs, then `stop`. All ranks call it and get one answer.
  bool interrupted() const;
  /// Throws runtime::Interrupted.
  [[noreturn]] void stop() const;
  /// Throws it when the user asked to stop. For safe points where nothing needs saving.
  void stop_if_interrupted() const;
};

class Experiment {
 public:
  virtual ~Experiment() = default;

  virtual std::string_view kind() const = 0;
  /// Whether all ranks call `run` together. Else rank 0 runs alone and the others wait for it.
  virtual bool uses_ranks() const { return false; }
  /// Every field of the config, once.
  virtual void visit(Fields& f) = 0;
  /// Validates what can be validated without computing (files, shapes, names; UsageError or Error) and says what a run
  /// would do.
  virtual Plan plan(const PlanContext& context) const = 0;
  /// Runs, or goes on where an earlier process stopped (rows already in the tables, state/). Same results either way.
  virtual void run(RunContext& context) = 0;
};

}  // namespace subspect::experiments
