// The ranks that were started together by mpirun, srun or `subspect run --nproc N`.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/communicator.h"

namespace subspect::runtime::comm {

#ifdef SUBSPECT_MPI
inline constexpr bool built_with_mpi = true;
#else
inline constexpr bool built_with_mpi = false;
#endif

/// What the environment says about how this process was started.
struct Launch {
  int ranks = 1;
  std::string launcher;  ///< "mpirun" or "srun"; empty where the process was started alone
};
Launch launch();

/// The communicator of the ranks that were started with this one; `alone()` where there is no other, which costs
/// nothing. Called once, before anything is written: throws Error where several ranks were started and cannot work
/// together, since this program was built without MPI or for another one. Destroying it waits for the other ranks.
std::shared_ptr<Communicator> join_ranks();

}  // namespace subspect::runtime::comm
