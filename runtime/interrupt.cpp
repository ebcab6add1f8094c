// The request to stop: a flag that signal handlers set.
#include "runtime/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>

namespace subspect::runtime {

namespace {

// Set by a signal handler and read by other threads: a lock-free atomic is allowed in both places.
std::atomic<bool> requested{false};
std::atomic<bool> announced{true};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void subspect_on_signal(int signal) {
  if (requested.exchange(true)) {
    _exit(128 + signal);  // the second time: at once
  }
  if (!announced) return;
  const char* message = "\nstopping at the next safe point; press ctrl-C again to stop at once\n";
  const ssize_t ignored = ::write(STDERR_FILENO, message, std::strlen(message));
  static_cast<void>(ignored);
}

}  // namespace

void install_interrupt_handlers(const InterruptHandlers& handlers) {
  announced = handlers.announce;
  struct sigaction action {};
  action.sa_handler = subspect_on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  if (handlers.terminate) sigaction(SIGTERM, &action, nullptr);
  if (handlers.user) sigaction(SIGUSR1, &action, nullptr);
}

bool interrupt_requested() {
  return requested.load();
}

void set_interrupt_requested(bool value) {
  requested.store(value);
}

}  // namespace subspect::runtime
