// Queues of the stand-in: what runs when, in which order, and that a missing event or wait does not go unseen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/simt/cuda/support.h"

namespace emulated::test {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

class Streams : public EmulatedCase {};

constexpr int64_t count = 300;

std::vector<float> repeated(float value) {
  return std::vector<float>(count, value);
}

TEST_F(Streams, WorkWaitsForAWait) {
  const TestStream stream;
  const DeviceArray<float> x(count);
  stream.fill(x.data(), 3, count);
  EXPECT_EQ(queued_operations(), 1);
  EXPECT_CUDA(cudaStreamSynchronize(stream.get()));
  EXPECT_EQ(queued_operations(), 0);
  EXPECT_THAT(x.values(), Each(3.0F));
}

TEST_F(Streams, AStreamKeepsItsOrder) {
  for_each_seed([] {
    const TestStream stream;
    const DeviceArray<float> x(count);
    for (int i = 1; i <= 5; ++i) stream.fill(x.data(), static_cast<float>(i), count);
    stream.scale(x.data(), 2, x.data(), count);
    EXPECT_CUDA(cudaStreamSynchronize(stream.get()));
    EXPECT_THAT(x.values(), Each(10.0F));
  });
}

TEST_F(Streams, AnEventOrdersTwoStreams) {
  for_each_seed([] {
    const TestStream producer, consumer;
    const TestEvent ready;
    const DeviceArray<float> x(count), y(count);
    producer.fill(x.data(), 3, count);
    EXPECT_CUDA(cudaEventRecord(ready.get(), producer.get()));
    EXPECT_CUDA(cudaStreamWaitEvent(consumer.get(), ready.get(), 0));
    consumer.scale(x.data(), 2, y.data(), count);
    EXPECT_CUDA(cudaStreamSynchronize(consumer.get()));
    EXPECT_THAT(y.values(), Each(6.0F));
  });
}

TEST_F(Streams, AMissingEventIsReportedUnderEverySeed) {
  for_each_seed([] {
    const TestStream producer, consumer;
    const DeviceArray<float> x(count), y(count);
    producer.fill(x.data(), 3, count);
    consumer.scale(x.data(), 2, y.data(), count);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    EXPECT_THAT(fault(), HasSubstr("data race"));
    EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
    EXPECT_EQ(cudaStreamSynchronize(producer.get()), cudaErrorLaunchFailure) << "the error sticks";
    reset();
  });
}

TEST_F(Streams, AnEventRecordedTooEarlyDoesNotHelp) {
  for_each_seed([] {
    const TestStream producer, consumer;
    const TestEvent early;
    const DeviceArray<float> x(repeated(1)), y(count);
    EXPECT_CUDA(cudaEventRecord(early.get(), producer.get()));
    producer.fill(x.data(), 3, count);
    EXPECT_CUDA(cudaStreamWaitEvent(consumer.get(), early.get(), 0));
    consumer.scale(x.data(), 2, y.data(), count);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    reset();
  });
}

TEST_F(Streams, TheHostCanOrderTwoStreams) {
  for_each_seed([] {
    const TestStream producer, consumer;
    const DeviceArray<float> x(count), y(count);
    producer.fill(x.data(), 3, count);
    EXPECT_CUDA(cudaStreamSynchronize(producer.get()));
    consumer.scale(x.data(), 2, y.data(), count);
    EXPECT_CUDA(cudaStreamSynchronize(consumer.get()));
    EXPECT_THAT(y.values(), Each(6.0F));
  });
}

TEST_F(Streams, BothMayReadWithoutAnEvent) {
  for_each_seed([] {
    const DeviceArray<float> x(repeated(2)), y(count), z(count);
    const TestStream a, b;
    a.scale(x.data(), 2, y.data(), count);
    b.scale(x.data(), 3, z.data(), count);
    EXPECT_CUDA(cudaDeviceSynchronize());
    EXPECT_THAT(y.values(), Each(4.0F));
    EXPECT_THAT(z.values(), Each(6.0F));
  });
}

void append(void* data) {
  auto& [log, name] = *static_cast<std::pair<std::string*, char>*>(data);
  *log += name;
}

TEST_F(Streams, StreamsInterleaveInEveryOrder) {
  std::set<std::string> orders;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    reset({.seed = seed});
    const TestStream a, b;
    std::string log;
    std::pair<std::string*, char> first{&log, 'a'}, second{&log, 'b'};
    for (int i = 0; i < 2; ++i) {
      ASSERT_CUDA(cudaLaunchHostFunc(a.get(), append, &first));
      ASSERT_CUDA(cudaLaunchHostFunc(b.get(), append, &second));
    }
    ASSERT_CUDA(cudaDeviceSynchronize());
    orders.insert(log);
  }
  EXPECT_EQ(orders.size(), 6U) << "of two operations in each of two streams";
}

TEST_F(Streams, TheDefaultStreamWaitsForBlockingStreamsAndTheyForIt) {
  for_each_seed([] {
    const TestStream blocking(cudaStreamDefault);
    const DeviceArray<float> x(count), y(count);
    blocking.fill(x.data(), 3, count);
    subspect::kernels::scale<Cuda, float>(Context<Cuda>{}, x.data(), 2, y.data(), count);
    blocking.scale(y.data(), 5, x.data(), count);
    EXPECT_CUDA(cudaStreamSynchronize(blocking.get()));
    EXPECT_THAT(x.values(), Each(30.0F));
  });
}

