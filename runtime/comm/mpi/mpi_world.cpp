// Messages over MPI, waited for with a time limit and without keeping a core busy.
#include "runtime/comm/mpi/mpi_world.h"

#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/comm/transport.h"
#include "runtime/dispatch.h"
#include "runtime/error.h"

namespace subspect::runtime::comm::mpi {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t piece_bytes = int64_t{1} << 30;  // MPI counts with int
constexpr int tag = 0;
constexpr auto yielding = std::chrono::milliseconds(20);  // how long a waiting thread only yields
constexpr auto short_sleep = std::chrono::microseconds(100);
constexpr auto long_sleep = std::chrono::milliseconds(5);

void check(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw Error(fmt::format("{} failed: {}", call, std::string(text, static_cast<size_t>(length))), "MPI",
              "look at what the other ranks say");
}

class World final : public Communicator {
 public:
  World() {
    int provided = MPI_THREAD_SINGLE;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
    MPI_Comm node = MPI_COMM_NULL;
    check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node),
          "MPI_Comm_split_type");
    MPI_Comm_rank(node, &node_.rank);
    MPI_Comm_size(node, &node_.size);
    MPI_Comm_free(&node);
    // A thread sends gradients while the main one computes; they never call at the same time.
    require(provided >= MPI_THREAD_SERIALIZED, "MPI", "threads must be allowed. Received level {}.", provided);
  }

  // Ranks leave together: a launcher takes the first that ends with a code other than 0 for a failure of all.
  ~World() override {
    device_.reset();
    if (given_up_) return;
    try {
      barrier();
      MPI_Finalize();
    } catch (const Error& error) {
      std::fprintf(stderr, "subspect: %s\n", error.what());
    }
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Node node() const override { return node_; }
  void set_time_limit(double seconds) override { time_limit_ = seconds; }

  void exchange(Stream& stream, std::span<const Message> sends, std::span<const Message> receives) override {
    if (stream.device().type != DeviceType::cpu) return device(stream).exchange(stream, sends, receives);
    std::vector<MPI_Request> requests;
    std::vector<int> sizes;
    for (const Message& message : receives) {
      pieces_of(message, [&](char* bytes, int count) {
        sizes.push_back(count);
        check(MPI_Irecv(bytes, count, MPI_BYTE, message.peer, tag, MPI_COMM_WORLD, &requests.emplace_back()),
              "MPI_Irecv");
      });
    }
    for (const Message& message : sends) {
      pieces_of(message, [&](const char* bytes, int count) {
        check(MPI_Isend(bytes, count, MPI_BYTE, message.peer, tag, MPI_COMM_WORLD, &requests.emplace_back()),
              "MPI_Isend");
      });
    }
    std::vector<MPI_Status> statuses(requests.size());
    wait(requests, statuses, true);
    for (size_t i = 0; i < sizes.size(); ++i) {
      int count = 0;
      MPI_Get_count(&statuses[i], MPI_BYTE, &count);
      require(count == sizes[i], "exchange", "messages must have one size on both ranks. Received {} bytes for {}.",
              count, sizes[i]);
    }
  }

  void barrier() override {
    std::vector<MPI_Request> request(1);
    std::vector<MPI_Status> status(1);
    check(MPI_Ibarrier(MPI_COMM_WORLD, request.data()), "MPI_Ibarrier");
    wait(request, status, false);
  }

  void give_up() noexcept override {
    given_up_ = true;
    if (device_) device_->give_up();
  }

  [[noreturn]] void abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 private:
  template <class Visit>
  static void pieces_of(const Message& message, Visit visit) {
    require(message.tensor.is_contiguous(), "exchange", "messages must be contiguous.");
    auto* bytes = static_cast<char*>(message.tensor.raw());
    for (int64_t begin = 0; begin < message.tensor.bytes(); begin += piece_bytes) {
      visit(bytes + begin, static_cast<int>(std::min(piece_bytes, message.tensor.bytes() - begin)));
    }
  }

  // Messages move while they are looked at, so a wait for them sleeps shortly.
  void wait(std::vector<MPI_Request>& requests, std::vector<MPI_Status>& statuses, bool limited) {
    const auto begin = Clock::now();
    for (int done = 0;;) {
      const int status = MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, statuses.data());
      if (status == MPI_ERR_IN_STATUS) {
        for (const MPI_Status& one : statuses) check(one.MPI_ERROR == MPI_ERR_PENDING ? 0 : one.MPI_ERROR, "a message");
      }
      check(status, "MPI_Testall");
      if (done != 0) return;
      if (given_up_) throw Error("the work with the other ranks was given up", fmt::format("rank {}", rank_), "");
      const Clock::duration waited = Clock::now() - begin;
      const double seconds = std::chrono::duration<double>(waited).count();
      if (limited && time_limit_ > 0 && seconds > time_limit_) {
        throw Error(fmt::format("another rank has not answered for {:.0f} s", seconds), fmt::format("rank {}", rank_),
                    "look whether its process hangs, or raise distributed.time_limit");
      }
      if (waited < yielding) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(limited ? Clock::duration(short_sleep) : Clock::duration(long_sleep));
      }
    }
  }

  Transport& device(const Stream& stream) {
    if constexpr (built_with_cuda) {
      if (!device_) device_ = cuda::make_transport(*this, stream.device(), time_limit_);
    }
    require(device_ != nullptr, "exchange", "tensors of {} cannot be sent.", stream.device().to_string());
    return *device_;
  }

  int rank_ = 0;
  int size_ = 1;
  Node node_;
  std::atomic<double> time_limit_ = 0;
  std::atomic<bool> given_up_ = false;
  std::unique_ptr<Transport> device_;
};

}  // namespace

std::shared_ptr<Communicator> join() {
  return std::make_shared<World>();
}

}  // namespace subspect::runtime::comm::mpi
