// Messages between GPUs by NCCL, and a watch over them: NCCL itself waits for ever for a rank that hangs.
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "runtime/comm/transport.h"
#include "runtime/cuda/handles.h"
#include "runtime/error.h"
#include "runtime/gpu_queue.h"

namespace subspect::runtime::comm::cuda {

namespace {

using runtime::cuda::DeviceGuard;

void check(ncclResult_t status, const char* call, ncclComm_t comm = nullptr) {
  if (status == ncclSuccess) return;
  const char* more = ncclGetLastError(comm);
  throw Error(fmt::format("{} failed: {} {}", call, ncclGetErrorString(status), more == nullptr ? "" : more), "NCCL",
              "run with NCCL_DEBUG=WARN for its own account");
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return ncclFloat32;
    case DType::bfloat16:
      return ncclBfloat16;
    case DType::float16:
      return ncclFloat16;
    case DType::float64:
      return ncclFloat64;
    case DType::uint8:
      return ncclUint8;
    case DType::int32:
      return ncclInt32;
    case DType::int64:
      return ncclInt64;
    default:
      throw Error(fmt::format("[NCCL] tensors of {} are not sent.", name(dtype)), "",
                  "this is a mistake in the program");
  }
}

/// Ends all ranks when queued messages take longer than the limit. Knows of them by callbacks in the stream, so that
/// its thread calls nothing of CUDA.
class Watch {
 public:
  Watch(Communicator& ranks, const std::atomic<double>& time_limit)
      : ranks_(ranks), time_limit_(time_limit), thread_([this] { look(); }) {}
  ~Watch() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// Messages were queued on the stream.
  void queued(cudaStream_t stream) {
    ++queued_;
    runtime::cuda::check(cudaLaunchHostFunc(
                             stream, [](void* done) { ++*static_cast<std::atomic<int64_t>*>(done); }, &done_),
                         "cudaLaunchHostFunc");
  }

 private:
  using Clock = std::chrono::steady_clock;

  void look() {
    constexpr auto interval = std::chrono::milliseconds(200);
    int64_t last_done = 0;
    auto since = Clock::now();
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, interval, [this] { return stop_; })) {
      const int64_t done = done_;
      if (done != last_done || done == queued_) {
        last_done = done;
        since = Clock::now();
      }
      const double seconds = std::chrono::duration<double>(Clock::now() - since).count();
      const double limit = time_limit_;
      if (limit <= 0 || seconds < limit) continue;
      std::fprintf(
          stderr,
          "subspect: error: rank %d: messages between GPUs have taken %.0f s (NCCL): look whether a rank hangs, "
          "or raise distributed.time_limit\n",
          ranks_.rank(), seconds);
      ranks_.abort(1);
    }
  }

  Communicator& ranks_;
  const std::atomic<double>& time_limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::atomic<int64_t> queued_ = 0;
  std::atomic<int64_t> done_ = 0;
  std::thread thread_;
};

class Nccl final : public Transport {
 public:
  Nccl(Communicator& ranks, Device device, const std::atomic<double>& time_limit)
      : device_(device.index), rank_(ranks.rank()), watch_(ranks, time_limit) {
    const auto id = std::make_shared<ncclUniqueId>();
    try {
      if (ranks.is_first()) check(ncclGetUniqueId(id.get()), "ncclGetUniqueId");
      const Tensor shared = Tensor::wrap(id.get(), {sizeof(ncclUniqueId)}, DType::uint8, {}, id);
      ranks.broadcast(*Stream::open({}, 1), {&shared, 1});
      const DeviceGuard guard(device_);
      check(ncclCommInitRank(&comm_, ranks.size(), *id, rank_), "ncclCommInitRank");
    } catch (const Error&) {
      throw;
    } catch (const std::runtime_error& error) {  // of kernels/cuda/loader
      throw Error(error.what(), "NCCL", "see `subspect doctor`, or use --device cpu");
    }
  }
  ~Nccl() override {
    if (comm_ == nullptr) return;
    try {
      const DeviceGuard guard(device_);
      static_cast<void>(ncclCommDestroy(comm_));
    } catch (const std::exception& error) {
      std::fprintf(stderr, "subspect: %s\n", error.what());
    }
  }
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;

  void exchange(Stream& stream, std::span<const Message> sends, std::span<const Message> receives) override {
    require(stream.device() == Device{DeviceType::cuda, device_} && comm_ != nullptr, "NCCL",
            "a rank sends from one GPU, until it gives up. Received a stream of {}.", stream.device().to_string());
    const ActiveGpu active(stream);
    const auto queue = static_cast<cudaStream_t>(stream.gpu()->context().stream);
    check(ncclGroupStart(), "ncclGroupStart");
    for (const Message& m : sends) {
      check(ncclSend(m.tensor.raw(), static_cast<size_t>(m.tensor.numel()), type_of(m.tensor.dtype()), m.peer, comm_,
                     queue),
            "ncclSend", comm_);
    }
    for (const Message& m : receives) {
      check(ncclRecv(m.tensor.raw(), static_cast<size_t>(m.tensor.numel()), type_of(m.tensor.dtype()), m.peer, comm_,
                     queue),
            "ncclRecv", comm_);
    }
    check(ncclGroupEnd(), "ncclGroupEnd", comm_);
    watch_.queued(queue);
  }

  void give_up() noexcept override {
    if (comm_ != nullptr) static_cast<void>(ncclCommAbort(std::exchange(comm_, nullptr)));
  }

 private:
  int device_;
  int rank_;
  Watch watch_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace

std::unique_ptr<Transport> make_transport(Communicator& host, Device device, const std::atomic<double>& time_limit) {
  return std::make_unique<Nccl>(host, device, time_limit);
}

}  // namespace subspect::runtime::comm::cuda
