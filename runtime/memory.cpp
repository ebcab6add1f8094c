// Memory that is free: from the kernel's files, or from the GPU.
#include "runtime/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "runtime/allocator.h"
#include "runtime/dispatch.h"
#include "runtime/gpu_queue.h"
#include "runtime/hardware.h"

namespace subspect::runtime {

namespace {

/// The number in a one-line file of the control group; nothing ("max", no such file) is no limit.
int64_t read_limit(const char* path, int64_t fallback) {
  std::ifstream stream(path);
  int64_t value = 0;
  return stream >> value ? value : fallback;
}

}  // namespace

int64_t available_host_memory() {
  constexpr int64_t no_limit = std::numeric_limits<int64_t>::max();
  int64_t available = no_limit;
  std::ifstream stream("/proc/meminfo");
  std::string line;
  while (std::getline(stream, line)) {
    if (line.starts_with("MemAvailable:")) available = std::stoll(line.substr(13)) * 1024;
  }
  const int64_t limit = read_limit("/sys/fs/cgroup/memory.max", no_limit);
  if (limit != no_limit) {
    available = std::min(available, std::max<int64_t>(0, limit - read_limit("/sys/fs/cgroup/memory.current", 0)));
  }
  return available == no_limit ? int64_t{4} << 30 : available;
}

int64_t available_memory(const Stream& stream) {
  return dispatch_device(stream, [&]<class D>(kernels::Context<D> /*context*/) {
    if constexpr (std::same_as<D, kernels::Cuda>) {
      return cuda::free_bytes(stream.device().index) + stream.allocator()->stats().cached_bytes;
    } else {
      return available_host_memory();
    }
  });
}

int64_t total_memory(Device device) {
  return device.type == DeviceType::cpu ? host_memory().limit_bytes : hardware_of(device).memory_bytes;
}

}  // namespace subspect::runtime
