// The stand-in for NCCL, with a process for every rank: what arrives, and what is refused or a fault.
#include <gmock/gmock.h>
#include <nccl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <string>

#include "tests/simt/cuda/support.h"

namespace emulated::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// What a rank does with its communicator. Returns what went wrong.
using Rank = std::function<std::string(ncclComm_t comm, int rank)>;

std::string fault_or_refusal() {
  static_cast<void>(cudaDeviceSynchronize());
  return fault().empty() ? refusal() : fault();
}

/// In the child.
std::string run_rank(const ncclUniqueId& id, int rank, int ranks, const Rank& body) {
  reset({.seed = static_cast<uint64_t>(rank) + 1});
  ncclComm_t comm = nullptr;
  if (ncclCommInitRank(&comm, ranks, id, rank) != ncclSuccess) return refusal();
  std::string answer = body(comm, rank);
  if (answer.empty()) ncclCommDestroy(comm);
  return answer;
}

/// The answers of the ranks, each of which is a process.
std::vector<std::string> on_processes(int ranks, const Rank& body) {
  ncclUniqueId id;
  EXPECT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  std::vector<std::pair<pid_t, int>> children;
  for (int rank = 0; rank < ranks; ++rank) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe(ends.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const std::string answer = run_rank(id, rank, ranks, body);
      const bool written = ::write(ends[1], answer.data(), answer.size()) == static_cast<ssize_t>(answer.size());
      ::_exit(written ? 0 : 1);
    }
    ::close(ends[1]);
    children.emplace_back(child, ends[0]);
  }
  std::vector<std::string> answers;
  for (const auto& [child, end] : children) {
    std::string& answer = answers.emplace_back();
    std::array<char, 512> text{};
    for (ssize_t size = 0; (size = ::read(end, text.data(), text.size())) > 0;) {
      answer.append(text.data(), static_cast<size_t>(size));
    }
    ::close(end);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  return answers;
}

constexpr size_t count = 1000;

class NcclStandIn : public EmulatedCase {};

/// Every rank sends its number to every other, twice, in streams of their own; the second is larger than a socket
/// holds.
TEST_F(NcclStandIn, GroupsOfSeveralStreamsRunInTheirOrder) {
  constexpr int ranks = 3;
  constexpr size_t large = 1 << 20;
  const auto answers = on_processes(ranks, [=](ncclComm_t comm, int rank) -> std::string {
    const TestStream first, second;
    std::string wrong;
    for (const auto& [stream, size] : {std::pair{&first, count}, {&second, large}}) {
      const DeviceArray<float> mine(std::vector<float>(size, static_cast<float>(rank + 1)));
      const DeviceArray<float> theirs(size * ranks);
      ncclGroupStart();
      for (int peer = 0; peer < ranks; ++peer) {
        if (peer == rank) continue;
        ncclSend(mine.data(), size, ncclFloat32, peer, comm, stream->get());
        ncclRecv(theirs.data() + static_cast<size_t>(peer) * size, size, ncclFloat32, peer, comm, stream->get());
      }
      if (ncclGroupEnd() != ncclSuccess) return refusal();
      if (cudaStreamSynchronize(stream->get()) != cudaSuccess) return fault();
      const std::vector<float> values = theirs.values();
      for (int peer = 0; peer < ranks; ++peer) {
        const float got = values[static_cast<size_t>(peer) * size + size - 1];
        if (peer != rank && got != static_cast<float>(peer + 1)) wrong += "from " + std::to_string(peer) + " ";
      }
    }
    return wrong;
  });
  EXPECT_THAT(answers, ::testing::Each(IsEmpty()));
}

/// Rank 0 sends; rank 1 receives what `expect` says.
std::vector<std::string> send_and_expect(const std::function<void(ncclComm_t, float*, cudaStream_t)>& expect) {
  return on_processes(2, [&](ncclComm_t comm, int rank) -> std::string {
    const TestStream stream;
    const DeviceArray<float> data(std::vector<float>(count, 1));
    ncclGroupStart();
    if (rank == 0) {
      ncclSend(data.data(), 10, ncclFloat32, 1, comm, stream.get());
      ncclSend(data.data(), 20, ncclFloat32, 1, comm, stream.get());
    } else {
      expect(comm, data.data(), stream.get());
    }
    ncclGroupEnd();
    static_cast<void>(cudaStreamSynchronize(stream.get()));
    return fault();
  });
}

