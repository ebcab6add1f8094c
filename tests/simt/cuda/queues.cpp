// Queues that run as late as CUDA allows, in an order drawn from a seed: work runs only when a call must wait for it;
// then other queues may run along. Kernel launches are work, too.
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

void forget_finished_streams() {
  std::erase_if(device().streams, [](const auto& stream) { return stream->destroyed && stream->queue.empty(); });
}

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

void run_one_for(Operation& target) {
  const OpenDevice opened;
  run_head(next_needed(target));
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
