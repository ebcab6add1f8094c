// subspect doctor: devices, libraries, and what is missing and how to get it.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "experiments/build_info.h"
#include "experiments/launch.h"
#include "model/hub.h"
#include "runtime/comm/world.h"
#include "runtime/dispatch.h"
#include "runtime/gpu_report.h"
#include "runtime/io/files.h"
#include "runtime/memory.h"
#include "runtime/progress.h"
#include "tools/cli/commands.h"
#include "tools/cli/common.h"

namespace subspect::cli {

namespace {

void line(std::string_view name, const std::string& value) {
  fmt::print("{:<18}{}\n", name, value);
}

/// Where a program is, on the PATH; empty when it is not there.
std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string file = folder + "/" + name;
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

void print_gpu(runtime::Device device) {
  try {
    runtime::Device::parse(device.to_string());
    line(device.to_string(), "can be used");
  } catch (const runtime::Error& error) {
    line(device.to_string(), error.what());
  }
  for (const auto& [name, value] : runtime::describe(device)) line("  " + name, value);
}

void print_devices() {
  const auto stream = runtime::Stream::open(runtime::Device{});
  line("cpu", fmt::format("{}, {:.0f} Gflop/s measured, {:.1f} GB of memory free", experiments::processor(),
                          experiments::measure_flops_per_second(*stream) / 1e9,
                          static_cast<double>(runtime::available_memory(*stream)) / 1e9));
  if (!runtime::built_with_cuda) {
    const bool driver = std::filesystem::exists("/dev/nvidiactl");
    line("cuda", driver
                     ? "there is an NVIDIA driver, but this program was built without CUDA: install the CUDA toolkit "
                       "(tools/setup.sh --cuda) and build again"
                     : "not built in; nothing to do on a machine without an NVIDIA GPU");
    return;
  }
  try {
    for (int index = 0; index < runtime::gpu_count(); ++index) print_gpu({runtime::DeviceType::cuda, index});
  } catch (const runtime::Error& error) {
    line("cuda", error.what());
  }
}

void print_programs() {
  struct Program {
    const char* name;
    const char* use;
  };
  for (const Program& program : {Program{"git", "records the commit in run directories; apt install git"},
                                 Program{"mpirun", "runs on several ranks; apt install openmpi-bin"},
                                 Program{"python3", "tests and fixtures; apt install python3"},
                                 Program{"chromium", "tests that look at reports; apt install chromium"}}) {
    const std::string found = find_program(program.name);
    line(program.name, found.empty() ? fmt::format("missing (optional): {}", program.use) : found);
  }
}

int doctor() {
  line("subspect",
       fmt::format("{} ({}), built with {}", experiments::version(), experiments::git_hash(), experiments::compiler()));
  print_devices();
  const auto cache = model::hub_cache();
  line("hub cache", cache.string() + (std::filesystem::is_directory(cache) ? "" : " (empty)"));
  line("free disk", fmt::format("{:.1f} GB here", static_cast<double>(runtime::io::free_bytes(".")) / 1e9));
  print_programs();
  line("several ranks", runtime::comm::built_with_mpi ? "can be used (--nproc)"
                                                      : "built without MPI: install libopenmpi-dev and build again");
  for (const auto& library : experiments::libraries()) line(library.first, library.second);
  return 0;
}

}  // namespace

void add_doctor(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      app.add_subcommand("doctor", "devices, libraries and versions, what is missing and how to get it");
  command->footer("Example:\n  subspect doctor");
  command->callback([&invocation] { invocation.action = [] { return doctor(); }; });
}

}  // namespace subspect::cli
