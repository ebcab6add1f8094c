// The state of the emulated device, and the tests' hold on it: planned failures, counts, what went wrong. Host code
// that touches device memory ends the program with a message; so does nothing else here.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>

#include "tests/simt/cuda/internal.h"

namespace emulated {

namespace {

std::set<std::string, std::less<>>& entry_points() {
  static std::set<std::string, std::less<>> names;
  return names;
}

// ---- host code must not touch device memory

struct sigaction previous_action;

void write_text(const char* text) {
  const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(written);
}

void on_segmentation_fault(int signal, siginfo_t* info, void* context) {
  const auto* address = static_cast<const std::byte*>(info->si_addr);
  if (address >= simt::device_memory() && address < simt::device_memory() + simt::device_memory_bytes()) {
    write_text("emulated device: host code touched device memory\n");
    std::abort();
  }
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
    return;
  }
  sigaction(signal, &previous_action, nullptr);  // the access is repeated, and faults as it would have
}

void protect(int access) {
  if (mprotect(simt::device_memory(), simt::device_memory_bytes(), access) != 0) {
    throw std::runtime_error("emulated device: cannot protect device memory");
  }
}

void install_fault_handler() {
  struct sigaction action = {};
  action.sa_sigaction = on_segmentation_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &previous_action);
  protect(PROT_NONE);
}

// ---- options of a whole program, for tests of the command line

/// SUBSPECT_EMULATED="seed=3,memory=1000000,compute=8.9,fail=cudaMalloc:2:2" (function, which call, status).
void read_environment(Options& options, std::vector<PlannedFailure>& planned) {
  const char* text = std::getenv("SUBSPECT_EMULATED");
  if (text == nullptr) return;
  std::string rest = text;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string item = rest.substr(0, comma);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
    char function[64] = "";
    int nth = 0;
    int status = 0;
    unsigned long long number = 0;
    if (std::sscanf(item.c_str(), "seed=%llu", &number) == 1) {
      options.seed = number;
    } else if (std::sscanf(item.c_str(), "compute=%d.%d", &options.compute_major, &options.compute_minor) == 2) {
      continue;
    } else if (std::sscanf(item.c_str(), "memory=%llu", &number) == 1) {
      options.memory_bytes = number;
    } else if (std::sscanf(item.c_str(), "fail=%63[^:]:%d:%d", function, &nth, &status) == 3) {
      planned.push_back({function, nth, status});
    } else {
      std::fprintf(stderr, "emulated device: SUBSPECT_EMULATED: cannot read '%s'\n", item.c_str());
      std::abort();
    }
  }
}

}  // namespace

Device& device() {
  static auto* instance = new Device;  // outlives every static object that still frees memory
  return *instance;
}

Device::Device() : default_stream(std::make_unique<CUstream_st>()), stream_count(1) {
  read_environment(options, planned);
  random.seed(options.seed);
  simt::set_options({options.seed, 0});
  install_queues();
  install_fault_handler();
}

EntryPoint::EntryPoint(const char* function) : name(function) {
  entry_points().insert(function);
}

OpenDevice::OpenDevice() {
  if (device().open++ == 0) protect(PROT_READ | PROT_WRITE);
}

OpenDevice::~OpenDevice() {
  if (--device().open == 0) protect(PROT_NONE);
}

HostCode::HostCode() {
  device().in_host_function = true;
  protect(PROT_NONE);
}

HostCode::~HostCode() {
  protect(PROT_READ | PROT_WRITE);
  device().in_host_function = false;
}

namespace {

/// Counts down the failures that are planned for the function; its status when one is due.
std::optional<int> due(std::vector<PlannedFailure>& all, const char* function) {
  std::optional<int> status;
  for (PlannedFailure& planned : all) {
    if (planned.function != function || planned.calls_left == 0 || --planned.calls_left > 0) continue;
    status = planned.status;
  }
  return status;
}

void plan(std::vector<PlannedFailure>& all, std::string_view function, int nth, int status) {
  if (!entry_points().contains(function)) throw std::invalid_argument("no entry point " + std::string(function));
  const std::lock_guard lock(device().mutex);
  all.push_back({std::string(function), nth, status});
}

}  // namespace

bool planned_failure(const char* function, int* status) {
  ++device().calls[function];
  const std::optional<int> failure = due(device().planned, function);
  if (failure) *status = *failure;
  return failure.has_value();
}

bool planned_divergence(const char* function) {
  return due(device().divergences, function).has_value();
}

cudaError_t remember(cudaError_t status) {
  if (status != cudaSuccess && status != cudaErrorNotReady) device().last_error = status;
  return status;
}

void reset(const Options& options) {
  const std::lock_guard lock(device().mutex);
  const auto forget = [](CUstream_st& stream) {
    for (const auto& operation : stream.queue) {
      operation->done = true;
      operation->after.clear();
    }
    stream.queue.clear();
  };
  forget(*device().default_stream);
  for (const auto& stream : device().streams) forget(*stream);
  std::erase_if(device().streams, [](const auto& stream) { return stream->destroyed; });
  for (auto& [memory, block] : device().allocations) block.freed = false;
  device().options = options;
  device().random.seed(options.seed);
  simt::set_options({options.seed, 0});
  device().calls.clear();
  device().planned.clear();
  device().divergences.clear();
  device().allocations_until_failure = 0;
  device().fault.clear();
  device().refusal.clear();
  device().last_error = cudaSuccess;
}

void fail_call(std::string_view function, int nth, int status) {
  plan(device().planned, function, nth, status);
}

void fail_convergence(std::string_view function, int nth) {
  plan(device().divergences, function, nth, 1);
}

void fail_allocation(int nth) {
  const std::lock_guard lock(device().mutex);
  device().allocations_until_failure = nth;
}

int64_t calls(std::string_view function) {
  const std::lock_guard lock(device().mutex);
  const auto found = device().calls.find(function);
  return found == device().calls.end() ? 0 : found->second;
}

std::string fault() {
  const std::lock_guard lock(device().mutex);
  return device().fault;
}

std::string refusal() {
  const std::lock_guard lock(device().mutex);
  return device().refusal;
}

int64_t live_allocations() {
  const std::lock_guard lock(device().mutex);
  return static_cast<int64_t>(device().allocations.size() + device().pinned.size());
}

int64_t queued_operations() {
  const std::lock_guard lock(device().mutex);
  size_t count = device().default_stream->queue.size();
  for (const auto& stream : device().streams) count += stream->queue.size();
  return static_cast<int64_t>(count);
}

}  // namespace emulated
