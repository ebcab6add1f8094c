// Asks runtime/cuda, where it was built in.
#include "runtime/gpu_report.h"

#include "runtime/dispatch.h"
#include "runtime/gpu_queue.h"

namespace subspect::runtime {

int gpu_count() {
  if constexpr (built_with_cuda) return static_cast<int>(cuda::gpus().size());
  return 0;
}

std::vector<std::pair<std::string, std::string>> describe([[maybe_unused]] Device device) {
  if constexpr (built_with_cuda) {
    if (device.type == DeviceType::cuda) return cuda::describe(device.index);
  }
  return {};
}

}  // namespace subspect::runtime
