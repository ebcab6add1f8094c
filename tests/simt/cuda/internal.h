// What the parts of the stand-in for the CUDA libraries share: queues of work, the emulated device's state, and the
// frame around every entry point.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/simt/cuda/emulated.h"
#include "tests/simt/device_memory.h"

namespace emulated {

/// By stream: the last of its operations that something is ordered after.
using Clock = std::vector<uint64_t>;
void join(Clock& clock, const Clock& other);

/// Work in a queue. It runs after the earlier work of its stream and after `after`.
struct Operation {
  std::string name;
  std::function<void()> run;  ///< may be empty
  std::vector<std::shared_ptr<Operation>> after;
  CUstream_st* stream = nullptr;
  uint64_t position = 0;  ///< in its stream, from 1
  Clock clock;
  bool done = false;
  uint64_t finished = 0;  ///< how many operations the device had done then; times are made of it
};

/// A captured operation. Earlier nodes come first.
struct Node {
  std::string name;
  std::function<void()> run;
  std::vector<size_t> after;
};

/// A capture that is under way.
struct Capture {
  CUstream_st* origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::vector<CUstream_st*> members;
  std::vector<Node> nodes;
  bool invalid = false;
};

struct Allocation {
  size_t bytes = 0;
  bool freed = false;  ///< by an operation that is still queued
};

struct PlannedFailure {
  std::string function;
  int calls_left = 0;
  int status = 0;
};

/// Where an operation that ran stands, for the race detector.
struct Work {
  uint32_t stream = 0;
  uint64_t position = 0;
};

/// The state of the emulated device. Every entry point holds the mutex.
struct Device {
  Device();

  std::recursive_mutex mutex;
  Options options;
  std::mt19937_64 random;

  std::unique_ptr<CUstream_st> default_stream;
  std::vector<std::unique_ptr<CUstream_st>> streams;
  std::set<CUevent_st*> events;
  std::vector<std::shared_ptr<Capture>> captures;
  Clock host_clock;         ///< what the host has waited for
  uint64_t operations = 0;  ///< done so far
  uint32_t stream_count = 0;

  std::map<const void*, Allocation> allocations;
  std::map<const void*, size_t> pinned;  ///< page-locked host memory
  size_t used_bytes = 0;
  size_t used_bytes_high = 0;
  uint64_t release_threshold = 0;

  std::vector<Work> works{1};  ///< by number; 0 is the host's
  const Operation* current = nullptr;
  uint32_t first_node_work = 0;  ///< of the graph that is running
  const std::vector<bool>* before_node = nullptr;
  bool in_host_function = false;
  int open = 0;  ///< how deep in work that may touch device memory

  std::map<std::string, int64_t, std::less<>> calls;
  std::vector<PlannedFailure> planned;
  std::vector<PlannedFailure> divergences;
  int allocations_until_failure = 0;
  std::string fault;
  std::string refusal;
  cudaError_t last_error = cudaSuccess;
};
Device& device();

/// Lets this thread's work touch device memory; the host's code may not.
class OpenDevice {
 public:
  OpenDevice();
  ~OpenDevice();
  OpenDevice(const OpenDevice&) = delete;
  OpenDevice& operator=(const OpenDevice&) = delete;
};

/// The reverse, for host functions in a queue; they may not call CUDA.
class HostCode {
 public:
  HostCode();
  ~HostCode();
  HostCode(const HostCode&) = delete;
  HostCode& operator=(const HostCode&) = delete;
};

/// Names of functions that tests may plan failures for: registered by each entry point.
struct EntryPoint {
  explicit EntryPoint(const char* name);
  const char* name;
};

/// Whether the matrix that the solver works on is one that must not converge.
bool planned_divergence(const char* function);
/// Counts the call. Returns whether a failure is planned for it, with its status.
bool planned_failure(const char* function, int* status);

/// What calls that make a handle do, and those that give it back. Success is 0 in every library.
template <class Status, class Handle, class Object>
Status make_handle(Handle* handle, Object object) {
  *handle = reinterpret_cast<Handle>(new Object(std::move(object)));
  return Status{};
}
template <class Status, class Object>
Status delete_handle(Object* object) {
  delete object;
  return Status{};
}

/// Remembers why a call is refused; returns the status.
template <class Status>
Status refuse(Status status, std::string why) {
  device().refusal = std::move(why);
  return status;
}

cudaError_t remember(cudaError_t status);

/// The body of every cudart entry point.
template <class Body>
cudaError_t runtime_call(const char* name, const Body& body) {
  const std::lock_guard lock(device().mutex);
  int status = 0;
  if (planned_failure(name, &status)) return remember(static_cast<cudaError_t>(status));
  if (!device().fault.empty()) return remember(cudaErrorLaunchFailure);
  if (device().in_host_function) return remember(refuse(cudaErrorNotPermitted, "a call from a host function"));
  return remember(body());
}

// ---- queues (queues.cpp)

/// Tells the shim's race detector of the order between streams.
void install_queues();

/// The stream that a handle means; nullptr when it is none.
CUstream_st* find_stream(cudaStream_t handle);
/// The same for a call that puts work into it or waits for it: says why not.
cudaError_t open_stream(cudaStream_t handle, CUstream_st** stream);
/// Puts work at the end of the stream, or into the graph that it captures; null then.
std::shared_ptr<Operation> enqueue(CUstream_st* stream, std::string name, std::function<void()> run);
/// Runs one operation that the target waits for, or the target.
void run_one_for(Operation& target);
/// Runs queued work in a seeded order until the operation is done.
void run_until(const std::shared_ptr<Operation>& target);
void run_everything();
/// Forgets streams that were destroyed and whose work is done.
void forget_finished_streams();

// ---- captures (graphs.cpp)

bool is_capturing(const CUstream_st* stream);
bool is_under_way(const std::shared_ptr<Capture>& capture);
/// Adds a node to the graph that the stream captures.
void capture_node(CUstream_st* stream, std::string name, std::function<void()> run);
/// An event or stream of a capture cannot be waited for by the host.
cudaError_t refuse_in_capture(Capture& capture, const char* what);
/// Whether calls that a capture forbids must fail now; they also end it.
bool forbidden_by_capture();

// ---- memory (memory.cpp)

/// Whether page-locked host memory, not given back, holds these bytes.
bool is_pinned(const void* memory, size_t bytes);
/// Whether these bytes lie in a block of device memory that nobody freed.
bool is_device_memory(const void* memory, size_t bytes);

}  // namespace emulated

struct CUstream_st {
  uint32_t index = 0;
  bool blocking = true;  ///< ordered with the default stream
  bool destroyed = false;
  std::deque<std::shared_ptr<emulated::Operation>> queue;
  std::shared_ptr<emulated::Operation> last;
  uint64_t position = 0;
  emulated::Clock clock;
  std::shared_ptr<emulated::Capture> capture;
  std::vector<size_t> tail;  ///< captured nodes that the next one follows
};

struct CUevent_st {
  bool timing = true;
  std::shared_ptr<emulated::Operation> recorded;
  std::shared_ptr<emulated::Capture> capture;
  std::vector<size_t> nodes;  ///< where in the capture it was recorded
};

struct CUgraph_st {
  std::vector<emulated::Node> nodes;
};

struct CUgraphExec_st {
  std::vector<emulated::Node> nodes;
};

/// Lets tests plan failures of the function.
#define EMULATED_ENTRY(name) static const emulated::EntryPoint registered_##name(#name)
