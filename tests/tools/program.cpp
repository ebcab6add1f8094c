// Starting the program and collecting what it wrote.
#include "tests/tools/program.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

namespace subspect::tests {

namespace fs = std::filesystem;

namespace {

std::string read_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// In the child: files as standard streams, limits, and the program. Does not return.
[[noreturn]] void become_program(const Call& call, const fs::path& folder) {
  const auto redirect = [](const std::string& file, int flags, int descriptor) {
    const int opened = ::open(file.c_str(), flags, 0644);
    ::dup2(opened, descriptor);
  };
  if (::chdir(folder.c_str()) != 0) ::_exit(99);
  redirect("in.txt", O_RDONLY, STDIN_FILENO);
  redirect(call.output_file.empty() ? "out.txt" : call.output_file, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
  redirect("err.txt", O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
  if (call.file_size_limit >= 0) {
    const auto bytes = static_cast<rlim_t>(call.file_size_limit);
    const rlimit limit{bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, SIG_IGN);
  }
  std::vector<char*> arguments = {const_cast<char*>(SUBSPECT_PROGRAM)};
  for (const std::string& argument : call.arguments) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  ::execv(SUBSPECT_PROGRAM, arguments.data());
  ::_exit(98);
}

}  // namespace

std::string Result::error() const {
  std::istringstream lines(err);
  std::string found;
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("subspect: error: ")) continue;
    found = line.substr(17);
    ++count;
  }
  EXPECT_EQ(count, 1) << err;
  return found;
}

void ProgramTest::SetUp() {
  folder_ = fs::temp_directory_path() / ("subspect-cli-" + std::to_string(::getpid()) + "-" +
                                         ::testing::UnitTest::GetInstance()->current_test_info()->name());
  fs::remove_all(folder_);
  fs::create_directories(folder_);
}

void ProgramTest::TearDown() {
  fs::remove_all(folder_);
}

Result ProgramTest::run(const std::vector<std::string>& arguments, const std::string& input) const {
  return run(Call{.arguments = arguments, .input = input});
}

Result ProgramTest::run(const Call& call) const {
  write("in.txt", call.input);
  const pid_t process = ::fork();
  if (process == 0) become_program(call, folder_);
  Result result;
  result.exit_code = wait(process);
  result.out = read_text(folder_ / "out.txt");
  result.err = read_text(folder_ / "err.txt");
  return result;
}

pid_t ProgramTest::start(const std::vector<std::string>& arguments) const {
  write("in.txt", "");
  const pid_t process = ::fork();
  if (process == 0) become_program(Call{.arguments = arguments, .input = {}}, folder_);
  return process;
}

int ProgramTest::wait(pid_t process) {
  int status = 0;
  ::waitpid(process, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

fs::path ProgramTest::write(const std::string& name, const std::string& text) const {
  fs::create_directories((folder_ / name).parent_path());
  std::ofstream(folder_ / name, std::ios::binary) << text;
  return folder_ / name;
}

std::string ProgramTest::read(const std::string& name) const {
  return read_text(folder_ / name);
}

}  // namespace subspect::tests
