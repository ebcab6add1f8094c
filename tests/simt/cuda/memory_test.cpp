// Memory and copies of the stand-in: poison, sizes, lifetimes, when copies read their sources, planned failures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/simt/cuda/support.h"

namespace emulated::test {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

class Memory : public EmulatedCase {};

constexpr size_t count = 100;
constexpr size_t bytes = count * sizeof(float);

std::vector<float> counting(size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 0.0F);
  return values;
}

struct Pinned {
  explicit Pinned(size_t n) { EXPECT_CUDA(cudaMallocHost(reinterpret_cast<void**>(&data), n * sizeof(float))); }
  ~Pinned() { static_cast<void>(cudaFreeHost(data)); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  float* data = nullptr;
};

TEST_F(Memory, FreshMemoryIsNaN) {
  const DeviceArray<float> x(count);
  for (const float value : x.values()) EXPECT_TRUE(std::isnan(value));
}

TEST_F(Memory, CopiesGoThereAndBack) {
  const std::vector<float> values = counting(count);
  const DeviceArray<float> x(values);
  EXPECT_EQ(x.values(), values);
}

TEST_F(Memory, MemsetRunsInItsStream) {
  const TestStream stream;
  const DeviceArray<float> x(counting(count));
  EXPECT_CUDA(cudaMemsetAsync(x.data(), 0, bytes, stream.get()));
  EXPECT_EQ(queued_operations(), 1);
  EXPECT_THAT(x.values(), Each(0.0F));
}

TEST_F(Memory, PinnedSourcesAreReadLate) {
  const TestStream stream;
  const DeviceArray<float> x(1);
  const Pinned source(1);
  *source.data = 1;
  EXPECT_CUDA(cudaMemcpyAsync(x.data(), source.data, 4, cudaMemcpyHostToDevice, stream.get()));
  *source.data = 2;  // too early: the fault that this shows
  EXPECT_EQ(x.values()[0], 2);
}

TEST_F(Memory, PageableSourcesAreReadAtTheCall) {
  const TestStream stream;
  const DeviceArray<float> x(1);
  float source = 1;
  EXPECT_CUDA(cudaMemcpyAsync(x.data(), &source, 4, cudaMemcpyHostToDevice, stream.get()));
  source = 2;
  EXPECT_EQ(x.values()[0], 1);
}

TEST_F(Memory, PinnedTargetsAreWrittenLate) {
  const TestStream stream;
  const DeviceArray<float> x(std::vector<float>{5});
  const Pinned target(1);
  *target.data = 0;
  EXPECT_CUDA(cudaMemcpyAsync(target.data, x.data(), 4, cudaMemcpyDeviceToHost, stream.get()));
  EXPECT_EQ(*target.data, 0);
  EXPECT_CUDA(cudaStreamSynchronize(stream.get()));
  EXPECT_EQ(*target.data, 5);
}

TEST_F(Memory, PageableTargetsHaveArrivedAtTheReturn) {
  const TestStream stream;
  const DeviceArray<float> x(count);
  stream.fill(x.data(), 5, count);
  std::vector<float> target(count);
  EXPECT_CUDA(cudaMemcpyAsync(target.data(), x.data(), bytes, cudaMemcpyDeviceToHost, stream.get()));
  EXPECT_THAT(target, Each(5.0F));
}

TEST_F(Memory, CopiesOnTheDeviceDoNotWait) {
  const DeviceArray<float> x(counting(count)), y(count);
  EXPECT_CUDA(cudaMemcpy(y.data(), x.data(), bytes, cudaMemcpyDeviceToDevice));
  EXPECT_EQ(queued_operations(), 1);
  EXPECT_EQ(y.values(), counting(count));
}

TEST_F(Memory, ACopyRacesWithAKernelOfAnotherStream) {
  for_each_seed([] {
    const TestStream a, b;
    const DeviceArray<float> x(count);
    const Pinned target(count);
    a.fill(x.data(), 5, count);
    EXPECT_CUDA(cudaMemcpyAsync(target.data, x.data(), bytes, cudaMemcpyDeviceToHost, b.get()));
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    EXPECT_THAT(fault(), HasSubstr("data race"));
    reset();
  });
}

TEST_F(Memory, CopiesByRows) {
  const TestStream stream;
  const std::vector<float> values = counting(12);
  const DeviceArray<float> x(values), y(std::vector<float>(20, -1));
  EXPECT_CUDA(cudaMemcpy2DAsync(y.data(), 20, x.data(), 16, 12, 3, cudaMemcpyDeviceToDevice, stream.get()));
  EXPECT_EQ(y.values(), (std::vector<float>{0, 1, 2, -1, -1, 4, 5, 6, -1, -1, 8, 9, 10, -1, -1, -1, -1, -1, -1, -1}));
  EXPECT_EQ(cudaMemcpy2DAsync(y.data(), 8, x.data(), 16, 12, 3, cudaMemcpyDeviceToDevice, stream.get()),
            cudaErrorInvalidPitchValue);
}

TEST_F(Memory, WrongCopiesAreRefused) {
  const DeviceArray<float> x(count);
  std::vector<float> host(2 * count);
  EXPECT_EQ(cudaMemcpy(x.data(), host.data(), bytes, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), x.data(), bytes, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(x.data(), host.data(), bytes + 1, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_THAT(refusal(), HasSubstr("beyond a block"));
  EXPECT_EQ(cudaMemset(x.data() + 1, 0, bytes), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(host.data(), 0, bytes), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_CUDA(cudaMemcpy(host.data(), x.data(), bytes, cudaMemcpyDefault));
}

TEST_F(Memory, PinnedMemoryMayNotGoBeforeItsCopy) {
  const TestStream stream;
  const DeviceArray<float> x(count);
  float* pinned = nullptr;
  EXPECT_CUDA(cudaHostAlloc(reinterpret_cast<void**>(&pinned), bytes, cudaHostAllocPortable));
  EXPECT_CUDA(cudaMemcpyAsync(x.data(), pinned, bytes, cudaMemcpyHostToDevice, stream.get()));
  EXPECT_CUDA(cudaFreeHost(pinned));
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaErrorLaunchFailure);
  EXPECT_THAT(fault(), HasSubstr("pinned memory was given back"));
}

TEST_F(Memory, FreeingWaitsForTheDevice) {
  const TestStream stream;
  const DeviceArray<float> y(count);
  void* x = nullptr;
  ASSERT_CUDA(cudaMalloc(&x, bytes));
  stream.fill(static_cast<float*>(x), 3, count);
  stream.scale(static_cast<float*>(x), 2, y.data(), count);
  EXPECT_CUDA(cudaFree(x));
  EXPECT_EQ(queued_operations(), 0);
  EXPECT_THAT(y.values(), Each(6.0F));
}

TEST_F(Memory, FreedMemoryIsOutOfBounds) {
  const TestStream stream;
  void* x = nullptr;
  ASSERT_CUDA(cudaMalloc(&x, bytes));
  ASSERT_CUDA(cudaFree(x));
  EXPECT_EQ(cudaFree(x), cudaErrorInvalidValue) << "twice";
  stream.fill(static_cast<float*>(x), 3, count);
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaErrorLaunchFailure);
  EXPECT_THAT(fault(), HasSubstr("out of bounds"));
}

TEST_F(Memory, StreamOrderedMemoryLivesInItsStream) {
  for_each_seed([] {
    const TestStream stream;
    const DeviceArray<float> y(count);
    void* x = nullptr;
    ASSERT_CUDA(cudaMallocAsync(&x, bytes, stream.get()));
    stream.fill(static_cast<float*>(x), 3, count);
    stream.scale(static_cast<float*>(x), 2, y.data(), count);
    ASSERT_CUDA(cudaFreeAsync(x, stream.get()));
    EXPECT_EQ(cudaMemsetAsync(x, 0, bytes, stream.get()), cudaErrorInvalidValue) << "after the free";
    EXPECT_THAT(y.values(), Each(6.0F));
  });
}

TEST_F(Memory, StreamOrderedMemoryInAnotherStreamWantsAnEvent) {
  for_each_seed([] {
    const TestStream owner, other;
    void* x = nullptr;
    ASSERT_CUDA(cudaMallocAsync(&x, bytes, owner.get()));
    other.fill(static_cast<float*>(x), 3, count);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    reset();
    ASSERT_CUDA(cudaFree(x));
  });
}

TEST_F(Memory, FreeingInAStreamWhileAnotherReadsIsReported) {
  for_each_seed([] {
    const TestStream owner, other;
    const DeviceArray<float> y(count);
    void* x = nullptr;
    ASSERT_CUDA(cudaMalloc(&x, bytes));
    ASSERT_CUDA(cudaMemset(x, 0, bytes));
    ASSERT_CUDA(cudaDeviceSynchronize());
    other.scale(static_cast<float*>(x), 2, y.data(), count);
    ASSERT_CUDA(cudaFreeAsync(x, owner.get()));
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    reset();
    static_cast<void>(cudaFree(x));
  });
}

TEST_F(Memory, TheDeviceIsAsLargeAsAskedFor) {
  reset({.memory_bytes = 4096});
  size_t free = 0;
  size_t total = 0;
  EXPECT_CUDA(cudaMemGetInfo(&free, &total));
  EXPECT_EQ(total, 4096U);
  ASSERT_EQ(free, 4096U);
  void* first = nullptr;
  void* second = nullptr;
  ASSERT_CUDA(cudaMalloc(&first, 3000));
  EXPECT_EQ(cudaMalloc(&second, 2000), cudaErrorMemoryAllocation);
  EXPECT_EQ(second, nullptr);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_CUDA(cudaMemGetInfo(&free, &total));
  EXPECT_EQ(free, 1024U) << "in steps of 512 bytes";
  const TestStream stream;
  ASSERT_CUDA(cudaFreeAsync(first, stream.get()));
  EXPECT_CUDA(cudaMalloc(&second, 2000)) << "what waits to be freed makes room";
  EXPECT_CUDA(cudaFree(second));
}

TEST_F(Memory, PlannedFailures) {
  void* memory = nullptr;
  fail_allocation(2);
  EXPECT_CUDA(cudaMalloc(&memory, 16));
  void* pinned = nullptr;
  EXPECT_EQ(cudaMallocHost(&pinned, 16), cudaErrorMemoryAllocation);
  EXPECT_CUDA(cudaMallocHost(&pinned, 16));
  fail_call("cudaMemcpyAsync", 3, cudaErrorECCUncorrectable);
  for (int i = 1; i <= 4; ++i) {
    EXPECT_EQ(cudaMemcpyAsync(memory, pinned, 16, cudaMemcpyHostToDevice, nullptr),
              i == 3 ? cudaErrorECCUncorrectable : cudaSuccess);
  }
  EXPECT_EQ(calls("cudaMemcpyAsync"), 4);
  EXPECT_THROW(fail_call("cudaMemcpyAsinc", 1, cudaErrorUnknown), std::invalid_argument);
  EXPECT_CUDA(cudaFree(memory));
  EXPECT_CUDA(cudaFreeHost(pinned));
}

TEST_F(Memory, BlocksAreCounted) {
  const int64_t before = live_allocations();
  const DeviceArray<float> x(count);
  const Pinned pinned(count);
  EXPECT_EQ(live_allocations(), before + 2);
}

TEST_F(Memory, PropertiesOfTheDevice) {
  int devices = 0;
  EXPECT_CUDA(cudaGetDeviceCount(&devices));
  EXPECT_EQ(devices, 1);
  cudaDeviceProp properties{};
  ASSERT_CUDA(cudaGetDeviceProperties(&properties, 0));
  EXPECT_STREQ(properties.name, "emulated");
  EXPECT_EQ(properties.major, 8);
  int major = 0;
  EXPECT_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
  EXPECT_EQ(major, properties.major);
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 1), cudaErrorInvalidDevice);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
}

}  // namespace
}  // namespace emulated::test
