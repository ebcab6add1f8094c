// The runtime on an emulated GPU: devices, streams, copies through pinned memory, allocation, recorded work, tensors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "kernels/elementwise.h"
#include "runtime/allocator.h"
#include "runtime/cuda/event.h"
#include "runtime/cuda/staging.h"
#include "runtime/dispatch.h"
#include "runtime/error.h"
#include "runtime/gpu_queue.h"
#include "runtime/replay.h"
#include "runtime/tensor.h"
#include "tests/simt/cuda/support.h"

namespace subspect::runtime {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::vector<float> counting(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 1.0F);
  return values;
}

class DeviceRuntime : public emulated::test::EmulatedCase {
 protected:
  static std::shared_ptr<Stream> open() { return Stream::open(Device::parse("cuda")); }

  /// x *= 2 in place, on the device.
  static void twice(Stream& stream, const Tensor& x) {
    dispatch_device(stream, [&]<class D>(kernels::Context<D> on) {
      kernels::scale<D, float>(on, x.data<float>(), 2.0F, x.data<float>(), x.numel());
    });
  }
};

// ---- devices

TEST_F(DeviceRuntime, DevicesAreFoundByName) {
  EXPECT_EQ(Device::parse("cuda").to_string(), "cuda:0");
  EXPECT_EQ(Device::parse("cuda:0").to_string(), "cuda:0");
  EXPECT_EQ(Device::parse("auto").to_string(), "cuda:0");
  EXPECT_EQ(Device::parse("cpu").to_string(), "cpu");
  EXPECT_THROW(Device::parse("cuda:"), UsageError);
  EXPECT_THROW(Device::parse("cuda:-1"), UsageError);
  EXPECT_THAT(error_of([] { Device::parse("cuda:77"); }), AllOf(HasSubstr("no GPU 77"), HasSubstr("use cuda:0 to")));
}

TEST_F(DeviceRuntime, WithoutAGpuAutoIsTheCpuAndCudaAnError) {
  emulated::fail_call("cudaGetDeviceCount", 1, cudaErrorNoDevice);
  EXPECT_EQ(Device::parse("auto").to_string(), "cpu");
  emulated::fail_call("cudaGetDeviceCount", 1, cudaErrorNoDevice);
  EXPECT_THAT(error_of([] { Device::parse("cuda"); }),
              AllOf(HasSubstr("no usable GPU"), HasSubstr("CUDA_VISIBLE_DEVICES")));
}

TEST_F(DeviceRuntime, AnOldDriverIsNoReasonForTheCpu) {
  // There is a driver, so the user has a GPU: running on the CPU would hide that it is not used.
  emulated::fail_call("cudaGetDeviceCount", 1, cudaErrorInsufficientDriver);
  EXPECT_EQ(Device::parse("auto").to_string(), "cuda:0");
  for (const int call : {1, 2}) emulated::fail_call("cudaGetDeviceCount", call, cudaErrorInsufficientDriver);
  EXPECT_THAT(error_of([] { Device::parse("cuda"); }), HasSubstr("install a newer driver"));
}

TEST_F(DeviceRuntime, AStreamLeavesTheCurrentDeviceAlone) {
  int before = -1;
  int after = -2;
  ASSERT_CUDA(cudaGetDevice(&before));
  const auto stream = open();
  Tensor::zeros(*stream, {100}, DType::float32).to_host<float>(*stream);
  ASSERT_CUDA(cudaGetDevice(&after));
  EXPECT_EQ(before, after);
}

TEST_F(DeviceRuntime, AFailedCallIsNamed) {
  const auto stream = open();
  emulated::fail_call("cudaMemsetAsync", 1, cudaErrorInvalidValue);
  EXPECT_THAT(error_of([&] { Tensor::zeros(*stream, {8}, DType::float32); }), HasSubstr("cudaMemsetAsync"));
}

TEST_F(DeviceRuntime, NothingIsLeftBehind) {
  const int64_t before = emulated::live_allocations();
  {
    const auto stream = open();
    const Tensor x = Tensor::from_host<float>(*stream, counting(1000), {1000});
    twice(*stream, x);
  }
  EXPECT_EQ(emulated::live_allocations(), before);
  EXPECT_EQ(emulated::fault(), "");
}

// ---- copies

