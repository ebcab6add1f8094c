// Graphs: captures, and nodes that run in any order which their dependencies allow.
#include <algorithm>
#include <utility>

#include "tests/simt/cuda/internal.h"

namespace emulated {

namespace {

/// For each node, which nodes come before it.
std::vector<std::vector<bool>> ancestors(const std::vector<Node>& nodes) {
  std::vector<std::vector<bool>> before(nodes.size(), std::vector<bool>(nodes.size(), false));
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (const size_t parent : nodes[i].after) {
      before[i][parent] = true;
      for (size_t j = 0; j < parent; ++j) {
        if (before[parent][j]) before[i][j] = true;
      }
    }
  }
  return before;
}

/// Runs the nodes in a seeded order that respects their dependencies.
void run_graph(const std::vector<Node>& nodes) {
  const auto before = ancestors(nodes);
  const Work work = device().works.back();
  const auto first = static_cast<uint32_t>(device().works.size());
  device().works.insert(device().works.end(), nodes.size(), work);
  std::vector<bool> done(nodes.size(), false);
  for (size_t count = 0; count < nodes.size(); ++count) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const auto& after = nodes[i].after;
      if (!done[i] && std::all_of(after.begin(), after.end(), [&](size_t j) { return done[j]; })) ready.push_back(i);
    }
    const size_t next = ready[device().random() % ready.size()];
    device().first_node_work = first;
    device().before_node = &before[next];
    simt::begin_work(first + static_cast<uint32_t>(next));
    try {
      if (nodes[next].run) nodes[next].run();
    } catch (...) {
      device().before_node = nullptr;
      throw;
    }
    done[next] = true;
  }
  device().before_node = nullptr;
}

/// A node that no other follows and that the capture's origin has not joined.
bool has_unjoined_branch(const Capture& capture) {
  std::vector<bool> followed(capture.nodes.size(), false);
  for (const Node& node : capture.nodes) {
    for (const size_t parent : node.after) followed[parent] = true;
  }
  for (const size_t node : capture.origin->tail) followed[node] = true;
  return std::find(followed.begin(), followed.end(), false) != followed.end();
}

void end_capture(const std::shared_ptr<Capture>& capture) {
  for (CUstream_st* stream : capture->members) {
    stream->capture = nullptr;
    stream->tail.clear();
  }
  std::erase(device().captures, capture);
}

cudaError_t begin_capture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  CUstream_st* stream = find_stream(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream == device().default_stream.get()) return refuse(cudaErrorStreamCaptureUnsupported, "the default stream");
  if (is_capturing(stream)) return refuse(cudaErrorIllegalState, "the stream captures already");
  auto capture = std::make_shared<Capture>();
  capture->origin = stream;
  capture->mode = mode;
  capture->members = {stream};
  stream->capture = capture;
  stream->tail.clear();
  device().captures.push_back(std::move(capture));
  return cudaSuccess;
}

cudaError_t finish_capture(cudaStream_t handle, cudaGraph_t* graph) {
  CUstream_st* stream = find_stream(handle);
  *graph = nullptr;
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (!is_capturing(stream)) return refuse(cudaErrorIllegalState, "the stream captures nothing");
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin != stream) return refuse(cudaErrorStreamCaptureUnmatched, "the capture began in another stream");
  const bool unjoined = has_unjoined_branch(*capture);
  end_capture(capture);
  if (capture->invalid) return refuse(cudaErrorStreamCaptureInvalidated, "an earlier call ended the capture");
  if (unjoined) return refuse(cudaErrorStreamCaptureUnjoined, "another stream's work was not joined");
  *graph = new CUgraph_st{std::move(capture->nodes)};
  return cudaSuccess;
}

cudaError_t launch_graph(cudaGraphExec_t executable, cudaStream_t handle) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  enqueue(stream, "graph", [nodes = executable->nodes] { run_graph(nodes); });
  return cudaSuccess;
}

}  // namespace

void capture_node(CUstream_st* stream, std::string name, std::function<void()> run) {
  Capture& capture = *stream->capture;
  capture.nodes.push_back({std::move(name), std::move(run), stream->tail});
  stream->tail = {capture.nodes.size() - 1};
}

cudaError_t refuse_in_capture(Capture& capture, const char* what) {
  capture.invalid = true;
  return refuse(cudaErrorStreamCaptureUnsupported, std::string(what) + " during a capture");
}

bool is_under_way(const std::shared_ptr<Capture>& capture) {
  return std::find(device().captures.begin(), device().captures.end(), capture) != device().captures.end();
}

bool is_capturing(const CUstream_st* stream) {
  return stream->capture != nullptr;
}

bool forbidden_by_capture() {
  bool forbidden = false;
  for (const auto& capture : device().captures) {
    if (capture->mode == cudaStreamCaptureModeRelaxed) continue;
    capture->invalid = true;
    forbidden = true;
  }
  return forbidden;
}

}  // namespace emulated

using namespace emulated;

EMULATED_ENTRY(cudaStreamBeginCapture);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return runtime_call("cudaStreamBeginCapture", [&] { return begin_capture(stream, mode); });
}

EMULATED_ENTRY(cudaStreamEndCapture);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return runtime_call("cudaStreamEndCapture", [&] { return finish_capture(stream, graph); });
}

EMULATED_ENTRY(cudaStreamIsCapturing);
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return runtime_call("cudaStreamIsCapturing", [&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
    *status = !is_capturing(stream)      ? cudaStreamCaptureStatusNone
              : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaGraphInstantiate);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  return runtime_call("cudaGraphInstantiate", [&] {
    if (graph == nullptr || flags != 0) return cudaErrorInvalidValue;
    *executable = new CUgraphExec_st{graph->nodes};
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaGraphLaunch);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return runtime_call("cudaGraphLaunch", [&] { return launch_graph(executable, stream); });
}

EMULATED_ENTRY(cudaGraphDestroy);
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return runtime_call("cudaGraphDestroy", [&] {
    delete graph;
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaGraphExecDestroy);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return runtime_call("cudaGraphExecDestroy", [&] {
    delete executable;
    return cudaSuccess;
  });
}
