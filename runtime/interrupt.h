// Ctrl-C and SIGTERM: the first asks the work to stop at its next safe point, the second ends the program at once.
// SIGUSR1 asks too where several ranks work together, since a launcher passes it on to them.
#pragma once

namespace subspect::runtime {

struct InterruptHandlers {
  bool terminate = true;  ///< SIGTERM asks to stop; false: it ends the program, as a launcher means it
  bool user = false;      ///< SIGUSR1 asks to stop
  bool announce = true;   ///< say on standard error that the request was heard
};

/// Installs the handlers of SIGINT and of the others. Called once, by the program.
void install_interrupt_handlers(const InterruptHandlers& handlers = {});

/// True once the user asked to stop.
bool interrupt_requested();

/// Sets or clears the request, for tests.
void set_interrupt_requested(bool value);

}  // namespace subspect::runtime
