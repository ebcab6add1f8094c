// Stream capture and graphs of the stand-in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/simt/cuda/support.h"

namespace emulated::test {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

constexpr int64_t count = 40;

class Graphs : public EmulatedCase {
 protected:
  /// What `work` queues on the stream, as a graph.
  static cudaGraph_t capture(const TestStream& stream, const std::function<void()>& work) {
    cudaGraph_t graph = nullptr;
    EXPECT_CUDA(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeRelaxed));
    work();
    EXPECT_CUDA(cudaStreamEndCapture(stream.get(), &graph));
    return graph;
  }

  static cudaGraphExec_t instantiate(cudaGraph_t graph) {
    cudaGraphExec_t executable = nullptr;
    EXPECT_CUDA(cudaGraphInstantiate(&executable, graph, 0));
    EXPECT_CUDA(cudaGraphDestroy(graph));
    return executable;
  }
};

TEST_F(Graphs, ReplaysReadMemoryAnew) {
  const TestStream stream;
  const DeviceArray<float> x(count);
  stream.fill(x.data(), 1, count);
  cudaGraphExec_t twice = instantiate(capture(stream, [&] { stream.scale(x.data(), 2, x.data(), count); }));
  EXPECT_THAT(x.values(), Each(1.0F)) << "capturing runs nothing";
  for (int i = 0; i < 3; ++i) ASSERT_CUDA(cudaGraphLaunch(twice, stream.get()));
  EXPECT_CUDA(cudaGraphExecDestroy(twice));
  EXPECT_THAT(x.values(), Each(8.0F)) << "and launches that are queued outlive their graph";
}

TEST_F(Graphs, PageableSourcesAreReadAtEveryLaunch) {
  const TestStream stream;
  const DeviceArray<float> x(1);
  float value = 1;
  cudaGraphExec_t upload = instantiate(capture(stream, [&] {
    EXPECT_CUDA(cudaMemcpyAsync(x.data(), &value, sizeof(value), cudaMemcpyHostToDevice, stream.get()));
  }));
  value = 7;
  ASSERT_CUDA(cudaGraphLaunch(upload, stream.get()));
  EXPECT_EQ(x.values()[0], 7);
  EXPECT_CUDA(cudaGraphExecDestroy(upload));
}

TEST_F(Graphs, BranchesForkAndJoin) {
  for_each_seed([] {
    const TestStream trunk, branch;
    const TestEvent fork, join;
    const DeviceArray<float> x(count), y(count), z(count);
    cudaGraphExec_t graph = instantiate(capture(trunk, [&] {
      trunk.fill(x.data(), 3, count);
      EXPECT_CUDA(cudaEventRecord(fork.get(), trunk.get()));
      EXPECT_CUDA(cudaStreamWaitEvent(branch.get(), fork.get(), 0));
      branch.scale(x.data(), 2, y.data(), count);
      trunk.scale(x.data(), 5, z.data(), count);
      EXPECT_CUDA(cudaEventRecord(join.get(), branch.get()));
      EXPECT_CUDA(cudaStreamWaitEvent(trunk.get(), join.get(), 0));
      trunk.scale(y.data(), 10, x.data(), count);
    }));
    ASSERT_CUDA(cudaGraphLaunch(graph, trunk.get()));
    EXPECT_THAT(x.values(), Each(60.0F));
    EXPECT_THAT(z.values(), Each(15.0F));
    EXPECT_CUDA(cudaGraphExecDestroy(graph));
  });
}

TEST_F(Graphs, BranchesThatShareMemoryWithoutOrderAreReported) {
  for_each_seed([] {
    const TestStream trunk, branch;
    const TestEvent fork, join;
    const DeviceArray<float> x(count);
    cudaGraphExec_t graph = instantiate(capture(trunk, [&] {
      EXPECT_CUDA(cudaEventRecord(fork.get(), trunk.get()));
      EXPECT_CUDA(cudaStreamWaitEvent(branch.get(), fork.get(), 0));
      branch.fill(x.data(), 1, count);
      trunk.fill(x.data(), 2, count);
      EXPECT_CUDA(cudaEventRecord(join.get(), branch.get()));
      EXPECT_CUDA(cudaStreamWaitEvent(trunk.get(), join.get(), 0));
    }));
    ASSERT_CUDA(cudaGraphLaunch(graph, trunk.get()));
    EXPECT_EQ(cudaStreamSynchronize(trunk.get()), cudaErrorLaunchFailure);
    EXPECT_THAT(fault(), HasSubstr("data race"));
    reset();
    EXPECT_CUDA(cudaGraphExecDestroy(graph));
  });
}

TEST_F(Graphs, ABranchThatIsNotJoinedIsRefused) {
  const TestStream trunk, branch;
  const TestEvent fork;
  const DeviceArray<float> x(count);
  ASSERT_CUDA(cudaStreamBeginCapture(trunk.get(), cudaStreamCaptureModeRelaxed));
  trunk.fill(x.data(), 1, count);
  ASSERT_CUDA(cudaEventRecord(fork.get(), trunk.get()));
  ASSERT_CUDA(cudaStreamWaitEvent(branch.get(), fork.get(), 0));
  branch.fill(x.data(), 2, count);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(trunk.get(), &graph), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(graph, nullptr);
}

TEST_F(Graphs, WaitingEndsACapture) {
  const TestStream stream;
  cudaGraph_t graph = nullptr;
  ASSERT_CUDA(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeRelaxed));
  cudaStreamCaptureStatus status{};
  EXPECT_CUDA(cudaStreamIsCapturing(stream.get(), &status));
  EXPECT_EQ(status, cudaStreamCaptureStatusActive);
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaErrorStreamCaptureUnsupported);
  EXPECT_CUDA(cudaStreamIsCapturing(stream.get(), &status));
  EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated);
  EXPECT_EQ(cudaStreamEndCapture(stream.get(), &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_CUDA(cudaStreamSynchronize(stream.get()));
}

TEST_F(Graphs, AllocationsWantTheRelaxedMode) {
  const TestStream stream;
  cudaGraph_t graph = nullptr;
  void* memory = nullptr;
  ASSERT_CUDA(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeGlobal));
  EXPECT_EQ(cudaMalloc(&memory, 16), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamEndCapture(stream.get(), &graph), cudaErrorStreamCaptureInvalidated);
  ASSERT_CUDA(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeRelaxed));
  EXPECT_CUDA(cudaMalloc(&memory, 16));
  EXPECT_CUDA(cudaStreamEndCapture(stream.get(), &graph));
  EXPECT_CUDA(cudaGraphDestroy(graph));
  EXPECT_CUDA(cudaFree(memory));
}

TEST_F(Graphs, TheDefaultStreamMayNotDisturbACapture) {
  const TestStream blocking(cudaStreamDefault);
  const DeviceArray<float> x(count);
  cudaGraph_t graph = nullptr;
  ASSERT_CUDA(cudaStreamBeginCapture(blocking.get(), cudaStreamCaptureModeGlobal));
  EXPECT_EQ(cudaMemsetAsync(x.data(), 0, 4, nullptr), cudaErrorStreamCaptureImplicit);
  EXPECT_EQ(cudaStreamEndCapture(blocking.get(), &graph), cudaErrorStreamCaptureInvalidated);
}

}  // namespace
}  // namespace emulated::test
