// NCCL between processes, each with its emulated device: messages between pairs of ranks in groups, queued in a stream.
// A group runs after the earlier ones of its communicator, whatever their streams, as NCCL orders them.
//
// Refused at the call: memory that is not the device's, an unknown type, a rank that is not there, a group over several
// streams, a call without a group that was opened. A fault when it runs: peers whose messages differ in number, type or
// size, and a peer that ends or does not answer.
#include <nccl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

#include "tests/simt/cuda/internal.h"
#include "tests/simt/cuda/nccl_peers.h"

using namespace emulated;

struct ncclComm {
  int rank = 0;
  int ranks = 1;
  std::shared_ptr<Peers> peers;
  std::shared_ptr<Operation> last;                  // group
  std::map<std::pair<int, bool>, uint64_t> counts;  // messages so far, by peer and whether they are sent
  std::shared_ptr<bool> aborted = std::make_shared<bool>(false);
};

namespace emulated {
namespace {

constexpr const char* no_group = "a message outside a group";

/// The group that is open.
struct Group {
  int depth = 0;
  ncclComm* comm = nullptr;
  cudaStream_t stream = nullptr;
  std::vector<Parcel> sends;
  std::vector<Parcel> receives;
  bool refused = false;
};

Group& group() {
  static Group open;
  return open;
}

template <class Body>
ncclResult_t nccl_call(const char* name, const Body& body) {
  const std::lock_guard lock(device().mutex);
  int status = 0;
  if (planned_failure(name, &status)) return static_cast<ncclResult_t>(status);
  if (!device().fault.empty()) return ncclUnhandledCudaError;
  return body();
}

size_t element_bytes(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

struct Half {
  void* data;
  size_t count;
  ncclDataType_t type;
  int peer;
  ncclComm* comm;
  cudaStream_t stream;
  bool sent;
};

ncclResult_t add_half(const Half& half) {
  Group& open = group();
  if (open.depth == 0) return refuse(ncclInvalidUsage, no_group);
  open.refused = true;
  if (half.comm == nullptr || *half.comm->aborted) return refuse(ncclInvalidArgument, "no communicator");
  const size_t bytes = element_bytes(half.type) * half.count;
  if (element_bytes(half.type) == 0) return refuse(ncclInvalidArgument, "an unknown type");
  if (half.peer < 0 || half.peer >= half.comm->ranks || half.peer == half.comm->rank) {
    return refuse(ncclInvalidArgument, "no such peer");
  }
  if (!is_device_memory(half.data, bytes)) return refuse(ncclInvalidArgument, "memory that is not the device's");
  if (open.comm != nullptr && (open.comm != half.comm || open.stream != half.stream)) {
    return refuse(ncclInvalidUsage, "a group over several streams or communicators");
  }
  open.refused = false;
  open.comm = half.comm;
  open.stream = half.stream;
  const uint64_t number = half.comm->counts[{half.peer, half.sent}]++;
  (half.sent ? open.sends : open.receives)
      .push_back({half.peer, static_cast<int>(half.type), half.count, number, static_cast<std::byte*>(half.data), bytes,
                  element_bytes(half.type)});
  return ncclSuccess;
}

void run_group(Peers& peers, const std::vector<Parcel>& sends, const std::vector<Parcel>& receives) {
  simt::begin_library_call("NCCL");
  for (const Parcel& parcel : sends) simt::access_device(parcel.data, parcel.bytes, simt::Access::read);
  for (const Parcel& parcel : receives) simt::access_device(parcel.data, parcel.bytes, simt::Access::write);
  peers.exchange(sends, receives);
}

ncclResult_t close_group() {
  Group closed = std::exchange(group(), {});
  if (closed.refused) return ncclInvalidUsage;
  if (closed.comm == nullptr) return ncclSuccess;
  CUstream_st* stream = nullptr;
  if (open_stream(closed.stream, &stream) != cudaSuccess) return ncclInvalidArgument;
  if (is_capturing(stream)) return refuse(ncclInvalidUsage, "a capture of NCCL's work is not emulated");
  const auto operation = enqueue(
      stream, "NCCL group",
      [peers = closed.comm->peers, aborted = closed.comm->aborted, sends = closed.sends, receives = closed.receives] {
        if (!*aborted) run_group(*peers, sends, receives);
      });
  const std::shared_ptr<Operation> before = std::exchange(closed.comm->last, operation);
  if (before != nullptr && !before->done) operation->after.push_back(before);
  return ncclSuccess;
}

}  // namespace
}  // namespace emulated

EMULATED_ENTRY(ncclGetUniqueId);
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  return nccl_call("ncclGetUniqueId", [&] {
    static int made = 0;
    const std::string name = "emulated-nccl-" + std::to_string(::getpid()) + "-" + std::to_string(made++);
    std::memset(id, 0, sizeof(*id));
    std::copy(name.begin(), name.end(), id->internal);
    return ncclSuccess;
  });
}

EMULATED_ENTRY(ncclCommInitRank);
ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank) {
  return nccl_call("ncclCommInitRank", [&] {
    if (ranks < 1 || rank < 0 || rank >= ranks) return refuse(ncclInvalidArgument, "no such rank");
    try {
      auto made = std::make_unique<ncclComm>();
      made->rank = rank;
      made->ranks = ranks;
      made->peers = std::make_shared<Peers>(id.internal, rank, ranks);
      *comm = made.release();
      return ncclSuccess;
    } catch (const std::runtime_error& error) {
      return refuse(ncclSystemError, error.what());
    }
  });
}

EMULATED_ENTRY(ncclCommDestroy);
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  const std::unique_ptr<ncclComm> gone(comm);
  return nccl_call("ncclCommDestroy", [&] {
    if (comm->last != nullptr && !comm->last->done) run_until(comm->last);
    return ncclSuccess;
  });
}

EMULATED_ENTRY(ncclCommAbort);
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  const std::unique_ptr<ncclComm> gone(comm);
  *comm->aborted = true;  // even after a fault
  return nccl_call("ncclCommAbort", [] { return ncclSuccess; });
}

EMULATED_ENTRY(ncclGroupStart);
ncclResult_t ncclGroupStart() {
  return nccl_call("ncclGroupStart", [] {
    ++group().depth;
    return ncclSuccess;
  });
}

EMULATED_ENTRY(ncclGroupEnd);
ncclResult_t ncclGroupEnd() {
  return nccl_call("ncclGroupEnd", [] {
    if (group().depth == 0) return refuse(ncclInvalidUsage, "no group is open");
    return --group().depth > 0 ? ncclSuccess : close_group();
  });
}

EMULATED_ENTRY(ncclSend);
ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return nccl_call("ncclSend", [&] {
    return add_half({const_cast<void*>(data), count, type, peer, comm, stream, true});
  });
}

EMULATED_ENTRY(ncclRecv);
ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  return nccl_call("ncclRecv", [&] { return add_half({data, count, type, peer, comm, stream, false}); });
}

const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclSuccess ? "no error" : "NCCL refused";
}

const char* ncclGetLastError(ncclComm_t comm) {
  static_cast<void>(comm);
  const std::lock_guard lock(device().mutex);
  static std::string text;
  text = device().refusal;
  return text.c_str();
}