TEST_F(DeviceRuntime, CopiesThroughASmallRingArrive) {
  for_each_seed([] {
    const emulated::test::TestStream stream;
    cuda::StagingRing ring(1024, 3);
    const std::vector<float> values = counting(5000);
    const emulated::test::DeviceArray<float> target(values.size());
    size_t done = 0;
    for (size_t step = 0; done < values.size(); ++step) {
      const size_t size = std::min(values.size() - done, 1 + step * 37 % 256);
      char* piece = ring.take(static_cast<int64_t>(size * sizeof(float)));
      std::memcpy(piece, values.data() + done, size * sizeof(float));
      ASSERT_CUDA(
          cudaMemcpyAsync(target.data() + done, piece, size * sizeof(float), cudaMemcpyHostToDevice, stream.get()));
      ring.used_by(stream.get());
      done += size;
    }
    ring.drain();
    EXPECT_EQ(target.values(), values);
  });
}

TEST_F(DeviceRuntime, TheRingRefusesPiecesThatDoNotFit) {
  cuda::StagingRing ring(1024, 3);
  EXPECT_NO_THROW(ring.take(1024));
  EXPECT_THROW(ring.take(1025), Error);
  EXPECT_THROW(ring.take(0), Error);
  EXPECT_THROW(cuda::StagingRing(1000, 3), Error);
  EXPECT_THROW(cuda::StagingRing(1024, 2), Error);
}

TEST_F(DeviceRuntime, TheSourceOfACopyMayBeOverwrittenAtOnce) {
  for_each_seed([] {
    const auto stream = open();
    std::vector<float> values = counting(700);
    std::vector<Tensor> tensors;
    for (int i = 0; i < 20; ++i) {
      std::fill(values.begin(), values.end(), static_cast<float>(i));
      tensors.push_back(Tensor::from_host<float>(*stream, values, {700}));
    }
    for (int i = 0; i < 20; ++i) {
      EXPECT_THAT(tensors[static_cast<size_t>(i)].to_host<float>(*stream), Each(static_cast<float>(i)));
    }
  });
}

TEST_F(DeviceRuntime, LargeCopiesGoInPieces) {
  const auto stream = open();
  const std::vector<float> values = counting((5 << 20) + 123);  // 20 MiB: more than the ring
  const Tensor x = Tensor::from_host<float>(*stream, values, {static_cast<int64_t>(values.size())});
  EXPECT_EQ(x.to_host<float>(*stream), values);
}

TEST_F(DeviceRuntime, ManySmallCopiesDoNotPileUp) {
  const auto stream = open();
  const Tensor x = Tensor::zeros(*stream, {1}, DType::float32);
  for (int i = 0; i < 1000; ++i) {
    const auto value = static_cast<float>(i);
    stream->copy_from_host(x.raw(), &value, sizeof(value));
  }
  EXPECT_LT(emulated::queued_operations(), 1000);
  EXPECT_EQ(x.to_host<float>(*stream)[0], 999.0F);
}

// ---- memory

TEST_F(DeviceRuntime, AFreedBlockServesLaterWorkOfTheStream) {
  for_each_seed([] {
    const auto stream = open();
    Tensor x = Tensor::from_host<float>(*stream, counting(512), {512});
    const void* block = x.raw();
    const Tensor copy = x.clone(*stream);  // queued, not done, when the block is freed
    x = Tensor();
    const Tensor next = Tensor::zeros(*stream, {512}, DType::float32);
    EXPECT_EQ(next.raw(), block);
    EXPECT_EQ(copy.to_host<float>(*stream), counting(512));
    EXPECT_THAT(next.to_host<float>(*stream), Each(0.0F));
  });
}

TEST_F(DeviceRuntime, CachedBlocksAreGivenBackBeforeMemoryIsShort) {
  const auto stream = open();
  { const Tensor freed = Tensor::zeros(*stream, {1 << 20}, DType::float32); }
  EXPECT_GE(stream->allocator()->stats().cached_bytes, 4 << 20);
  emulated::fail_allocation(1);
  const Tensor x = Tensor::zeros(*stream, {2 << 20}, DType::float32);
  EXPECT_EQ(stream->allocator()->stats().cached_bytes, 0);
  EXPECT_THAT(x.narrow(0, 0, 10).to_host<float>(*stream), Each(0.0F));
}

