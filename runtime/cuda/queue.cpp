// The stream of a GPU: copies through pinned memory, recording, and its allocator.
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "kernels/cuda/libraries.h"
#include "kernels/thread_team.h"
#include "runtime/allocator.h"
#include "runtime/cuda/event.h"
#include "runtime/cuda/graph.h"
#include "runtime/cuda/memory.h"
#include "runtime/cuda/side_queue.h"
#include "runtime/cuda/staging.h"
#include "runtime/error.h"
#include "runtime/gpu_queue.h"
#include "runtime/storage.h"

namespace subspect::runtime::cuda {

namespace {

constexpr int64_t piece_bytes = staging_piece_bytes;
constexpr int pieces = static_cast<int>(staging_bytes / piece_bytes);
constexpr int64_t copy_grain = 1 << 20;  // of ordinary memory, per thread
constexpr int most_copy_threads = 4;

/// Where the choices of algorithms are kept; empty where no folder for caches is known.
std::string tuning_file() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != 0) {
    return std::string(cache) + "/subspect/products.json";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != 0) {
    return std::string(home) + "/.cache/subspect/products.json";
  }
  return {};
}

class Queue final : public GpuQueue {
 public:
  Queue(std::shared_ptr<StreamHandle> stream, std::shared_ptr<Allocator> allocator, const GpuInfo& gpu)
      : stream_(std::move(stream)), workspace_(std::move(allocator), product_workspace_bytes) {
    const DeviceGuard guard(stream_->device());
    try {
      libraries_ = std::make_unique<kernels::gpu::Libraries>(
          kernels::gpu::LibrariesConfig{.gpu = gpu.name,
                                        .workspace = workspace_.data(),
                                        .workspace_bytes = static_cast<size_t>(product_workspace_bytes),
                                        .tune = true,
                                        .tuning_file = tuning_file()});
    } catch (const Error&) {
      throw;
    } catch (const std::runtime_error& error) {
      throw Error(error.what(), "cuBLASLt", "see `subspect doctor`");
    }
  }

