// Ctrl-C and SIGTERM: the first asks the work to stop at its next safe point, the second ends the program at once.
#pragma once

namespace subspect::runtime {

/// Installs the handlers of SIGINT and SIGTERM. Called once, by the program.
void install_interrupt_handlers();

/// True once the user asked to stop.
bool interrupt_requested();

/// Sets or clears the request, for tests.
void set_interrupt_requested(bool value);

}  // namespace subspect::runtime
