// Shared parts of the commands.
#include "tools/cli/common.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/gpu_report.h"

namespace subspect::cli {

using runtime::Error;

namespace {

bool is_terminal() {
  const char* term = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && term != nullptr && std::string_view(term) != "dumb";
}

bool is_standard(const std::string& file) {
  return file.empty() || file == "-";
}

runtime::LogOptions log_options(bool verbose, bool silent) {
  runtime::LogOptions options;
  options.console = !silent;
  options.console_level = verbose ? runtime::LogLevel::debug : runtime::LogLevel::info;
  options.terminal = is_terminal();
  return options;
}

}  // namespace

void add_device_options(CLI::App& command, DeviceOptions& options) {
  command.add_option("--device", options.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  command.add_option("--threads", options.threads, "threads on a CPU; 0 = one per core")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
}

namespace {

/// The GPU of a rank: as many as ranks, or the one that the launcher lets it see.
runtime::Device gpu_of_rank(const std::string& asked, const runtime::comm::Node& node) {
  if (asked.find(':') != std::string::npos) {
    throw runtime::UsageError(fmt::format("{} ranks cannot share the device '{}'", node.size, asked), "--device",
                              "use cuda: every rank takes a GPU of its own");
  }
  const int gpus = runtime::gpu_count();
  if (gpus > 1 && gpus < node.size) {
    throw Error(fmt::format("there are {} ranks and {} GPUs", node.size, gpus), "--device",
                "start one rank per GPU, or use --device cpu");
  }
  return {runtime::DeviceType::cuda, gpus == 1 ? 0 : node.rank};
}

}  // namespace

std::shared_ptr<runtime::Stream> open_stream(const DeviceOptions& options, const runtime::comm::Node& node) {
  runtime::Device device = runtime::Device::parse(options.device);
  if (node.size == 1) return runtime::Stream::open(device, options.threads);
  if (device.type == runtime::DeviceType::cuda) return runtime::Stream::open(gpu_of_rank(options.device, node));
  const int cores = runtime::Stream::open(device)->threads();
  return runtime::Stream::open(device, options.threads > 0 ? options.threads : std::max(1, cores / node.size));
}

Console::Console(bool verbose, bool silent)
    : log(log_options(verbose, silent)), progress(log, {.terminal = is_terminal()}) {}

ModelDownloads::ModelDownloads(Console& console)
    : downloads_{[this, &progress = console.progress](const auto& now) { show(progress, now); }} {}

void ModelDownloads::show(runtime::Progress& progress, const model::DownloadProgress& now) {
  if (now.file.empty()) {
    task_.reset();
    return;
  }
  if (!task_) task_.emplace(progress.begin("downloading " + now.repository, now.total, "bytes", now.done));
  task_->set_total(now.total);
  task_->set(now.done);
  task_->note(now.file);
}

void for_each_json_line(const std::string& file,
                        const std::function<void(const nlohmann::json&, const std::string&)>& line) {
  const bool standard = is_standard(file);
  const std::string name = standard ? "standard input" : file;
  std::ifstream opened;
  if (!standard) {
    opened.open(file, std::ios::binary);
    if (!opened || std::filesystem::is_directory(file)) throw Error("cannot read the input", file, "check the path");
  }
  std::istream& input = standard ? std::cin : opened;
  int64_t number = 0;
  for (std::string text; std::getline(input, text);) {
    const std::string where = fmt::format("{}:{}", name, ++number);
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) throw Error("the line is not a JSON object", where, "write one {...} per line");
    line(json, where);
  }
}

std::string text_member(const nlohmann::json& object, const std::string& key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    throw Error(fmt::format("the line has no text '{}'", key), where, fmt::format("write {{\"{}\": \"...\"}}", key));
  }
  return found->get<std::string>();
}

std::vector<int32_t> ids_from_json(const nlohmann::json& list, const std::string& where) {
  if (!list.is_array()) throw Error("token ids are not a list", where, "write [1, 2, 3]");
  std::vector<int32_t> ids;
  for (const auto& value : list) {
    const bool valid = value.is_number_integer() && value >= 0 && value <= std::numeric_limits<int32_t>::max();
    if (!valid) throw Error(fmt::format("{} is not a token id", value.dump()), where, "ids are whole numbers from 0");
    ids.push_back(value.get<int32_t>());
  }
  return ids;
}

std::vector<int32_t> ids_member(const nlohmann::json& object, const std::string& key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) {
    throw Error(fmt::format("the line has no '{}'", key), where, fmt::format("write {{\"{}\": [1, 2, 3]}}", key));
  }
  return ids_from_json(*found, where);
}

LineOutput::LineOutput(const std::string& file) {
  if (!is_standard(file)) file_ = std::make_unique<runtime::io::AtomicFile>(file);
}

LineOutput::~LineOutput() = default;

void LineOutput::write(const nlohmann::ordered_json& line) {
  const std::string text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  if (file_) {
    file_->write(text);
  } else {
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
}

void LineOutput::finish() {
  if (file_) file_->commit();
}

std::string tokenizer_directory(const std::string& model) {
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::path(model) / "tokenizer.json", ignored)) return model;
  return model::find_model(model).string();
}

}  // namespace subspect::cli
