// Runs the built `subspect` as users do, in a folder of its own, and says what it wrote and how it ended.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace subspect::tests {

struct Result {
  int exit_code = -1;
  std::string out;
  std::string err;

  /// The only line that starts with "subspect: error: "; a failed expectation where there is not exactly one.
  std::string error() const;
};

struct Call {
  std::vector<std::string> arguments;
  std::string input;             ///< standard input
  long file_size_limit = -1;     ///< RLIMIT_FSIZE in bytes: what a full disk looks like
  std::string output_file = {};  ///< standard output goes there
};

class ProgramTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  Result run(const std::vector<std::string>& arguments, const std::string& input = {}) const;
  Result run(const Call& call) const;

  /// Starts without waiting; standard error goes to `err.txt`.
  pid_t start(const std::vector<std::string>& arguments) const;
  /// Waits for a started program and returns its exit code (128 + signal when a signal ended it).
  static int wait(pid_t process);

  std::filesystem::path write(const std::string& name, const std::string& text) const;
  std::string read(const std::string& name) const;

  std::filesystem::path folder_;  ///< the current directory of every call
};

}  // namespace subspect::tests
