// Progress lines: how much is done, at what rate, and how long the rest takes.
#include "runtime/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include "runtime/log.h"

namespace subspect::runtime {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t bar_cells = 24;

size_t terminal_columns() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20;
  return known ? size.ws_col : 80;
}

std::string bar(double fraction) {
  const auto cells = static_cast<int64_t>(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(bar_cells));
  std::string text;
  for (int64_t cell = 0; cell < bar_cells; ++cell) text += cell < cells ? "█" : "░";
  return text;
}

/// Cuts UTF-8 text after `columns` characters.
std::string cut(const std::string& text, size_t columns) {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const bool begins_character = (static_cast<unsigned char>(text[at]) & 0xC0U) != 0x80U;
    if (begins_character && ++count > columns) return text.substr(0, at);
  }
  return text;
}

}  // namespace

std::string format_duration(double seconds) {
  const int64_t whole = std::llround(seconds);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02d} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02d} h", whole / 3600, whole / 60 % 60);
}

std::string format_count(double count) {
  if (count >= 1e9) return fmt::format("{:.2f} G", count / 1e9);
  if (count >= 1e6) return fmt::format("{:.2f} M", count / 1e6);
  if (count >= 1e4) return fmt::format("{:.1f} k", count / 1e3);
  return count < 100 && count != static_cast<double>(static_cast<int64_t>(count)) ? fmt::format("{:.2g}", count)
                                                                                  : fmt::format("{:.0f}", count);
}

struct ProgressTask::State {
  Log& log;
  ProgressOptions options;
  std::string label, unit;
  int64_t total, done, first;
  Clock::time_point begin = Clock::now();
  Clock::time_point shown = Clock::now();
  std::string note = {};
  bool line_shown = false;
  std::mutex mutex = {};

  /// "training  31 %  12.3 k of 40.0 k tokens, 2.1 k/s, 0:12 min left, loss 2.31"
  std::string line(bool finished) const {
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const double rate = seconds > 0 ? static_cast<double>(done - first) / seconds : 0;
    std::string text = label + "  ";
    const double fraction = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
    if (options.terminal && total > 0 && !finished) text += bar(fraction) + " ";
    if (total > 0) text += fmt::format("{:3.0f} %  ", 100 * fraction);
    text += format_count(static_cast<double>(done));
    if (total > 0) text += " of " + format_count(static_cast<double>(total));
    text += " " + unit;
    if (rate > 0) text += fmt::format(", {}/s", format_count(rate));
    if (finished) {
      text += ", in " + format_duration(seconds);
    } else if (rate > 0 && total > done) {
      text += ", " + format_duration(static_cast<double>(total - done) / rate) + " left";
    }
    if (!note.empty()) text += ", " + note;
    return text;
  }

  void show() {
    const auto now = Clock::now();
    if (options.terminal) {
      if (now - shown < options.bar_interval) return;
      log.status_line(cut(line(false), terminal_columns() - 1));
    } else {
      if (now - shown < options.line_interval) return;
      log.info("{}", line(false));
      line_shown = true;
    }
    shown = now;
  }

  void finish() {
    if (options.terminal) log.status_line("");
    const bool worth_a_line = options.terminal || line_shown || Clock::now() - begin > std::chrono::seconds(2);
    if (worth_a_line) log.info("{}", line(true));
  }
};

ProgressTask::ProgressTask(std::unique_ptr<State> state) : state_(std::move(state)) {}
ProgressTask::ProgressTask(ProgressTask&&) noexcept = default;

ProgressTask::~ProgressTask() {
  if (state_) state_->finish();
}

void ProgressTask::advance(int64_t count) {
  const std::lock_guard lock(state_->mutex);
  state_->done += count;
  state_->show();
}

void ProgressTask::set(int64_t done) {
  const std::lock_guard lock(state_->mutex);
  state_->done = done;
  state_->show();
}

void ProgressTask::set_total(int64_t total) {
  const std::lock_guard lock(state_->mutex);
  state_->total = total;
}

void ProgressTask::note(std::string text) {
  const std::lock_guard lock(state_->mutex);
  state_->note = std::move(text);
}

Progress::Progress(Log& log, Options options) : log_(log), options_(options) {}

ProgressTask Progress::begin(std::string label, int64_t total, std::string unit, int64_t done) {
  return ProgressTask(std::unique_ptr<ProgressTask::State>(
      new ProgressTask::State{log_, options_, std::move(label), std::move(unit), total, done, done}));
}

}  // namespace subspect::runtime
