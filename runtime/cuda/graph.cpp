// Capturing and instantiating CUDA graphs.
#include "runtime/cuda/graph.h"

#include <memory>
#include <type_traits>
#include <utility>

#include "runtime/error.h"

namespace subspect::runtime::cuda {

namespace {

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { static_cast<void>(cudaGraphDestroy(graph)); }
};
using GraphOwner = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, DestroyGraph>;

}  // namespace

Graph::Graph(std::shared_ptr<StreamHandle> stream, bool& recording, const std::function<void()>& work)
    : stream_(std::move(stream)), recording_(recording) {
  const DeviceGuard guard(stream_->device());
  const GraphOwner graph(capture(work));
  check(cudaGraphInstantiate(&instance_, graph.get(), 0), "cudaGraphInstantiate");
}

Graph::~Graph() {
  static_cast<void>(cudaGraphExecDestroy(instance_));  // a launch under way completes first
}

// Blocks may be allocated while recording, which only the relaxed mode allows. A failed recording leaves the stream as
// it was before.
cudaGraph_t Graph::capture(const std::function<void()>& work) {
  require(!recording_, "Graph", "a recording must end before the next begins.");
  check(cudaStreamBeginCapture(stream_->get(), cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
  cudaGraph_t graph = nullptr;
  recording_ = true;
  try {
    work();
  } catch (...) {
    recording_ = false;
    static_cast<void>(cudaStreamEndCapture(stream_->get(), &graph));
    static_cast<void>(cudaGetLastError());
    if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    throw;
  }
  recording_ = false;
  check(cudaStreamEndCapture(stream_->get(), &graph), "cudaStreamEndCapture");
  return graph;
}

void Graph::launch() {
  const DeviceGuard guard(stream_->device());
  check(cudaGraphLaunch(instance_, stream_->get()), "cudaGraphLaunch");
}

}  // namespace subspect::runtime::cuda
