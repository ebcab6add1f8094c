// Log and progress: what reaches log.txt, and how counts and durations are written.
#include "runtime/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/interrupt.h"
#include "runtime/io/files.h"
#include "runtime/log.h"

namespace subspect::runtime {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

LogOptions quiet() {
  LogOptions options;
  options.console = false;
  return options;
}

std::filesystem::path log_file(const std::string& name) {
  const auto file = std::filesystem::temp_directory_path() / ("subspect-" + std::to_string(::getpid()) + "-" + name);
  std::filesystem::remove(file);
  return file;
}

TEST(Log, FilesGetEveryLevelUntilRemoved) {
  const auto file = log_file("levels.txt");
  Log log(quiet());
  log.add_file(file);
  log.debug("detail {}", 1);
  log.warn("careful");
  log.remove_file();
  log.info("not for the file");
  const std::string text = io::read_file(file);
  EXPECT_THAT(text, HasSubstr("debug detail 1\n"));
  EXPECT_THAT(text, HasSubstr("warning careful\n"));
  EXPECT_THAT(text, Not(HasSubstr("not for the file")));
}

TEST(Log, AFileThatCannotBeMadeIsAnError) {
  Log log(quiet());
  EXPECT_THROW(log.add_file("/proc/none/log.txt"), Error);
}

TEST(Progress, ALogGetsPlainLinesWithWhatIsDone) {
  const auto file = log_file("progress.txt");
  Log log(quiet());
  log.add_file(file);
  ProgressOptions options;
  options.line_interval = std::chrono::seconds(0);
  Progress progress(log, options);
  {
    auto task = progress.begin("training", 40, "steps", 10);
    task.note("loss 2.31");
    task.advance(10);
  }
  const std::string text = io::read_file(file);
  EXPECT_THAT(text, HasSubstr("training   50 %  20 of 40 steps, "));
  EXPECT_THAT(text, HasSubstr("left, loss 2.31"));
  EXPECT_THAT(text, HasSubstr(", in 0 s, loss 2.31"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(Progress, DurationsAndCountsAreShort) {
  EXPECT_EQ(format_duration(0.4), "0 s");
  EXPECT_EQ(format_duration(59.6), "1:00 min");
  EXPECT_EQ(format_duration(187), "3:07 min");
  EXPECT_EQ(format_duration(8100), "2:15 h");
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_count(12345), "12.3 k");
  EXPECT_EQ(format_count(1.236e6), "1.24 M");
  EXPECT_EQ(format_count(7.6213e9), "7.62 G");
}

TEST(Interrupt, TheRequestIsAFlag) {
  EXPECT_FALSE(interrupt_requested());
  set_interrupt_requested(true);
  EXPECT_TRUE(interrupt_requested());
  set_interrupt_requested(false);
}

}  // namespace
}  // namespace subspect::runtime
