// The ranks of MPI_COMM_WORLD. Only builds with MPI have it (cmake/SubspectMpi.cmake).
#pragma once

#include <memory>

#include "runtime/comm/communicator.h"

namespace subspect::runtime::comm::mpi {

/// Initialises MPI, once in a process. Throws Error where that fails.
std::shared_ptr<Communicator> join();

}  // namespace subspect::runtime::comm::mpi
