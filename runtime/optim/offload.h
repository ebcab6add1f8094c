// State of an optimizer that lives in pinned host memory. It passes through two windows of device memory: while what is
// in one is updated, the other's results go back to the host and its next contents come.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/optimizer.h"
#include "runtime/gpu_queue.h"
#include "runtime/tensor.h"

namespace subspect::runtime::optim {

/// Batches of records (kernels/optimizer.h) whose state has its turn in a window. They are described once:
///
///     state.plan(OffloadedState::window_bytes(bytes of all state, number of its tensors));
///     state.begin(bytes);                          // of the record's state
///     record.weights = state.place(master, 0, n);  // where the elements are when the record's batch is updated
///     state.add(record);
///
/// and updated as often as wanted.
class OffloadedState {
 public:
  static constexpr int64_t windows = 2;
  static constexpr int64_t largest_window_bytes = int64_t{128} << 20;
  /// Most elements of one record: a float32 copy and two moments of so many fit the largest window.
  static constexpr int64_t piece_elements = int64_t{8} << 20;

  /// Of a window that state of so many bytes in so many tensors passes through: no larger than all of it.
  static int64_t window_bytes(int64_t state_bytes, int64_t tensors);

  /// Throws Error where the stream is not a GPU's.
  explicit OffloadedState(Stream& stream);
  ~OffloadedState();
  OffloadedState(const OffloadedState&) = delete;
  OffloadedState& operator=(const OffloadedState&) = delete;

  /// Zeros in pinned host memory.
  Tensor zeros(Shape shape, DType dtype) const;

  /// Forgets all records, and makes windows of this size.
  void plan(int64_t window_bytes);
  /// A record whose state takes so many bytes comes next.
  void begin(int64_t bytes);
  /// Elements [first, first + count) of `state` (flat), in a window.
  std::byte* place(const Tensor& state, int64_t first, int64_t count);
  void add(const kernels::OptimizerTensor& record);

  /// Brings every batch to the device, calls `update` with its records, which queues work on the stream, and takes it
  /// back. All is queued; nothing waits.
  void run(const std::function<void(const kernels::TensorList& list)>& update);

  /// Returns when the host's memory holds what the last `run` made.
  void wait() const;

 private:
  struct Passage {
    void* host;
    void* device;
    int64_t bytes;
  };
  struct Batch {
    std::vector<Passage> passages;
    std::vector<kernels::OptimizerTensor> records;
    Tensor device_records, device_chunks;
    int64_t chunks = 0;
  };

  void send_lists();

  Stream& stream_;
  std::array<std::unique_ptr<SideQueue>, windows> sides_;  // one per window: its copies are ordered by their queue
  std::array<Tensor, windows> memory_;
  int64_t window_bytes_ = 0;
  std::vector<Batch> batches_;
  int64_t used_ = 0;  // bytes of the last batch's window
};

}  // namespace subspect::runtime::optim
