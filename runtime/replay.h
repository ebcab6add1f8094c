// Work of fixed shapes that is done again and again: on a GPU it is recorded once and then launched as a whole, which
// costs the host one call instead of one for each kernel.
#pragma once

#include <functional>
#include <memory>

#include "runtime/device.h"

namespace subspect::runtime {

class RecordedWork;

/// Runs one function repeatedly. On the CPU it is called each time. On a GPU it is called the first time, recorded the
/// second time, and what was recorded is launched from then on: so it must queue the same kernels on the same memory
/// every time. What differs from run to run lies in tensors that live outside of it and are overwritten between runs.
/// The stream outlives the object. The function must not copy from or to the host, nor wait for the stream; that is an
/// Error when it is recorded.
///
/// Tensors that the function makes come from memory of this object, which is kept as long as it lives, or they do:
/// those that the caller keeps are overwritten by the next run.
class Replay {
 public:
  Replay(Stream& stream, std::function<void()> work);
  ~Replay();
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  void run();

  /// Whether the next run launches a recording.
  bool recorded() const { return recording_ != nullptr; }

 private:
  void record();

  Stream& stream_;
  std::function<void()> work_;
  bool warm_ = false;
  std::shared_ptr<Allocator> memory_;
  std::unique_ptr<RecordedWork> recording_;
};

}  // namespace subspect::runtime
