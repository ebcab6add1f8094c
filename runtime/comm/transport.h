// Transport: how messages of one kind of device travel, beside MPI, which carries those of the host.
#pragma once

#include <atomic>
#include <memory>
#include <span>

#include "runtime/comm/communicator.h"

namespace subspect::runtime::comm {

class Transport {
 public:
  virtual ~Transport() = default;
  /// As Communicator::exchange; queued on the stream.
  virtual void exchange(Stream& stream, std::span<const Message> sends, std::span<const Message> receives) = 0;
  /// As Communicator::give_up.
  virtual void give_up() noexcept = 0;
};

namespace cuda {

/// NCCL over the ranks of `host`, each with the GPU `device`. All ranks make theirs at the same time. Throws Error
/// where NCCL cannot be loaded or refuses, and where the program was built without it.
/// @param time_limit as Communicator::set_time_limit; outlives the transport
std::unique_ptr<Transport> make_transport(Communicator& host, Device device, const std::atomic<double>& time_limit);

}  // namespace cuda
}  // namespace subspect::runtime::comm