  // Copies under way use the staging memory, products the workspace and the handles attached. Nothing here may throw:
  // a device that is lost was reported before.
  ~Queue() override {
    static_cast<void>(cudaStreamSynchronize(stream_->get()));
    attachment().reset();
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  kernels::Context<kernels::Cuda> context() override {
    return {.stream = stream_->get(), .libraries = libraries_.get()};
  }

  std::vector<std::string> take_warnings() override { return libraries_->take_warnings(); }

  int activate() override {
    int previous = 0;
    check(cudaGetDevice(&previous), "cudaGetDevice");
    if (previous != stream_->device()) check(cudaSetDevice(stream_->device()), "cudaSetDevice");
    return previous;
  }

  void restore(int previous) noexcept override {
    if (previous != stream_->device()) static_cast<void>(cudaSetDevice(previous));
  }

  void copy_from_host(void* device, const void* host, int64_t bytes) override {
    if (bytes == 0) return;
    require_not_recording("a copy from the host");
    const DeviceGuard guard(stream_->device());
    const std::lock_guard lock(mutex_);
    for (int64_t done = 0; done < bytes; done += piece_bytes) {
      const int64_t size = std::min(piece_bytes, bytes - done);
      char* piece = staging().take(size);
      copy_bytes(piece, static_cast<const char*>(host) + done, size);
      check(cudaMemcpyAsync(static_cast<char*>(device) + done, piece, static_cast<size_t>(size), cudaMemcpyHostToDevice,
                            stream_->get()),
            "cudaMemcpyAsync to the device");
      staging().used_by(stream_->get());
    }
  }

  void copy_to_host(void* host, const void* device, int64_t bytes) override {
    if (bytes == 0) return;
    require_not_recording("a copy to the host");
    const DeviceGuard guard(stream_->device());
    const std::lock_guard lock(mutex_);
    std::deque<Arrival> arrivals;
    for (int64_t done = 0; done < bytes; done += piece_bytes) {
      const int64_t size = std::min(piece_bytes, bytes - done);
      char* piece = staging().take(size);
      check(cudaMemcpyAsync(piece, static_cast<const char*>(device) + done, static_cast<size_t>(size),
                            cudaMemcpyDeviceToHost, stream_->get()),
            "cudaMemcpyAsync to the host");
      arrivals.push_back({static_cast<char*>(host) + done, piece, size, staging().used_by(stream_->get())});
      if (arrivals.size() == 2) receive(arrivals);  // while the next piece is on its way
    }
    while (!arrivals.empty()) receive(arrivals);
  }

  void copy(void* to, const void* from, int64_t bytes) override {
    if (bytes == 0) return;
    const DeviceGuard guard(stream_->device());
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream_->get()),
          "cudaMemcpyAsync on the device");
  }

  void zero(void* pointer, int64_t bytes) override {
    if (bytes == 0) return;
    const DeviceGuard guard(stream_->device());
    check(cudaMemsetAsync(pointer, 0, static_cast<size_t>(bytes), stream_->get()), "cudaMemsetAsync");
  }

  void synchronize() override {
    require_not_recording("waiting for the stream");
    const DeviceGuard guard(stream_->device());
    stream_->synchronize();
  }

  std::shared_ptr<void> pinned_memory(int64_t bytes) override {
    const DeviceGuard guard(stream_->device());
    const auto memory = std::make_shared<PinnedMemory>(std::max<int64_t>(bytes, 1));
    return {memory, memory->data()};
  }

  std::unique_ptr<SideQueue> make_side_queue() override { return cuda::make_side_queue(stream_); }

  void follow(GpuQueue& other) override {
    const DeviceGuard guard(stream_->device());
    Event queued;
    queued.record(static_cast<cudaStream_t>(other.context().stream));
    queued.block(stream_->get());
  }

  std::unique_ptr<RecordedWork> record(const std::function<void()>& work) override {
    return std::make_unique<Graph>(stream_, recording_, work);
  }

 private:
  struct Arrival {
    char* host;
    const char* piece;
    int64_t bytes;
    StagingRing::Ticket ticket;
  };

  void require_not_recording(std::string_view what) const {
    require(!recording_, "GpuQueue", "{} cannot be recorded: it would run once, not with every launch.", what);
  }

  StagingRing& staging() {
    if (!staging_) staging_ = std::make_unique<StagingRing>(piece_bytes, pieces);
    return *staging_;
  }

  void receive(std::deque<Arrival>& arrivals) {
    const Arrival arrival = arrivals.front();
    arrivals.pop_front();
    staging().wait(arrival.ticket);
    copy_bytes(arrival.host, arrival.piece, arrival.bytes);
  }

  // One thread copies slower than the bus; pages of a mapped file are also read in parallel this way.
  void copy_bytes(char* to, const char* from, int64_t bytes) {
    if (bytes <= copy_grain) {
      std::copy_n(from, bytes, to);
      return;
    }
    if (!team_) {
      const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
      team_ = std::make_unique<kernels::ThreadTeam>(std::min(cores, most_copy_threads));
    }
    team_->for_each_range(bytes, copy_grain,
                          [&](int64_t begin, int64_t end) { std::copy_n(from + begin, end - begin, to + begin); });
  }

  std::shared_ptr<StreamHandle> stream_;
  Storage workspace_;
  std::unique_ptr<kernels::gpu::Libraries> libraries_;
  std::mutex mutex_;  // of the staging memory
  std::unique_ptr<StagingRing> staging_;
  std::unique_ptr<kernels::ThreadTeam> team_;
  bool recording_ = false;
};

}  // namespace

Opened open(int index) {
  const GpuInfo gpu = usable_gpu(index);
  auto stream = std::make_shared<StreamHandle>(index);
  auto allocator = std::make_shared<CachingAllocator>(Device{DeviceType::cuda, index}, device_memory(stream));
  const MemoryScope scope(*allocator, MemoryTag::workspace);
  auto queue = std::make_shared<Queue>(std::move(stream), allocator, gpu);
  return {std::move(queue), std::move(allocator)};
}

}  // namespace subspect::runtime::cuda
