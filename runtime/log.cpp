// Messages: standard error directly (with a status line on a terminal), log.txt through spdlog.
#include "runtime/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <mutex>

#include "runtime/error.h"

namespace subspect::runtime {

namespace {

constexpr std::string_view erase_line = "\r\x1b[2K";

struct Style {
  std::string_view label, colour;
};

Style style(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return {"debug: ", "\x1b[2m"};
    case LogLevel::info:
      return {"", ""};
    case LogLevel::warning:
      return {"warning: ", "\x1b[33m"};
    case LogLevel::error:
      return {"error: ", "\x1b[31m"};
  }
  return {"", ""};
}

spdlog::level::level_enum file_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

/// Standard error in one write, so that lines of several threads and programs do not mix.
void write_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;  // nobody reads our messages: nothing to tell it to
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

struct Log::State {
  LogOptions options;
  std::mutex mutex;
  std::string status;
  std::vector<std::shared_ptr<spdlog::logger>> files;
};

Log::Log(LogOptions options) : state_(std::make_unique<State>()) {
  state_->options = options;
}

Log::~Log() {
  status_line("");
}

Log& Log::silent() {
  static Log log(LogOptions{.console = false, .console_level = LogLevel::error, .terminal = false});
  return log;
}

void Log::add_file(const std::filesystem::path& file) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string(), false);
    auto logger = std::make_shared<spdlog::logger>(file.string(), std::move(sink));
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
    logger->set_level(spdlog::level::debug);
    logger->flush_on(spdlog::level::debug);
    logger->set_error_handler([](const std::string&) {});  // a full disk is reported by the files that matter
    const std::lock_guard lock(state_->mutex);
    state_->files.push_back(std::move(logger));
  } catch (const spdlog::spdlog_ex& error) {
    throw Error(fmt::format("cannot write the log: {}", error.what()), file.string(), "check the folder's permissions");
  }
}

void Log::remove_file() {
  const std::lock_guard lock(state_->mutex);
  if (!state_->files.empty()) state_->files.pop_back();
}

void Log::write(LogLevel level, std::string_view message) {
  const std::lock_guard lock(state_->mutex);
  for (const auto& file : state_->files) file->log(file_level(level), "{}", message);
  if (!state_->options.console || level < state_->options.console_level) return;
  const Style look = style(level);
  const bool colour = state_->options.terminal && !look.colour.empty();
  std::string line;
  if (!state_->status.empty()) line += erase_line;
  if (colour) line += look.colour;
  line.append(look.label).append(message);
  if (colour) line += "\x1b[0m";
  line += "\n" + state_->status;
  write_stderr(line);
}

void Log::status_line(std::string_view line) {
  if (!state_->options.console || !state_->options.terminal) return;
  const std::lock_guard lock(state_->mutex);
  if (line == state_->status) return;
  state_->status = line;
  write_stderr(std::string(erase_line) + state_->status);
}

}  // namespace subspect::runtime
