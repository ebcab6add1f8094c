// `subspect run --nproc N`: this command again, as N ranks.
#pragma once

namespace subspect::cli {

/// Starts mpirun with this process' own command line on `ranks` ranks of this machine, passes ctrl-C on, and waits.
/// Returns the exit code of the ranks. Throws Error where mpirun cannot be started, or a signal ended a rank.
int launch_ranks(int ranks);

}  // namespace subspect::cli
