// Log: messages to standard error and to a run's log.txt. Passed explicitly; there is no global logger.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace subspect::runtime {

enum class LogLevel { debug, info, warning, error };

struct LogOptions {
  bool console = true;  ///< write to standard error
  LogLevel console_level = LogLevel::info;
  bool terminal = false;  ///< standard error is a terminal: colours and a status line
};

/// Thread-safe.
class Log {
 public:
  explicit Log(LogOptions options = {});
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// A log that writes nowhere, for tests and library use.
  static Log& silent();

  /// Also appends every message (debug included) to `file` with the time.
  void add_file(const std::filesystem::path& file);
  /// Stops writing to the file added last.
  void remove_file();

  template <class... Args>
  void debug(fmt::format_string<Args...> message, Args&&... args) {
    write(LogLevel::debug, fmt::format(message, std::forward<Args>(args)...));
  }
  template <class... Args>
  void info(fmt::format_string<Args...> message, Args&&... args) {
    write(LogLevel::info, fmt::format(message, std::forward<Args>(args)...));
  }
  template <class... Args>
  void warn(fmt::format_string<Args...> message, Args&&... args) {
    write(LogLevel::warning, fmt::format(message, std::forward<Args>(args)...));
  }
  template <class... Args>
  void error(fmt::format_string<Args...> message, Args&&... args) {
    write(LogLevel::error, fmt::format(message, std::forward<Args>(args)...));
  }
  void write(LogLevel level, std::string_view message);

  /// Draws `line` below the messages, in place; empty removes it. Does nothing where there is no terminal.
  void status_line(std::string_view line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace subspect::runtime
