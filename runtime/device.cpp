// Devices by name, and streams: on the CPU a stream is a team of threads and the host's memory; what concerns a GPU is
// handed to runtime/cuda, which a build without CUDA does not have.
#include "runtime/device.h"

#include <charconv>
#include <cstring>

#include "kernels/thread_team.h"
#include "runtime/allocator.h"
#include "runtime/dispatch.h"
#include "runtime/error.h"
#include "runtime/gpu_queue.h"

namespace subspect::runtime {

namespace {

[[noreturn]] void throw_no_gpu(std::string_view asked_for) {
  throw Error(fmt::format("there is no usable GPU for device '{}'", asked_for), "--device",
              built_with_cuda ? "check the driver (`subspect doctor`) and CUDA_VISIBLE_DEVICES, or use --device cpu"
                              : "this program was built without CUDA; use --device cpu");
}

Device parse_gpu(std::string_view text) {
  int index = 0;
  if (text.size() > 5) std::from_chars(text.data() + 5, text.data() + text.size(), index);
  if constexpr (built_with_cuda) {
    if (!cuda::any_gpu()) throw_no_gpu(text);
    cuda::usable_gpu(index);
  } else {
    throw_no_gpu(text);
  }
  return {DeviceType::cuda, index};
}

}  // namespace

std::string Device::to_string() const {
  return type == DeviceType::cpu ? "cpu" : fmt::format("cuda:{}", index);
}

Device Device::parse(std::string_view text) {
  if (text == "cpu") return {};
  if (text == "auto") {
    if constexpr (built_with_cuda) {
      if (cuda::any_gpu()) return parse_gpu("cuda");
    }
    return {};
  }
  const bool digits = text.size() > 5 && text.size() < 10 && text.find_first_not_of("0123456789", 5) == text.npos;
  if (text == "cuda" || (text.starts_with("cuda:") && digits)) return parse_gpu(text);
  throw UsageError(fmt::format("unknown device '{}'", text), "--device", "use auto, cpu, cuda or cuda:N");
}

Stream::Stream(Device device, int threads) : device_(device) {
  if (device.type == DeviceType::cpu) {
    allocator_ = std::make_shared<CachingAllocator>(device, host_memory());
    team_ = std::make_unique<kernels::ThreadTeam>(threads);
    return;
  }
  if constexpr (built_with_cuda) {
    cuda::Opened opened = cuda::open(device.index);
    allocator_ = std::move(opened.allocator);
    gpu_ = std::move(opened.queue);
  } else {
    throw_no_gpu(device.to_string());
  }
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

template <>
kernels::Context<kernels::Cuda> Stream::context<kernels::Cuda>() const {
  require(gpu_ != nullptr, "Stream", "a CUDA kernel was called on a stream of {}.", device_.to_string());
  return gpu_->context();
}

void Stream::copy_from_host(void* device_pointer, const void* host_pointer, int64_t bytes) const {
  if (gpu_) return gpu_->copy_from_host(device_pointer, host_pointer, bytes);
  if (bytes > 0) std::memcpy(device_pointer, host_pointer, static_cast<size_t>(bytes));
}

void Stream::copy_to_host(void* host_pointer, const void* device_pointer, int64_t bytes) const {
  if (gpu_) return gpu_->copy_to_host(host_pointer, device_pointer, bytes);
  if (bytes > 0) std::memcpy(host_pointer, device_pointer, static_cast<size_t>(bytes));
}

void Stream::copy(void* to, const void* from, int64_t bytes) const {
  if (gpu_) return gpu_->copy(to, from, bytes);
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

void Stream::zero(void* pointer, int64_t bytes) const {
  if (gpu_) return gpu_->zero(pointer, bytes);
  if (bytes > 0) std::memset(pointer, 0, static_cast<size_t>(bytes));
}

void Stream::follow(const Stream& other) const {
  require(device_ == other.device_, "Stream::follow", "streams must be of one device. Received {} and {}.",
          device_.to_string(), other.device_.to_string());
  if (gpu_) gpu_->follow(*other.gpu_);
}

void Stream::synchronize() const {
  if (gpu_) gpu_->synchronize();  // CPU kernels return when their work is done
}

ActiveGpu::ActiveGpu(const Stream& stream) : gpu_(*stream.gpu()), previous_(gpu_.activate()) {}

ActiveGpu::~ActiveGpu() {
  gpu_.restore(previous_);
}

}  // namespace subspect::runtime
