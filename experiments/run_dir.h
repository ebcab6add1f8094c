// RunDir: one run's folder. Append-only and resumable; holds config.yaml, environment.json, log.txt, metrics.jsonl,
// the tables, plots and what the experiment adds (model/, state/).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/table.h"

namespace subspect::runtime::io {
class FileLock;
}

namespace subspect::experiments {

struct RunDirOptions {
  std::filesystem::path path;
  std::string kind;
  std::string config_yaml;       ///< the resolved configuration
  std::string identity;          ///< what decides that the folder is this run's; empty: config_yaml itself
  std::string device = "cpu";    ///< recorded
  int threads = 0;               ///< recorded; 0 = one per core
  int ranks = 1;                 ///< recorded: processes that work on it
  int64_t seed = -1;             ///< recorded when not negative
  bool overwrite = false;        ///< begin anew: an earlier run in the folder is removed
  bool replace_changed = false;  ///< begin anew when the folder belongs to another configuration
  bool go_on_finished = false;   ///< a finished run is gone through again (a study, whose stages know what is done)
};

class RunDir {
 public:
  enum class Status { running, finished, failed, interrupted };

  /// Creates the folder, or goes on in it when it holds the same configuration. Throws UsageError that says which keys
  /// differ when it belongs to another one, Error when another process has it open or it is not a run directory.
  static RunDir open(const RunDirOptions& options);
  /// The folder as a rank sees that another one opened: it names paths and writes nothing.
  static RunDir follow(const RunDirOptions& options);
  ~RunDir();
  RunDir(RunDir&&) noexcept;
  RunDir& operator=(RunDir&&) noexcept;

  const std::filesystem::path& path() const { return path_; }
  /// path()/relative, with its parent folders created.
  std::filesystem::path file(const std::filesystem::path& relative) const;
  std::filesystem::path state() const;  ///< path()/state, created where this rank writes: what resuming needs

  /// What `open` would find there: nothing or an earlier run of another configuration, a run of this one that is not
  /// finished, a finished one.
  enum class Found { other, unfinished, finished };
  static Found look(const RunDirOptions& options);

  /// True when an earlier process finished this run: nothing is left to do.
  bool was_finished() const { return was_finished_; }
  /// True when an earlier process began this run.
  bool resumed() const { return resumed_; }

  /// The table `name`.csv with its rows so far (results by default).
  Table table(std::vector<std::string> columns, std::string name = "results") const;

  /// Records how the run ended (status, end time and `message`) in environment.json.
  void close(Status status, std::string_view message = {});

  /// Adds `key: json_value` to environment.json, for what an experiment measured or deviated from.
  void note(std::string_view key, std::string_view json_value);

 private:
  RunDir() = default;
  void write_environment(const RunDirOptions& options);

  std::filesystem::path path_;
  std::unique_ptr<runtime::io::FileLock> lock_;
  bool was_finished_ = false;
  bool resumed_ = false;
  bool writes_ = true;
};

}  // namespace subspect::experiments
