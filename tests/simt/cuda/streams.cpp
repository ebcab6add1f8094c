// Streams, events and graphs: queues that run as late as CUDA allows, in an order drawn from a seed. Work runs only
// when a call must wait for it; then other queues may run along.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <utility>

#include "tests/simt/cuda/internal.h"

namespace emulated {

namespace {

/// How willingly work that nobody waits for yet runs along.
enum class Eagerness : uint8_t { lazy, even, eager };

void implicit_dependencies(CUstream_st* stream, Operation& operation) {
  const auto follow = [&](const CUstream_st& other) {
    if (other.last == nullptr) return;
    if (!other.last->done) operation.after.push_back(other.last);
    join(stream->clock, other.last->clock);
  };
  if (stream == device().default_stream.get()) {
    for (const auto& other : device().streams) {
      if (other->blocking) follow(*other);
    }
  } else if (stream->blocking) {
    follow(*device().default_stream);
  }
}

void capture_node(CUstream_st* stream, std::string name, std::function<void()> run) {
  Capture& capture = *stream->capture;
  capture.nodes.push_back({std::move(name), std::move(run), stream->tail});
  stream->tail = {capture.nodes.size() - 1};
}

bool is_ready(const Operation& operation) {
  return std::all_of(operation.after.begin(), operation.after.end(), [](const auto& other) { return other->done; });
}

/// A ready operation that the target waits for, or the target.
Operation& next_needed(Operation& target) {
  Operation* at = &target;
  for (;;) {
    Operation* head = at->stream->queue.front().get();
    const auto waiting = std::find_if(head->after.begin(), head->after.end(), [](const auto& o) { return !o->done; });
    if (waiting == head->after.end()) return *head;
    at = waiting->get();
  }
}

std::vector<Operation*> ready_heads() {
  std::vector<Operation*> heads;
  const auto consider = [&](CUstream_st& stream) {
    if (!stream.queue.empty() && is_ready(*stream.queue.front())) heads.push_back(stream.queue.front().get());
  };
  consider(*device().default_stream);
  for (const auto& stream : device().streams) consider(*stream);
  return heads;
}

Operation& random_ready() {
  const std::vector<Operation*> heads = ready_heads();
  return *heads[device().random() % heads.size()];
}

void report_fault(const Operation& operation, const char* what) {
  device().fault = what;
  if (!device().fault.starts_with("simt: ")) device().fault.insert(0, operation.name + ": ");
  std::fprintf(stderr, "emulated device: %s\n", device().fault.c_str());
}

/// Takes the head of its stream off and runs it; after a fault nothing runs any more.
void run_head(Operation& head) {
  const std::shared_ptr<Operation> operation = head.stream->queue.front();
  operation->stream->queue.pop_front();
  if (operation->run && device().fault.empty()) {
    device().works.push_back({operation->stream->index, operation->position});
    device().current = operation.get();
    simt::begin_work(static_cast<uint32_t>(device().works.size() - 1));
    try {
      operation->run();
    } catch (const std::exception& error) {
      report_fault(*operation, error.what());
    }
    simt::begin_work(0);
    device().current = nullptr;
  }
  operation->done = true;
  operation->finished = ++device().operations;
  operation->run = nullptr;
  operation->after.clear();
}

void forget_finished_streams() {
  std::erase_if(device().streams, [](const auto& stream) { return stream->destroyed && stream->queue.empty(); });
}

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

/// An event or stream of a capture cannot be waited for by the host.
cudaError_t refuse_in_capture(Capture& capture, const char* what) {
  capture.invalid = true;
  return refuse(cudaErrorStreamCaptureUnsupported, std::string(what) + " during a capture");
}

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

bool is_under_way(const std::shared_ptr<Capture>& capture) {
  return std::find(device().captures.begin(), device().captures.end(), capture) != device().captures.end();
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
  if (!operation->done) {
    const OpenDevice opened;
    run_head(next_needed(*operation));
  }
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

cudaError_t update_graph(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* result) {
  const auto same = [](const Node& a, const Node& b) { return a.name == b.name && a.after == b.after; };
  result->result = cudaGraphExecUpdateSuccess;
  result->errorNode = nullptr;
  result->errorFromNode = nullptr;
  if (!std::equal(executable->nodes.begin(), executable->nodes.end(), graph->nodes.begin(), graph->nodes.end(), same)) {
    result->result = cudaGraphExecUpdateErrorTopologyChanged;
    return refuse(cudaErrorGraphExecUpdateFailure, "the graph has other nodes");
  }
  executable->nodes = graph->nodes;
  return cudaSuccess;
}

/// A launch that owns its arguments.
std::shared_ptr<const simt::Launch> keep(const simt::Launch& launch) {
  return {new simt::Launch(launch), [](const simt::Launch* kept) {
            kept->destroy(kept->arguments);
            delete kept;
          }};
}

constexpr int64_t most_blocks = INT32_MAX;
constexpr int most_threads = 1024;
constexpr size_t most_dynamic_bytes = 163 << 10;  ///< compute capability 8.0

/// What cudaLaunchKernelExC does; it throws what kernels/cuda/platform.h throws for an error.
void launch_kernel(const simt::Launch& launch) {
  const auto kept = keep(launch);
  const cudaError_t status = runtime_call("cudaLaunchKernelExC", [&] {
    CUstream_st* stream = nullptr;
    if (const cudaError_t failed = open_stream(kept->stream, &stream); failed != cudaSuccess) return failed;
    const simt::LaunchShape& shape = kept->shape;
    if (shape.blocks < 1 || shape.blocks > most_blocks || shape.threads < 1 || shape.threads > most_threads) {
      return refuse(cudaErrorInvalidConfiguration, "a grid or a block beyond the limits");
    }
    if (shape.dynamic_bytes > most_dynamic_bytes) return refuse(cudaErrorInvalidValue, "too much shared memory");
    enqueue(stream, std::string("kernel ") + kept->name,
            [kept] { simt::run(kept->name, kept->shape, kept->body, kept->arguments, kept->argument_bytes); });
    return cudaSuccess;
  });
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string(cudaGetErrorString(status)) + " (kernel " + kept->name + ", " +
                           std::to_string(kept->shape.blocks) + " blocks of " + std::to_string(kept->shape.threads) +
                           " threads, " + std::to_string(kept->shape.dynamic_bytes) +
                           " bytes of dynamic shared memory)");
}

/// For the race detector: whether work that ran is ordered before what runs now.
bool is_ordered(uint32_t number) {
  Device& d = device();
  if (number == 0 || d.current == nullptr) return true;
  if (d.before_node != nullptr && number >= d.first_node_work) return (*d.before_node)[number - d.first_node_work];
  const Work& work = d.works[number];
  return work.stream < d.current->clock.size() && work.position <= d.current->clock[work.stream];
}

/// Before main, so that no launch runs at once.
[[maybe_unused]] const bool launches_are_queued = [] {
  simt::queue_launch = launch_kernel;
  return true;
}();

}  // namespace

void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size(), 0);
  for (size_t i = 0; i < other.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

void install_queues() {
  simt::set_work_order(is_ordered);
  simt::forbid_host_memory(true);
}

CUstream_st* find_stream(cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) return device().default_stream.get();
  for (const auto& stream : device().streams) {
    if (stream.get() == handle && !stream->destroyed) return handle;
  }
  return nullptr;
}

