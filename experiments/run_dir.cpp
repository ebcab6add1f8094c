// Run directories: whose they are, what they record, and that one process at a time writes them.
#include "experiments/run_dir.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "experiments/build_info.h"
#include "experiments/config/document.h"
#include "runtime/error.h"
#include "runtime/gpu_report.h"
#include "runtime/io/files.h"
#include "runtime/io/hash.h"

namespace subspect::experiments {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using runtime::Error;
using runtime::UsageError;

namespace {

constexpr const char* environment = "environment.json";
constexpr const char* resolved = "config.yaml";
constexpr const char* lock = ".lock";
constexpr const char* program = "subspect";
constexpr size_t shown_differences = 3;

std::string now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::now()));
}

std::string_view word(RunDir::Status status) {
  switch (status) {
    case RunDir::Status::running:
      return "running";
    case RunDir::Status::finished:
      return "finished";
    case RunDir::Status::failed:
      return "failed";
    case RunDir::Status::interrupted:
      return "interrupted";
  }
  return "unknown";
}

Json read_environment(const fs::path& directory) {
  const fs::path file = directory / environment;
  if (!fs::exists(file)) return Json::object();
  Json json = Json::parse(runtime::io::read_file(file), nullptr, false);
  if (!json.is_object()) throw Error("this is not JSON", file.string(), "remove the folder, or run with --overwrite");
  return json;
}

void write_environment_json(const fs::path& directory, const Json& json) {
  runtime::io::write_file_atomically(directory / environment,
                                     json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

/// True also when a run was killed before it had written its first file.
bool holds_nothing_yet(const fs::path& directory) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().filename() != lock && !runtime::io::is_temporary(entry.path())) return false;
  }
  return true;
}

/// Removes a run. While that goes on, environment.json has no identity, so that the next process goes on with it.
void empty_folder(const fs::path& directory) {
  write_environment_json(directory, {{"program", program}});
  for (const auto& entry : fs::directory_iterator(directory)) {
    const fs::path name = entry.path().filename();
    if (name != lock && name != environment) fs::remove_all(entry.path());
  }
  fs::remove(directory / environment);
}

void flatten(const Node& node, const std::string& name, std::map<std::string, std::string>& values) {
  if (node.children.empty()) values[name] = node.kind == Node::Kind::scalar ? node.text : "";
  for (size_t index = 0; index < node.children.size(); ++index) {
    const Node& child = node.children[index];
    const std::string part = node.kind == Node::Kind::mapping ? child.key : std::to_string(index);
    flatten(child, name.empty() ? part : name + "." + part, values);
  }
}

/// "seed: 1 there, 2 here; epochs: 3 there, none here".
std::string differences(const std::string& there_yaml, const std::string& here_yaml) {
  std::map<std::string, std::string> there, here;
  flatten(parse_document(there_yaml), "", there);
  flatten(parse_document(here_yaml), "", here);
  std::map<std::string, std::string> keys = there;
  keys.insert(here.begin(), here.end());
  std::vector<std::string> lines;
  for (const auto& entry : keys) {
    const auto value = [&](const auto& values) {
      const auto found = values.find(entry.first);
      return found == values.end() ? std::string("none") : found->second;
    };
    if (value(there) != value(here)) {
      lines.push_back(fmt::format("{}: {} there, {} here", entry.first, value(there), value(here)));
    }
  }
  if (lines.empty()) return "its inputs changed";
  std::string text = lines.front();
  for (size_t index = 1; index < std::min(lines.size(), shown_differences); ++index) text += "; " + lines[index];
  if (lines.size() > shown_differences) text += fmt::format("; and {} more", lines.size() - shown_differences);
  return text;
}

std::string identity_of(const RunDirOptions& options) {
  return runtime::io::sha256(options.identity.empty() ? options.config_yaml : options.identity);
}