TEST_F(DeviceRuntime, WorkIsWaitedForBeforeItsMemoryGoesBack) {
  for_each_seed([] {
    const auto stream = open();
    const Tensor kept = Tensor::empty(*stream, {256}, DType::float32);
    {
      const Tensor x = Tensor::from_host<float>(*stream, counting(256), {256});
      kept.copy_from(*stream, x);
    }
    stream->allocator()->release_cached();
    EXPECT_EQ(kept.to_host<float>(*stream), counting(256));
    EXPECT_EQ(emulated::fault(), "");
  });
}

TEST_F(DeviceRuntime, TheErrorForWantOfMemorySaysWhoHoldsIt) {
  const auto stream = open();
  const auto hold = [&](MemoryTag tag, int64_t mebibytes) {
    const MemoryScope scope(*stream->allocator(), tag);
    return Tensor::empty(*stream, {mebibytes << 20}, DType::uint8);
  };
  const Tensor weights = hold(MemoryTag::weights, 32);
  const Tensor states = hold(MemoryTag::optimizer, 64);
  const std::string text = error_of([&] { hold(MemoryTag::activations, 1000); });
  EXPECT_THAT(text, AllOf(HasSubstr("cuda:0"), HasSubstr("1000.0 MiB (activations)"), HasSubstr("weights 32 MiB"),
                          HasSubstr("optimizer 64 MiB"), HasSubstr("MiB of the GPU are free"), HasSubstr("sgd")));
}

// ---- recorded work

TEST_F(DeviceRuntime, AReplayRepeatsItsWork) {
  for_each_seed([] {
    const auto stream = open();
    const Tensor x = Tensor::from_host<float>(*stream, counting(300), {300});
    Tensor last;
    Replay replay(*stream, [&] {
      twice(*stream, x);
      last = x.clone(*stream);  // memory of the recording
    });
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(replay.recorded(), i >= 2);
      replay.run();
      // Work between the runs must not get the recording's memory.
      const Tensor other = Tensor::zeros(*stream, {300}, DType::float32);
      EXPECT_EQ(last.to_host<float>(*stream)[299], 300.0F * static_cast<float>(2 << i));
      EXPECT_THAT(other.to_host<float>(*stream), Each(0.0F));
    }
    EXPECT_EQ(x.to_host<float>(*stream)[0], 64.0F);
  });
}

TEST_F(DeviceRuntime, ARecordingReadsWhatItsInputsHoldThen) {
  const auto stream = open();
  const Tensor input = Tensor::zeros(*stream, {64}, DType::float32);
  Tensor output;
  Replay replay(*stream, [&] {
    output = input.clone(*stream);
    twice(*stream, output);
  });
  for (int i = 0; i < 4; ++i) {
    const std::vector<float> values(64, static_cast<float>(i));
    stream->copy_from_host(input.raw(), values.data(), input.bytes());
    replay.run();
    EXPECT_THAT(output.to_host<float>(*stream), Each(static_cast<float>(2 * i)));
  }
}

TEST_F(DeviceRuntime, CopiesFromTheHostCannotBeRecorded) {
  const auto stream = open();
  const Tensor x = Tensor::zeros(*stream, {4}, DType::float32);
  const auto refused = [&](const std::function<void()>& work) {
    Replay replay(*stream, work);
    replay.run();
    return error_of([&] { replay.run(); });
  };
  const std::vector<float> values(4, 1.0F);
  EXPECT_THAT(refused([&] { stream->copy_from_host(x.raw(), values.data(), x.bytes()); }),
              HasSubstr("cannot be recorded"));
  EXPECT_THAT(refused([&] { x.to_host<float>(*stream); }), HasSubstr("cannot be recorded"));
  EXPECT_THAT(refused([&] { stream->synchronize(); }), HasSubstr("cannot be recorded"));
  EXPECT_THAT(x.to_host<float>(*stream), Each(1.0F));  // the stream works on
}

TEST_F(DeviceRuntime, EventsTellTheTimeBetweenThem) {
  const auto stream = open();
  const ActiveGpu active(*stream);
  cuda::Event begin(cuda::EventTiming::on);
  cuda::Event end(cuda::EventTiming::on);
  CUstream_st* raw = stream->context<kernels::Cuda>().stream;
  begin.record(raw);
  Tensor::zeros(*stream, {1024}, DType::float32);
  end.record(raw);
  end.wait();
  EXPECT_TRUE(begin.done());
  EXPECT_GE(cuda::seconds_between(begin, end), 0.0);
}

// ---- tensors

