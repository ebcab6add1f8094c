// Progress of long work: a bar with rate and time left on a terminal, a plain line at intervals in a log.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace subspect::runtime {

class Log;

/// One piece of work that is under way. Made by Progress::begin; ends when destroyed. Thread-safe.
class ProgressTask {
 public:
  ~ProgressTask();
  ProgressTask(ProgressTask&&) noexcept;
  ProgressTask(const ProgressTask&) = delete;

  void advance(int64_t count = 1);
  void set(int64_t done);
  void set_total(int64_t total);
  /// Text shown at the end of the line: "loss 2.31".
  void note(std::string text);

 private:
  friend class Progress;
  struct State;
  explicit ProgressTask(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct ProgressOptions {
  bool terminal = false;                        ///< draw a bar in place
  std::chrono::milliseconds bar_interval{100};  ///< between two drawings of the bar
  std::chrono::seconds line_interval{15};       ///< between two plain lines
};

class Progress {
 public:
  using Options = ProgressOptions;
  /// Lines go through `log`, which must outlive this object.
  explicit Progress(Log& log, Options options = {});

  /// @param total number of units; 0 when it is not known.
  /// @param unit what is counted: "tokens", "tensors", "prompts".
  /// @param done units that an earlier run finished; not counted in the rate.
  ProgressTask begin(std::string label, int64_t total, std::string unit, int64_t done = 0);

 private:
  Log& log_;
  Options options_;
};

/// "42 s", "3:07 min", "2:15 h".
std::string format_duration(double seconds);
/// "950", "12.3 k", "1.24 M", "7.62 G".
std::string format_count(double count);

}  // namespace subspect::runtime
