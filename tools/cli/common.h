// What several commands share: the device options, the console's log, lines of JSON in and out.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/hub.h"
#include "runtime/comm/communicator.h"
#include "runtime/device.h"
#include "runtime/io/files.h"
#include "runtime/log.h"
#include "runtime/progress.h"

namespace CLI {
class App;
}

namespace subspect::cli {

struct DeviceOptions {
  std::string device = "auto";
  int threads = 0;
};

void add_device_options(CLI::App& command, DeviceOptions& options);
/// @param node ranks that share this machine: each has its part of the cores, or a GPU of its own
std::shared_ptr<runtime::Stream> open_stream(const DeviceOptions& options, const runtime::comm::Node& node = {});

/// Log and progress on standard error: a bar and colours on a terminal, plain lines elsewhere.
struct Console {
  /// @param silent writes nothing
  explicit Console(bool verbose, bool silent = false);
  runtime::Log log;
  runtime::Progress progress;
};

/// Leave to download hub ids that the Hugging Face cache lacks, with progress on the console.
class ModelDownloads {
 public:
  explicit ModelDownloads(Console& console);
  ModelDownloads(const ModelDownloads&) = delete;
  ModelDownloads& operator=(const ModelDownloads&) = delete;

  operator const model::Downloads*() const { return &downloads_; }

 private:
  void show(runtime::Progress& progress, const model::DownloadProgress& now);

  std::optional<runtime::ProgressTask> task_;
  model::Downloads downloads_;
};

/// Calls `line(json, where)` for each non-empty line of a JSONL file; of standard input where `file` is empty or "-".
/// `where` is "FILE:LINE". Throws Error for a line that is not a JSON object, and when the file cannot be read.
void for_each_json_line(const std::string& file,
                        const std::function<void(const nlohmann::json&, const std::string&)>& line);

/// The member `key` of an object from a JSONL line. Throw Error naming `where` when it is not there or not of the type.
std::string text_member(const nlohmann::json& object, const std::string& key, const std::string& where);
std::vector<int32_t> ids_member(const nlohmann::json& object, const std::string& key, const std::string& where);
/// A list of token ids, each at least 0 and below 2^31.
std::vector<int32_t> ids_from_json(const nlohmann::json& list, const std::string& where);

/// Lines to a file that appears when `finish` is called, or to standard output where `file` is empty or "-".
class LineOutput {
 public:
  explicit LineOutput(const std::string& file);
  ~LineOutput();
  void write(const nlohmann::ordered_json& line);
  void finish();

 private:
  std::unique_ptr<runtime::io::AtomicFile> file_;
};

/// The directory with the tokenizer of `model`: a folder that holds tokenizer.json, else what the hub cache has.
std::string tokenizer_directory(const std::string& model);

}  // namespace subspect::cli
