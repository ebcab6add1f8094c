// Events: marks in a stream, to wait for and to measure the time between.
#pragma once

#include <utility>

#include "runtime/cuda/handles.h"

namespace subspect::runtime::cuda {

enum class EventTiming : uint8_t { off, on };

/// A mark in a stream of the device that is current when it is made. Without timing, recording costs least.
class Event {
 public:
  explicit Event(EventTiming timing = EventTiming::off) {
    check(cudaEventCreateWithFlags(&event_, timing == EventTiming::on ? cudaEventDefault : cudaEventDisableTiming),
          "cudaEventCreateWithFlags");
  }
  ~Event() {
    if (event_ != nullptr) static_cast<void>(cudaEventDestroy(event_));
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// Marks the work queued on `stream` so far.
  void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  /// Returns when the marked work is done; at once when nothing was marked.
  void wait() const { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }
  /// Work queued on `stream` from now on waits for the marked work.
  void block(cudaStream_t stream) const { check(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent"); }
  /// Whether the marked work is done.
  bool done() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status != cudaErrorNotReady) check(status, "cudaEventQuery");
    return status == cudaSuccess;
  }

  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Seconds between two marks that were made with timing and are done.
inline double seconds_between(const Event& begin, const Event& end) {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "cudaEventElapsedTime");
  return static_cast<double>(milliseconds) * 1e-3;
}

}  // namespace subspect::runtime::cuda