TEST_F(Streams, QueriesMakeProgress) {
  const TestStream stream;
  const TestEvent event;
  const DeviceArray<float> x(count);
  stream.fill(x.data(), 1, count);
  stream.fill(x.data(), 2, count);
  EXPECT_CUDA(cudaEventRecord(event.get(), stream.get()));
  EXPECT_EQ(cudaEventQuery(event.get()), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(stream.get()), cudaErrorNotReady);
  int polls = 0;
  while (cudaEventQuery(event.get()) == cudaErrorNotReady && polls < 10) ++polls;
  EXPECT_LT(polls, 10);
  EXPECT_CUDA(cudaStreamQuery(stream.get()));
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "not ready is no error";
}

TEST_F(Streams, EventsMeasureTime) {
  const TestStream stream;
  const TestEvent start(cudaEventDefault), stop(cudaEventDefault), untimed;
  const DeviceArray<float> x(count);
  float time = -1;
  EXPECT_EQ(cudaEventElapsedTime(&time, start.get(), stop.get()), cudaErrorInvalidResourceHandle) << "not recorded";
  EXPECT_CUDA(cudaEventRecord(start.get(), stream.get()));
  stream.fill(x.data(), 1, count);
  EXPECT_CUDA(cudaEventRecord(stop.get(), stream.get()));
  EXPECT_CUDA(cudaEventRecord(untimed.get(), stream.get()));
  EXPECT_EQ(cudaEventElapsedTime(&time, start.get(), stop.get()), cudaErrorNotReady);
  EXPECT_CUDA(cudaEventSynchronize(untimed.get()));
  EXPECT_CUDA(cudaEventElapsedTime(&time, start.get(), stop.get()));
  EXPECT_GT(time, 0);
  EXPECT_EQ(cudaEventElapsedTime(&time, start.get(), untimed.get()), cudaErrorInvalidResourceHandle);
}

TEST_F(Streams, DestroyedHandlesAreRefused) {
  cudaStream_t stream = nullptr;
  ASSERT_CUDA(cudaStreamCreate(&stream));
  const DeviceArray<float> x(count);
  subspect::kernels::fill<Cuda, float>(Context<Cuda>{stream}, x.data(), 4, count);
  ASSERT_CUDA(cudaStreamDestroy(stream));
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_THAT(x.values(), Each(4.0F)) << "what was queued still runs";
}

TEST_F(Streams, LaunchErrorsNameTheKernel) {
  const TestStream stream;
  fail_call("cudaLaunchKernelExC", 1, cudaErrorNoKernelImageForDevice);
  const DeviceArray<float> x(count);
  try {
    stream.fill(x.data(), 1, count);
    FAIL() << "not refused";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no kernel image is available"));
    EXPECT_THAT(error.what(), HasSubstr("(kernel fill"));
  }
  EXPECT_EQ(cudaGetLastError(), cudaErrorNoKernelImageForDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(Streams, AKernelBeyondItsBufferIsAFault) {
  const TestStream stream;
  const DeviceArray<float> x(count);
  stream.fill(x.data(), 1, count + 1);
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaErrorLaunchFailure);
  EXPECT_THAT(fault(), HasSubstr("out of bounds: device memory"));
}

TEST_F(Streams, AKernelMayNotTouchHostMemory) {
  const TestStream stream;
  std::vector<float> host(count);
  stream.fill(host.data(), 1, count);
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaErrorLaunchFailure);
  EXPECT_THAT(fault(), HasSubstr("not device memory, write"));
}

TEST_F(Streams, HostFunctionsMayNotCallCuda) {
  const TestStream stream;
  static cudaError_t answer = cudaSuccess;
  EXPECT_CUDA(cudaLaunchHostFunc(
      stream.get(), [](void*) { answer = cudaDeviceSynchronize(); }, nullptr));
  EXPECT_CUDA(cudaStreamSynchronize(stream.get()));
  EXPECT_EQ(answer, cudaErrorNotPermitted);
}

class StreamsDeathTest : public Streams {
 protected:
  void SetUp() override {
    Streams::SetUp();
    GTEST_FLAG_SET(death_test_style, "threadsafe");  // OpenBLAS has threads
  }
};

TEST_F(StreamsDeathTest, HostCodeMayNotTouchDeviceMemory) {
  const DeviceArray<float> x(repeated(1));
  EXPECT_DEATH(std::exit(static_cast<int>(*const_cast<volatile float*>(x.data()))), "host code touched device memory");
}

TEST_F(StreamsDeathTest, NorMayAHostFunction) {
  const TestStream stream;
  const DeviceArray<float> x(repeated(1));
  const auto touch = [](void* data) { *static_cast<volatile float*>(data) = 0; };
  EXPECT_DEATH(
      {
        static_cast<void>(cudaLaunchHostFunc(stream.get(), touch, x.data()));
        static_cast<void>(cudaStreamSynchronize(stream.get()));
      },
      "host code touched device memory");
}

}  // namespace
}  // namespace emulated::test