TEST_F(DeviceRuntime, ConversionsEqualThoseOfTheCpu) {
  const auto cpu = Stream::open(Device{}, 1);
  const auto stream = open();
  std::vector<float> values = counting(999);
  for (float& value : values) value = 1.0F / value - 0.25F;
  for (const DType from : {DType::float32, DType::bfloat16, DType::float16, DType::float64}) {
    const Tensor source = Tensor::from_host<float>(*cpu, values, {27, 37}).to(*cpu, from);
    for (const DType to : {DType::float32, DType::bfloat16, DType::float16, DType::float64}) {
      const std::vector<double> expected = source.to(*cpu, to).to_host<double>(*cpu);
      EXPECT_EQ(source.to(*stream, to).to_host<double>(*stream), expected) << "from the host";
      EXPECT_EQ(source.to(*stream, from).to(*stream, to).to_host<double>(*stream), expected) << "on the device";
      EXPECT_EQ(source.to(*stream, from).to_cpu(*stream, to).to_host<double>(*cpu), expected) << "to the host";
    }
  }
}

TEST_F(DeviceRuntime, LargeUploadsAreConvertedInParts) {
  const auto cpu = Stream::open(Device{}, 1);
  const auto stream = open();
  std::vector<float> values = counting((1 << 20) + 77);
  const Tensor source = Tensor::from_host<float>(*cpu, values, {static_cast<int64_t>(values.size())});
  const int64_t reserved = stream->allocator()->stats().reserved_bytes;
  const Tensor x = source.to(*stream, DType::bfloat16);
  EXPECT_EQ(x.to_host<float>(*stream), source.to(*cpu, DType::bfloat16).to_host<float>(*cpu));
  EXPECT_LT(stream->allocator()->stats().reserved_bytes - reserved, 8 << 20);
}

TEST_F(DeviceRuntime, ViewsAreCopiedBetweenAllLayouts) {
  const auto cpu = Stream::open(Device{}, 1);
  const auto stream = open();
  const Tensor host = Tensor::from_host<float>(*cpu, counting(24 * 40), {24, 40});
  const Tensor device = host.to(*stream, DType::float32);
  struct View {
    Tensor host, device;
  };
  const View views[] = {{host.narrow(1, 3, 9), device.narrow(1, 3, 9)},
                        {host.narrow(1, 8, 16), device.narrow(1, 8, 16)},
                        {host.transpose(), device.transpose()},
                        {host.narrow(0, 5, 7).transpose(), device.narrow(0, 5, 7).transpose()},
                        {host.view({4, 6, 40}).narrow(1, 1, 3), device.view({4, 6, 40}).narrow(1, 1, 3)}};
  for (const View& view : views) {
    const std::vector<float> expected = view.host.to_host<float>(*cpu);
    EXPECT_EQ(view.device.to_host<float>(*stream), expected);
    EXPECT_EQ(view.host.to(*stream, DType::float32).to_host<float>(*stream), expected) << "a view of the host";
    EXPECT_EQ(view.device.to(*stream, DType::float64).to_host<float>(*stream), expected) << "converted";
    const Tensor target = device.clone(*stream);
    const Tensor part = target.narrow(0, 1, view.host.size(0) > 20 ? 1 : 2);
    part.copy_from(*stream, device.narrow(0, 9, part.size(0)));
    EXPECT_EQ(part.to_host<float>(*stream), host.narrow(0, 9, part.size(0)).to_host<float>(*cpu));
  }
  const Tensor target = Tensor::zeros(*stream, {40, 24}, DType::bfloat16);
  target.transpose().copy_from(*stream, host);  // a host source into a strided, narrower target
  EXPECT_EQ(target.transpose().to_host<float>(*stream), host.to(*cpu, DType::bfloat16).to_host<float>(*cpu));
}

TEST_F(DeviceRuntime, WhatTheDeviceCannotConvertIsAnError) {
  const auto stream = open();
  const Tensor ids = Tensor::zeros(*stream, {4}, DType::int32);
  EXPECT_THAT(error_of([&] { ids.to(*stream, DType::float32); }), HasSubstr("between floating-point types"));
  EXPECT_EQ(ids.to_host<int64_t>(*stream), std::vector<int64_t>(4, 0));  // on the host it can
  EXPECT_THAT(error_of([&] { ids.values<int32_t>(); }), HasSubstr("host memory"));
}

}  // namespace
}  // namespace subspect::runtime
