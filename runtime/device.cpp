// Devices by name, and streams: on the CPU a stream is a team of threads and the host's memory.
#include "runtime/device.h"

#include <cstring>

#include "kernels/thread_team.h"
#include "runtime/allocator.h"
#include "runtime/dispatch.h"
#include "runtime/error.h"

namespace subspect::runtime {

namespace {

[[noreturn]] void throw_no_gpu(std::string_view asked_for) {
  throw Error(fmt::format("there is no usable GPU for device '{}'", asked_for), "--device",
              built_with_cuda ? "check the driver with `subspect doctor`, or use --device cpu"
                              : "this program was built without CUDA; use --device cpu");
}

}  // namespace

std::string Device::to_string() const {
  return type == DeviceType::cpu ? "cpu" : fmt::format("cuda:{}", index);
}

Device Device::parse(std::string_view text) {
  if (text == "cpu" || text == "auto") return {};
  const bool digits = text.size() > 5 && text.find_first_not_of("0123456789", 5) == std::string_view::npos;
  if (text == "cuda" || (text.starts_with("cuda:") && digits)) throw_no_gpu(text);
  throw UsageError(fmt::format("unknown device '{}'", text), "--device", "use auto, cpu, cuda or cuda:N");
}

Stream::Stream(Device device, int threads)
    : device_(device), allocator_(std::make_shared<CachingAllocator>(device, host_memory())) {
  if (device.type != DeviceType::cpu) throw_no_gpu(device.to_string());
  team_ = std::make_unique<kernels::ThreadTeam>(threads);
}

Stream::~Stream() = default;

std::shared_ptr<Stream> Stream::open(Device device, int threads) {
  require(threads >= 0, "Stream::open", "threads must not be negative. Received {}.", threads);
  return std::shared_ptr<Stream>(new Stream(device, threads));
}

int Stream::threads() const {
  return team_ ? team_->size() : 1;
}

template <>
kernels::Context<kernels::Cpu> Stream::context<kernels::Cpu>() const {
  require(device_.type == DeviceType::cpu, "Stream", "a CPU kernel was called on a stream of {}.", device_.to_string());
  return {.team = team_.get()};
}

void Stream::copy_from_host(void* device_pointer, const void* host_pointer, int64_t bytes) const {
  if (bytes > 0) std::memcpy(device_pointer, host_pointer, static_cast<size_t>(bytes));
}

void Stream::copy_to_host(void* host_pointer, const void* device_pointer, int64_t bytes) const {
  if (bytes > 0) std::memcpy(host_pointer, device_pointer, static_cast<size_t>(bytes));
}

void Stream::zero(void* pointer, int64_t bytes) const {
  if (bytes > 0) std::memset(pointer, 0, static_cast<size_t>(bytes));
}

void Stream::synchronize() const {}  // CPU kernels return when their work is done

}  // namespace subspect::runtime