TEST_F(NcclStandIn, MessagesThatDoNotMatchAreAFault) {
  const auto in_order = send_and_expect([](ncclComm_t comm, float* data, cudaStream_t stream) {
    ncclRecv(data, 10, ncclFloat32, 0, comm, stream);
    ncclRecv(data + 100, 20, ncclFloat32, 0, comm, stream);
  });
  EXPECT_THAT(in_order, ::testing::Each(IsEmpty()));
  const auto swapped = send_and_expect([](ncclComm_t comm, float* data, cudaStream_t stream) {
    ncclRecv(data, 20, ncclFloat32, 0, comm, stream);
    ncclRecv(data + 100, 10, ncclFloat32, 0, comm, stream);
  });
  EXPECT_THAT(swapped[1], HasSubstr("message 0 from rank 0 should be 20 elements of type 7"));
  const auto other_type = send_and_expect([](ncclComm_t comm, float* data, cudaStream_t stream) {
    ncclRecv(data, 10, ncclInt32, 0, comm, stream);
    ncclRecv(data + 100, 20, ncclFloat32, 0, comm, stream);
  });
  EXPECT_THAT(other_type[1], HasSubstr("should be 10 elements of type 2"));
}

TEST_F(NcclStandIn, ARankThatEndsIsAFaultOfItsPeers) {
  const auto answers = on_processes(2, [](ncclComm_t comm, int rank) -> std::string {
    if (rank == 1) return "ended";
    const TestStream stream;
    const DeviceArray<float> data(count);
    ncclGroupStart();
    ncclRecv(data.data(), count, ncclFloat32, 1, comm, stream.get());
    ncclGroupEnd();
    return fault_or_refusal();
  });
  EXPECT_THAT(answers[0], HasSubstr("rank 1 has gone"));
}

/// Work that reads what arrives, in another stream that does not wait for it, is a race.
TEST_F(NcclStandIn, ReadingBeforeTheMessageArrivesIsARace) {
  for (const bool waits : {true, false}) {
    const auto answers = on_processes(2, [waits](ncclComm_t comm, int rank) -> std::string {
      const TestStream sending, reading;
      const TestEvent arrived;
      const DeviceArray<float> data(std::vector<float>(count, static_cast<float>(rank))), result(count);
      ncclGroupStart();
      if (rank == 0) ncclSend(data.data(), count, ncclFloat32, 1, comm, sending.get());
      if (rank == 1) ncclRecv(data.data(), count, ncclFloat32, 0, comm, sending.get());
      ncclGroupEnd();
      static_cast<void>(cudaEventRecord(arrived.get(), sending.get()));
      if (waits) static_cast<void>(cudaStreamWaitEvent(reading.get(), arrived.get(), 0));
      if (rank == 1) reading.scale(data.data(), 2, result.data(), count);
      static_cast<void>(cudaDeviceSynchronize());
      return fault();
    });
    EXPECT_THAT(answers[0], IsEmpty());
    EXPECT_EQ(answers[1].empty(), waits) << answers[1];
  }
}

TEST_F(NcclStandIn, WhatNcclRefusesIsRefused) {
  const auto answers = on_processes(2, [](ncclComm_t comm, int rank) -> std::string {
    const TestStream stream, other;
    const DeviceArray<float> data(count);
    std::vector<float> host(count);
    const auto refused = [&](const std::function<ncclResult_t()>& call, const char* why) {
      ncclGroupStart();
      const bool failed = call() != ncclSuccess && refusal() == why;
      return failed && ncclGroupEnd() != ncclSuccess;
    };
    const int peer = 1 - rank;
    if (ncclSend(data.data(), 1, ncclFloat32, peer, comm, stream.get()) != ncclInvalidUsage) return "no group";
    if (!refused([&] { return ncclSend(host.data(), 1, ncclFloat32, peer, comm, stream.get()); },
                 "memory that is not the device's")) {
      return "host memory";
    }
    if (!refused([&] { return ncclSend(data.data(), count + 1, ncclFloat32, peer, comm, stream.get()); },
                 "memory that is not the device's")) {
      return "beyond the block";
    }
    if (!refused([&] { return ncclRecv(data.data(), 1, ncclFloat32, 2, comm, stream.get()); }, "no such peer")) {
      return "peer";
    }
    if (!refused(
            [&] {
              ncclSend(data.data(), 1, ncclFloat32, peer, comm, stream.get());
              return ncclRecv(data.data(), 1, ncclFloat32, peer, comm, other.get());
            },
            "a group over several streams or communicators")) {
      return "streams";
    }
    ncclCommAbort(comm);
    return "as it should";
  });
  EXPECT_THAT(answers, ::testing::Each("as it should"));
}

}  // namespace
}  // namespace emulated::test