/// Empties the folder or refuses it when it is another run's.
void settle_owner(const RunDirOptions& options) {
  const fs::path& path = options.path;
  if (holds_nothing_yet(path)) return;
  const Json earlier = read_environment(path);
  if (earlier.value("program", "") != program) {
    throw UsageError("the folder holds other files and is no run directory", path.string(),
                     "choose another with --out, or empty it");
  }
  const std::string identity = earlier.value("identity", "");
  const bool same = identity == identity_of(options);
  if (options.overwrite || identity.empty() || (!same && options.replace_changed)) {
    empty_folder(path);
    return;
  }
  if (same) return;
  const std::string there = fs::exists(path / resolved) ? runtime::io::read_file(path / resolved) : "";
  throw UsageError("the folder belongs to another configuration: " + differences(there, options.config_yaml),
                   path.string(), "choose another with --out, or empty it with --overwrite");
}

}  // namespace

RunDir RunDir::open(const RunDirOptions& options) {
  std::error_code failed;
  fs::create_directories(options.path, failed);
  if (!fs::is_directory(options.path)) {
    throw UsageError("cannot make the run directory", options.path.string(),
                     failed ? failed.message() : "a file is in the way; choose another with --out");
  }
  RunDir dir;
  dir.path_ = fs::absolute(options.path).lexically_normal();
  dir.lock_ = std::make_unique<runtime::io::FileLock>(dir.path_);
  settle_owner(options);
  const Json earlier = read_environment(dir.path_);
  dir.was_finished_ = earlier.value("status", "") == word(Status::finished);
  dir.resumed_ = !earlier.empty();
  if (dir.was_finished_ && !options.go_on_finished) return dir;
  runtime::io::remove_abandoned(dir.path_);
  dir.write_environment(options);
  runtime::io::write_file_atomically(dir.path_ / resolved, options.config_yaml);
  return dir;
}

RunDir RunDir::follow(const RunDirOptions& options) {
  RunDir dir;
  dir.path_ = fs::absolute(options.path).lexically_normal();
  dir.writes_ = false;
  return dir;
}

RunDir::Found RunDir::look(const RunDirOptions& options) {
  const Json earlier = read_environment(options.path);
  if (earlier.value("identity", "") != identity_of(options)) return Found::other;
  return earlier.value("status", "") == word(Status::finished) ? Found::finished : Found::unfinished;
}

RunDir::~RunDir() = default;
RunDir::RunDir(RunDir&&) noexcept = default;
RunDir& RunDir::operator=(RunDir&&) noexcept = default;

void RunDir::write_environment(const RunDirOptions& options) {
  Json json = read_environment(path_);
  char host[256] = "";
  ::gethostname(host, sizeof(host) - 1);
  json["program"] = program;
  json["version"] = version();
  json["git_hash"] = git_hash();
  json["kind"] = options.kind;
  json["identity"] = identity_of(options);
  json["device"] = options.device;
  json.erase("gpu");
  for (const auto& [name, value] : runtime::describe(runtime::Device::parse(options.device))) json["gpu"][name] = value;
  json["threads"] = options.threads;
  json["ranks"] = options.ranks;
  if (options.seed >= 0) json["seed"] = options.seed;
  json["host"] = host;
  json["processor"] = processor();
  json["compiler"] = compiler();
  for (const auto& library : libraries()) json["libraries"][library.first] = library.second;
  if (!json.contains("started")) {
    json["started"] = now();
  } else {
    json["resumed"].push_back(now());
  }
  json["ended"] = nullptr;
  json["status"] = word(Status::running);
  json.erase("message");
  write_environment_json(path_, json);
}

fs::path RunDir::file(const fs::path& relative) const {
  fs::path result = path_ / relative;
  fs::create_directories(result.parent_path());
  return result;
}

fs::path RunDir::state() const {
  if (writes_) fs::create_directories(path_ / "state");
  return path_ / "state";
}

Table RunDir::table(std::vector<std::string> columns, std::string name) const {
  return Table(path_, std::move(name), std::move(columns));
}

void RunDir::close(Status status, std::string_view message) {
  Json json = read_environment(path_);
  json["ended"] = now();
  json["status"] = word(status);
  if (!message.empty()) json["message"] = message;
  write_environment_json(path_, json);
}

void RunDir::note(std::string_view key, std::string_view json_value) {
  if (!writes_) return;
  Json json = read_environment(path_);
  Json value = Json::parse(json_value, nullptr, false);
  runtime::require(!value.is_discarded(), "RunDir", "a note is JSON. Received {}.", json_value);
  json[std::string(key)] = std::move(value);
  write_environment_json(path_, json);
}

}  // namespace subspect::experiments