cudaError_t open_stream(cudaStream_t handle, CUstream_st** stream) {
  *stream = find_stream(handle);
  if (*stream == nullptr) return refuse(cudaErrorInvalidResourceHandle, "no such stream");
  if (*stream != device().default_stream.get()) return cudaSuccess;
  const auto implicit = [](const CUstream_st* member) { return member->blocking; };
  for (const auto& capture : device().captures) {
    if (capture->mode == cudaStreamCaptureModeRelaxed) continue;
    if (std::none_of(capture->members.begin(), capture->members.end(), implicit)) continue;
    capture->invalid = true;
    return refuse(cudaErrorStreamCaptureImplicit, "the default stream would wait for a stream that captures");
  }
  return cudaSuccess;
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

std::shared_ptr<Operation> enqueue(CUstream_st* stream, std::string name, std::function<void()> run) {
  if (is_capturing(stream)) {
    capture_node(stream, std::move(name), std::move(run));
    return nullptr;
  }
  auto operation = std::make_shared<Operation>();
  operation->name = std::move(name);
  operation->run = std::move(run);
  operation->stream = stream;
  operation->position = ++stream->position;
  implicit_dependencies(stream, *operation);
  join(stream->clock, device().host_clock);
  if (stream->clock.size() <= stream->index) stream->clock.resize(stream->index + 1, 0);
  stream->clock[stream->index] = operation->position;
  operation->clock = stream->clock;
  stream->queue.push_back(operation);
  stream->last = operation;
  return operation;
}

void run_until(const std::shared_ptr<Operation>& target) {
  const OpenDevice opened;
  const auto eagerness = static_cast<Eagerness>(device().random() % 3);
  while (!target->done) {
    const bool along = eagerness != Eagerness::lazy && device().random() % (eagerness == Eagerness::even ? 2 : 8) != 0;
    run_head(along ? random_ready() : next_needed(*target));
  }
  join(device().host_clock, target->clock);
  forget_finished_streams();
}

void run_everything() {
  const OpenDevice opened;
  while (!ready_heads().empty()) run_head(random_ready());
  join(device().host_clock, device().default_stream->clock);
  for (const auto& stream : device().streams) join(device().host_clock, stream->clock);
  forget_finished_streams();
}

}  // namespace emulated

using namespace emulated;

EMULATED_ENTRY(cudaLaunchKernelExC);

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

EMULATED_ENTRY(cudaGraphExecUpdate);
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* result) {
  return runtime_call("cudaGraphExecUpdate", [&] { return update_graph(executable, graph, result); });
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
