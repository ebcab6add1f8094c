// Launching: a YAML becomes an experiment in its run directory, planned or run, with the record of how it ended.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "experiments/experiment.h"

namespace subspect::experiments {

/// A configuration that was read.
struct Job {
  std::string kind;
  std::unique_ptr<Experiment> experiment;
  RunDirOptions options;  ///< path, kind, resolved YAML, identity, seed
};

/// Reads a YAML with its overrides. @param out the run directory; empty: runs/<name of the YAML> under the current
/// directory. Throws UsageError for every mistake in the configuration.
Job read_job(const std::filesystem::path& yaml, const std::vector<std::string>& overrides,
             const std::filesystem::path& out);

/// The resolved configuration of an experiment. @param identity without what does not change the results.
std::string resolved_yaml(Experiment& experiment, bool identity = false);

/// A documented YAML of `kind` with every key, type and default.
std::string documented_yaml(std::string_view kind);
/// docs/configuration.md: all kinds documented.
std::string configuration_page();

/// Speed of matrix products on the stream's device in floating-point operations per second, measured in some
/// milliseconds: float32 on a CPU, bfloat16 on a GPU.
double measure_flops_per_second(runtime::Stream& stream);

/// The plan as text: what is done, and what it takes.
std::string describe_plan(const Plan& plan, const PlanContext& context);

struct Workplace {
  runtime::Stream& stream;
  runtime::Log& log;
  runtime::Progress& progress;
  runtime::comm::Communicator* ranks = nullptr;  ///< all of which call `run_in_directory`; nullptr: this process alone
  const model::Downloads* downloads = nullptr;   ///< leave to download models
};

/// Opens the run directory and runs, or goes on; returns false when an earlier process had finished. The directory
/// records how it ended (finished, failed, interrupted) before an exception goes on. Of several ranks, rank 0 does
/// this; the others take part in the experiment where it uses them, else they wait.
bool run_in_directory(Experiment& experiment, const RunDirOptions& options, const Workplace& workplace);

}  // namespace subspect::experiments
