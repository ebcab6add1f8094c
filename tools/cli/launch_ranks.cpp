// mpirun as a child in a process group of its own: what the terminal sends reaches this process alone, which asks the
// ranks to stop by SIGUSR1, since mpirun would kill them.
#include "tools/cli/launch_ranks.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "runtime/comm/world.h"
#include "runtime/error.h"

namespace subspect::cli {

namespace {

constexpr int cannot_start = 127;
constexpr int signal_base = 128;  // what mpirun adds to the signal that ended a rank
constexpr int interrupted = 130;

volatile std::sig_atomic_t mpirun_process = 0;
volatile std::sig_atomic_t asked_to_stop = 0;

extern "C" void subspect_pass_on(int signal) {
  static_cast<void>(signal);
  if (mpirun_process == 0) return;
  ::kill(static_cast<pid_t>(mpirun_process), asked_to_stop != 0 ? SIGTERM : SIGUSR1);
  asked_to_stop = 1;
}

/// The arguments of this process.
std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> arguments;
  for (size_t begin = 0, end = 0; (end = text.find('\0', begin)) != std::string::npos; begin = end + 1) {
    arguments.push_back(text.substr(begin, end - begin));
  }
  return arguments;
}

std::string own_path() {
  std::string path(4096, '\0');
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  path.resize(length > 0 ? static_cast<size_t>(length) : 0);
  return path;
}

/// Ranks may outnumber cores, are not bound to one, and send through shared memory, which containers allow.
std::vector<std::string> command_line(int ranks) {
  std::vector<std::string> words = {"mpirun", "--quiet", "--oversubscribe", "--bind-to", "none", "--stdin", "none"};
  words.insert(words.end(), {"--mca", "btl_vader_single_copy_mechanism", "none", "-n", std::to_string(ranks)});
  if (::geteuid() == 0) words.emplace_back("--allow-run-as-root");
  words.push_back(own_path());
  const std::vector<std::string> arguments = own_arguments();
  words.insert(words.end(), arguments.begin() + 1, arguments.end());
  return words;
}

/// In the child. Does not return.
[[noreturn]] void become(std::vector<std::string>& words) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // ranks do not outlive this command
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(nothing, STDIN_FILENO);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  ::_exit(cannot_start);
}

int wait_for(pid_t process) {
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : signal_base + WTERMSIG(status);
}

}  // namespace

int launch_ranks(int ranks) {
  if (!runtime::comm::built_with_mpi) {
    throw runtime::Error(fmt::format("{} ranks are asked for, but this program was built without MPI", ranks),
                         "--nproc", "install libopenmpi-dev and build again with SUBSPECT_MPI=ON");
  }
  std::vector<std::string> words = command_line(ranks);
  struct sigaction action {};
  action.sa_handler = subspect_pass_on;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  const pid_t child = ::fork();
  if (child == 0) become(words);
  mpirun_process = child;
  const int code = child < 0 ? cannot_start : wait_for(child);
  if (code == cannot_start) {
    throw runtime::Error("mpirun cannot be started", "--nproc", "install openmpi-bin (tools/setup.sh)");
  }
  if (code <= signal_base || code == interrupted) return code;
  if (asked_to_stop != 0) {  // before the ranks could hear of it
    throw runtime::Interrupted("interrupted", "--nproc", "run the same command again to go on");
  }
  throw runtime::Error(fmt::format("a rank was ended by signal {}", code - signal_base), "--nproc",
                       "look for what killed it (memory?); the same command goes on from the last checkpoint");
}

}  // namespace subspect::cli
