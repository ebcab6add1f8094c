// Peak speeds by the name of the GPU.
#include "runtime/hardware.h"

#include <algorithm>
#include <array>

#include "runtime/dispatch.h"
#include "runtime/gpu_queue.h"

namespace subspect::runtime {

namespace {

struct Peak {
  std::string_view model;    // a word of the name
  std::string_view variant;  // another word of it, or empty: any
  double teraflops;
};

// NVIDIA's data sheets and whitepapers ("BFLOAT16 Tensor Core"); figures with sparsity are halved. Variants come before
// the plain name.
constexpr std::array peaks = {
    Peak{"B200", "", 2250}, Peak{"GB200", "", 2500},   Peak{"H200", "NVL", 835}, Peak{"H200", "", 989},
    Peak{"GH200", "", 989}, Peak{"H100", "PCIe", 756}, Peak{"H100", "NVL", 835}, Peak{"H100", "", 989},
    Peak{"H800", "", 989},  Peak{"H20", "", 148},      Peak{"L40S", "", 362},    Peak{"L40", "", 181},
    Peak{"L4", "", 121},    Peak{"A100", "", 312},     Peak{"A800", "", 312},    Peak{"A40", "", 149.7},
    Peak{"A30", "", 165},   Peak{"A10", "", 125},      Peak{"A6000", "", 154.8},
};

// Whether `word` stands in the text between spaces, hyphens and its ends.
bool has_word(std::string_view text, std::string_view word) {
  constexpr std::string_view separators = " -";
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(separators), text.size());
    if (text.substr(0, end) == word) return true;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return false;
}

}  // namespace

double dense_bfloat16_flops(std::string_view gpu) {
  if (has_word(gpu, "MIG")) return 0;
  const auto* const found = std::find_if(peaks.begin(), peaks.end(), [&](const Peak& peak) {
    return has_word(gpu, peak.model) && (peak.variant.empty() || has_word(gpu, peak.variant));
  });
  return found == peaks.end() ? 0 : found->teraflops * 1e12;
}

// CUDA C++ Programming Guide, throughput of native arithmetic instructions.
bool has_fast_float64(int major, int minor) {
  return (major == 8 || major == 9 || major == 10) && minor == 0;
}

Hardware hardware_of(Device device) {
  if constexpr (built_with_cuda) {
    if (device.type == DeviceType::cuda) {
      const cuda::GpuInfo gpu = cuda::usable_gpu(device.index);
      return {.name = gpu.name,
              .memory_bytes = gpu.total_bytes,
              .bfloat16_flops = dense_bfloat16_flops(gpu.name),
              .fast_float64 = has_fast_float64(gpu.major, gpu.minor)};
    }
  }
  return {};
}

}  // namespace subspect::runtime
