// Which GPUs there are, and whether this program can use them.
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <stdexcept>

#include "runtime/cuda/handles.h"
#include "runtime/error.h"
#include "runtime/gpu_queue.h"

namespace subspect::runtime::cuda {

namespace {

constexpr int oldest_major = 8;

GpuInfo describe_gpu(int index) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  return {.index = index,
          .name = properties.name,
          .major = properties.major,
          .minor = properties.minor,
          .multiprocessors = properties.multiProcessorCount,
          .total_bytes = static_cast<int64_t>(properties.totalGlobalMem)};
}

/// The version of cuBLASLt, or why it cannot be loaded.
std::string product_library() {
  try {
    const size_t version = cublasLtGetVersion();
    return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
  } catch (const std::runtime_error& error) {
    return fmt::format("missing: {}", error.what());
  }
}

int count_gpus() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  return count;
}

}  // namespace

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

Versions versions() {
  Versions result;
  check(cudaDriverGetVersion(&result.driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&result.runtime), "cudaRuntimeGetVersion");
  return result;
}

bool any_gpu() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  static_cast<void>(cudaGetLastError());
  if (status == cudaSuccess) return count > 0;
  // Without any driver CUDA says "insufficient driver" too; a driver that is there and too old is not "no GPU".
  return status != cudaErrorNoDevice && !(status == cudaErrorInsufficientDriver && versions().driver == 0);
}

std::vector<GpuInfo> gpus() {
  std::vector<GpuInfo> result;
  const int count = count_gpus();
  for (int index = 0; index < count; ++index) result.push_back(describe_gpu(index));
  return result;
}

std::vector<std::pair<std::string, std::string>> describe(int index) {
  const GpuInfo gpu = describe_gpu(index);
  const Versions found = versions();
  return {{"gpu", fmt::format("{}, compute capability {}.{}, {} multiprocessors, {:.1f} GB", gpu.name, gpu.major,
                              gpu.minor, gpu.multiprocessors, static_cast<double>(gpu.total_bytes) / 1e9)},
          {"driver", fmt::format("for CUDA {}", version_text(found.driver))},
          {"CUDA runtime", version_text(found.runtime)},
          {"cuBLASLt", product_library()}};
}

int64_t free_bytes(int index) {
  const DeviceGuard guard(index);
  size_t free = 0;
  size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<int64_t>(free);
}

GpuInfo usable_gpu(int index) {
  const int count = count_gpus();
  if (index < 0 || index >= count) {
    throw Error(fmt::format("there is no GPU {}: this machine shows {}", index, count), "--device",
                count == 0 ? std::string(advice(cudaErrorNoDevice)) : fmt::format("use cuda:0 to cuda:{}", count - 1));
  }
  GpuInfo gpu = describe_gpu(index);
  if (gpu.major < oldest_major) {
    throw Error(fmt::format("GPU {} ({}) has compute capability {}.{}; 8.0 or higher is needed", index, gpu.name,
                            gpu.major, gpu.minor),
                "--device", "use an NVIDIA GPU of the Ampere generation or newer, or --device cpu");
  }
  return gpu;
}

}  // namespace subspect::runtime::cuda
