// What the tests of the stand-in share: a clean device for every case, device arrays, and work for its streams.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "kernels/elementwise.h"
#include "tests/simt/cuda/emulated.h"

namespace emulated::test {

using subspect::kernels::Context;
using subspect::kernels::Cuda;

#define ASSERT_CUDA(call) ASSERT_EQ((call), cudaSuccess) << emulated::refusal() << emulated::fault()
#define EXPECT_CUDA(call) EXPECT_EQ((call), cudaSuccess) << emulated::refusal() << emulated::fault()

class EmulatedCase : public ::testing::Test {
 protected:
  void SetUp() override {
    // Where tuned products are kept: not the user's folder.
    ::setenv("XDG_CACHE_HOME", ::testing::TempDir().c_str(), 1);
    reset();
  }
  void TearDown() override { reset(); }

  /// Runs the body under several orders of the streams.
  static void for_each_seed(const std::function<void()>& body) {
    for (uint64_t seed = 1; seed <= 8; ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      reset({.seed = seed});
      body();
    }
  }
};

/// Memory from cudaMalloc.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) : count_(count) { EXPECT_CUDA(cudaMalloc(&data_, count * sizeof(T))); }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) { set(values); }
  ~DeviceArray() {
    if (!fault().empty()) reset();  // else nothing can be freed
    static_cast<void>(cudaFree(data_));
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return static_cast<T*>(data_); }

  void set(const std::vector<T>& values) const {
    EXPECT_CUDA(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
    EXPECT_CUDA(cudaDeviceSynchronize());
  }
  std::vector<T> values() const {
    std::vector<T> result(count_);
    EXPECT_CUDA(cudaDeviceSynchronize());
    EXPECT_CUDA(cudaMemcpy(result.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return result;
  }

 private:
  size_t count_;
  void* data_ = nullptr;
};

/// A stream that the default stream does not order.
class TestStream {
 public:
  explicit TestStream(unsigned flags = cudaStreamNonBlocking) {
    EXPECT_CUDA(cudaStreamCreateWithFlags(&stream_, flags));
  }
  ~TestStream() { static_cast<void>(cudaStreamDestroy(stream_)); }
  TestStream(const TestStream&) = delete;
  TestStream& operator=(const TestStream&) = delete;

  cudaStream_t get() const { return stream_; }
  /// y = value, in a kernel of this stream.
  void fill(float* y, float value, int64_t count) const {
    subspect::kernels::fill<Cuda, float>(Context<Cuda>{stream_}, y, value, count);
  }
  /// y = factor x, in a kernel of this stream.
  void scale(const float* x, float factor, float* y, int64_t count) const {
    subspect::kernels::scale<Cuda, float>(Context<Cuda>{stream_}, x, factor, y, count);
  }

 private:
  cudaStream_t stream_ = nullptr;
};

class TestEvent {
 public:
  explicit TestEvent(unsigned flags = cudaEventDisableTiming) { EXPECT_CUDA(cudaEventCreateWithFlags(&event_, flags)); }
  ~TestEvent() { static_cast<void>(cudaEventDestroy(event_)); }
  TestEvent(const TestEvent&) = delete;
  TestEvent& operator=(const TestEvent&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace emulated::test
