// What a build with CUDA and without NCCL's header says to ranks that have GPUs.
#include "runtime/comm/transport.h"
#include "runtime/error.h"

namespace subspect::runtime::comm::cuda {

std::unique_ptr<Transport> make_transport(Communicator& host, Device device, const std::atomic<double>& time_limit) {
  static_cast<void>(time_limit);
  throw Error(fmt::format("{} ranks want to send from {}, but this program was built without NCCL", host.size(),
                          device.to_string()),
              "NCCL", "install libnccl-dev and build again, or use one rank or --device cpu");
}

}  // namespace subspect::runtime::comm::cuda
