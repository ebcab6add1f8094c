// The tests' side of the SIMT shim: options, device buffers, and the error that a faulty kernel ends in. A build with
// CUDA implements the buffers a second time, over a GPU (tests/gpu): the same tests run there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace simt {

/// What a kernel did wrong: the kernel, the kind of fault, the threads and the places in the source.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  uint64_t seed = 1;     ///< of the order in which blocks and threads run
  int yield_period = 0;  ///< a thread also gives way at one in so many memory accesses; 0 for never
};

/// Applies to the launches that follow. On a GPU, which has its own order, it does nothing.
void set_options(const Options& options);

/// Instrumented accesses to device and shared memory since the program began: zero would mean that nothing is checked.
uint64_t checked_accesses();

void* allocate_device(size_t bytes);
void free_device(void* memory);
void copy_to_device(void* device, const void* host, size_t bytes);
/// Waits for the kernels launched so far; on a GPU, throws std::runtime_error when one of them failed.
void copy_to_host(void* host, const void* device, size_t bytes);

/// Memory of the device, exactly as long as asked for: red zones lie around it, and it begins full of NaN.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t count) : count_(count), data_(static_cast<T*>(allocate_device(count * sizeof(T)))) {}
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(values.size()) {
    copy_to_device(data_, values.data(), count_ * sizeof(T));
  }
  ~DeviceBuffer() { free_device(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> result(count_);
    copy_to_host(result.data(), data_, count_ * sizeof(T));
    return result;
  }

 private:
  size_t count_;
  T* data_;
};

}  // namespace simt
