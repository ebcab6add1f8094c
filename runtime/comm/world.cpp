// How this process was started, from the variables that launchers set.
#include "runtime/comm/world.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "runtime/comm/mpi/mpi_world.h"
#include "runtime/error.h"

namespace subspect::runtime::comm {

namespace {

struct Variable {
  const char* name;
  const char* launcher;
};

// Open MPI's mpirun; MPICH's and Intel's; srun, for each step.
constexpr Variable variables[] = {
    {"OMPI_COMM_WORLD_SIZE", "mpirun"}, {"PMI_SIZE", "mpirun"}, {"SLURM_STEP_NUM_TASKS", "srun"}};

int number(const char* text) {
  int value = 0;
  const std::string_view view = text;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  return error == std::errc() && end == view.data() + view.size() ? value : 0;
}

}  // namespace

Launch launch() {
  for (const Variable& variable : variables) {
    const char* text = std::getenv(variable.name);
    if (text != nullptr && number(text) > 1) return {number(text), variable.launcher};
  }
  return {};
}

std::shared_ptr<Communicator> join_ranks() {
  const Launch started = launch();
  if (started.ranks == 1) return alone();
  if constexpr (built_with_mpi) {
    auto world = mpi::join();
    if (world->size() == started.ranks) return world;
    throw Error(
        fmt::format("{} started {} ranks, but this process finds {}", started.launcher, started.ranks, world->size()),
        "MPI",
        "start them with the MPI that this program was built with (`subspect doctor`); "
        "with Slurm, srun --mpi=pmix");
  } else {
    throw Error(
        fmt::format("{} started {} ranks, but this program was built without MPI", started.launcher, started.ranks),
        "MPI", "install libopenmpi-dev and build again with SUBSPECT_MPI=ON, or start one process");
  }
}

}  // namespace subspect::runtime::comm
