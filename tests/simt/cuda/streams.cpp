// Streams and events.
#include <algorithm>
#include <utility>

#include "tests/simt/cuda/internal.h"

namespace emulated {

namespace {

cudaError_t create_stream(cudaStream_t* stream, unsigned flags) {
  if (flags != cudaStreamDefault && flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
  auto created = std::make_unique<CUstream_st>();
  created->index = device().stream_count++;
  created->blocking = flags == cudaStreamDefault;
  *stream = created.get();
  device().streams.push_back(std::move(created));
  return cudaSuccess;
}

bool is_event(cudaEvent_t event) {
  return device().events.contains(event);
}

cudaError_t create_event(cudaEvent_t* event, unsigned flags) {
  if ((flags & ~(cudaEventBlockingSync | cudaEventDisableTiming)) != 0) return cudaErrorInvalidValue;
  auto* created = new CUevent_st;
  created->timing = (flags & cudaEventDisableTiming) == 0;
  device().events.insert(created);
  *event = created;
  return cudaSuccess;
}

cudaError_t record_event(cudaEvent_t event, cudaStream_t handle) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  if (!is_event(event)) return refuse(cudaErrorInvalidResourceHandle, "no such event");
  event->capture = stream->capture;
  event->nodes = stream->tail;
  event->recorded = is_capturing(stream) ? nullptr : enqueue(stream, "event", {});
  return cudaSuccess;
}

cudaError_t wait_for_event(cudaStream_t handle, cudaEvent_t event, unsigned flags) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  if (!is_event(event)) return refuse(cudaErrorInvalidResourceHandle, "no such event");
  if (flags != cudaEventWaitDefault) return cudaErrorInvalidValue;
  if (event->capture != nullptr) {
    if (!is_under_way(event->capture)) return refuse(cudaErrorCapturedEvent, "the event belongs to an ended capture");
    if (stream->capture != nullptr && stream->capture != event->capture) {
      return refuse_in_capture(*stream->capture, "waiting for an event of another capture");
    }
    if (stream->capture == nullptr) {
      stream->capture = event->capture;
      stream->capture->members.push_back(stream);
    }
    for (const size_t node : event->nodes) {
      if (std::find(stream->tail.begin(), stream->tail.end(), node) == stream->tail.end()) stream->tail.push_back(node);
    }
    return cudaSuccess;
  }
  if (is_capturing(stream)) {
    stream->capture->invalid = true;
    return refuse(cudaErrorStreamCaptureIsolation, "a captured stream waits for an event that was not captured");
  }
  if (event->recorded == nullptr) return cudaSuccess;  // never recorded: as if it were complete
  join(stream->clock, event->recorded->clock);
  const auto wait = enqueue(stream, "wait for event", {});
  if (!event->recorded->done) wait->after.push_back(event->recorded);
  return cudaSuccess;
}

/// Answers a query: makes some progress, so that loops end.
cudaError_t query(const std::shared_ptr<Operation>& operation) {
  if (operation == nullptr) return cudaSuccess;
  if (!operation->done) run_one_for(*operation);
  if (!device().fault.empty()) return cudaErrorLaunchFailure;
  if (!operation->done) return cudaErrorNotReady;
  join(device().host_clock, operation->clock);
  return cudaSuccess;
}

cudaError_t wait(const std::shared_ptr<Operation>& operation) {
  if (operation != nullptr) run_until(operation);
  return device().fault.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t elapsed(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (!is_event(start) || !is_event(end) || !start->timing || !end->timing || start->recorded == nullptr ||
      end->recorded == nullptr) {
    return refuse(cudaErrorInvalidResourceHandle, "an event that was not recorded, or not with timing");
  }
  if (!start->recorded->done || !end->recorded->done) return cudaErrorNotReady;
  // A microsecond for each operation: what is chosen by time is then chosen alike in every run.
  *milliseconds = (static_cast<float>(end->recorded->finished) - static_cast<float>(start->recorded->finished)) / 1000;
  return cudaSuccess;
}

}  // namespace

}  // namespace emulated

using namespace emulated;

EMULATED_ENTRY(cudaStreamCreate);
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return runtime_call("cudaStreamCreate", [&] { return create_stream(stream, cudaStreamDefault); });
}

EMULATED_ENTRY(cudaStreamCreateWithFlags);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return runtime_call("cudaStreamCreateWithFlags", [&] { return create_stream(stream, flags); });
}

EMULATED_ENTRY(cudaStreamCreateWithPriority);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int /*priority*/) {
  return runtime_call("cudaStreamCreateWithPriority", [&] { return create_stream(stream, flags); });
}

EMULATED_ENTRY(cudaStreamDestroy);
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return runtime_call("cudaStreamDestroy", [&] {
    CUstream_st* stream = find_stream(handle);
    if (stream == nullptr || stream == device().default_stream.get()) return cudaErrorInvalidResourceHandle;
    if (is_capturing(stream)) return refuse_in_capture(*stream->capture, "cudaStreamDestroy");
    stream->destroyed = true;
    forget_finished_streams();
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaStreamSynchronize);
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return runtime_call("cudaStreamSynchronize", [&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
    if (is_capturing(stream)) return refuse_in_capture(*stream->capture, "cudaStreamSynchronize");
    return wait(stream->last);
  });
}

EMULATED_ENTRY(cudaStreamQuery);
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return runtime_call("cudaStreamQuery", [&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
    if (is_capturing(stream)) return refuse_in_capture(*stream->capture, "cudaStreamQuery");
    return query(stream->last);
  });
}

EMULATED_ENTRY(cudaStreamWaitEvent);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return runtime_call("cudaStreamWaitEvent", [&] { return wait_for_event(stream, event, flags); });
}

EMULATED_ENTRY(cudaLaunchHostFunc);
cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return runtime_call("cudaLaunchHostFunc", [&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
    enqueue(stream, "host function", [function, data] {
      const HostCode host;
      function(data);
    });
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaEventCreate);
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return runtime_call("cudaEventCreate", [&] { return create_event(event, cudaEventDefault); });
}

EMULATED_ENTRY(cudaEventCreateWithFlags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return runtime_call("cudaEventCreateWithFlags", [&] { return create_event(event, flags); });
}

EMULATED_ENTRY(cudaEventDestroy);
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return runtime_call("cudaEventDestroy", [&] {
    if (device().events.erase(event) == 0) return cudaErrorInvalidResourceHandle;
    delete event;
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaEventRecord);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return runtime_call("cudaEventRecord", [&] { return record_event(event, stream); });
}

EMULATED_ENTRY(cudaEventQuery);
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return runtime_call("cudaEventQuery", [&] {
    if (!is_event(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) return refuse_in_capture(*event->capture, "cudaEventQuery");
    return query(event->recorded);
  });
}

EMULATED_ENTRY(cudaEventSynchronize);
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return runtime_call("cudaEventSynchronize", [&] {
    if (!is_event(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) return refuse_in_capture(*event->capture, "cudaEventSynchronize");
    return wait(event->recorded);
  });
}

EMULATED_ENTRY(cudaEventElapsedTime);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return runtime_call("cudaEventElapsedTime", [&] { return elapsed(milliseconds, start, end); });
}
