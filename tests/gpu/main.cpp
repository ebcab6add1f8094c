// The tests that want a GPU. Where there is none they are reported as skipped: the line below is what ctest looks for,
// and the program ends with an error, so that no other caller takes it for a pass.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace {

constexpr int oldest_major = 8;

/// Why no GPU can be used; empty when one can.
std::string reason_against_gpu() {
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) return cudaGetErrorString(status);
  if (count == 0) return "no device";
  cudaDeviceProp properties{};
  if (const cudaError_t status = cudaGetDeviceProperties(&properties, 0); status != cudaSuccess) {
    return cudaGetErrorString(status);
  }
  if (properties.major < oldest_major) return std::string(properties.name) + " is older than compute capability 8.0";
  std::printf("on %s\n", properties.name);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int skipped = 77;
  testing::InitGoogleTest(&argc, argv);
  if (!testing::GTEST_FLAG(list_tests)) {
    if (const std::string reason = reason_against_gpu(); !reason.empty()) {
      std::printf("skipped: no usable GPU (%s)\n", reason.c_str());
      return skipped;
    }
  }
  return RUN_ALL_TESTS();
}
