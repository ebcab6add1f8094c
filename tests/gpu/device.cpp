// Device buffers on a GPU: what tests/simt/simt.h declares, over the CUDA runtime. Memory begins full of NaN, and a
// kernel that writes beside a buffer is found when the buffer goes.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/simt/simt.h"

namespace simt {
namespace {

constexpr size_t red_zone = 512;
constexpr unsigned char poison = 0xFF;

void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status));
}

/// Bytes of each buffer, by its address.
std::map<char*, size_t>& buffers() {
  static std::map<char*, size_t> sizes;
  return sizes;
}

bool untouched(const char* zone) {
  std::vector<unsigned char> bytes(red_zone);
  if (cudaMemcpy(bytes.data(), zone, red_zone, cudaMemcpyDeviceToHost) != cudaSuccess) return false;
  return std::all_of(bytes.begin(), bytes.end(), [](unsigned char byte) { return byte == poison; });
}

}  // namespace

void set_options(const Options& /*options*/) {}

void* allocate_device(size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes + 2 * red_zone), "cudaMalloc");
  check(cudaMemset(memory, poison, bytes + 2 * red_zone), "cudaMemset");
  char* begin = static_cast<char*>(memory) + red_zone;
  buffers()[begin] = bytes;
  return begin;
}

void free_device(void* memory) {
  const auto found = buffers().find(static_cast<char*>(memory));
  if (found == buffers().end()) return;
  const auto [begin, bytes] = *found;
  EXPECT_TRUE(untouched(begin - red_zone)) << "a kernel wrote before a buffer of " << bytes << " bytes, or failed";
  EXPECT_TRUE(untouched(begin + bytes)) << "a kernel wrote behind a buffer of " << bytes << " bytes, or failed";
  buffers().erase(found);
  static_cast<void>(cudaFree(begin - red_zone));
}

void copy_to_device(void* device, const void* host, size_t bytes) {
  check(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice), "cudaMemcpy to the device");
}

void copy_to_host(void* host, const void* device, size_t bytes) {
  check(cudaDeviceSynchronize(), "a kernel");
  check(cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy to the host");
}

}  // namespace simt
