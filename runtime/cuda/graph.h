// CUDA graphs: what a function queues on a stream, recorded once and launched as a whole.
#pragma once

#include <functional>

#include "runtime/cuda/handles.h"
#include "runtime/gpu_queue.h"

namespace subspect::runtime::cuda {

/// A recorded graph. The addresses that its kernels use are fixed at recording: the caller keeps that memory.
class Graph final : public RecordedWork {
 public:
  /// Records what `work` queues on the stream. `recording` is true while it runs.
  Graph(std::shared_ptr<StreamHandle> stream, bool& recording, const std::function<void()>& work);
  ~Graph() override;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch() override;

 private:
  cudaGraph_t capture(const std::function<void()>& work);

  std::shared_ptr<StreamHandle> stream_;
  bool& recording_;
  cudaGraphExec_t instance_ = nullptr;
};

}  // namespace subspect::runtime::cuda
