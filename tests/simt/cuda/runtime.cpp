// The emulated device: its properties, memory, copies, errors, and planned failures. Host code that touches device
// memory ends the program with a message; so does nothing else here.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "tests/simt/cuda/internal.h"

namespace emulated {

namespace {

constexpr size_t pool_granularity = 512;
constexpr int compute_major = 8;
constexpr int compute_minor = 0;

std::set<std::string, std::less<>>& entry_points() {
  static std::set<std::string, std::less<>> names;
  return names;
}

size_t rounded(size_t bytes) {
  return (bytes + pool_granularity - 1) / pool_granularity * pool_granularity;
}

// ---- host code must not touch device memory

struct sigaction previous_action;

void write_text(const char* text) {
  const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(written);
}

void on_segmentation_fault(int signal, siginfo_t* info, void* context) {
  const auto* address = static_cast<const std::byte*>(info->si_addr);
  if (address >= simt::device_memory() && address < simt::device_memory() + simt::device_memory_bytes()) {
    write_text("emulated device: host code touched device memory\n");
    std::abort();
  }
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
    return;
  }
  sigaction(signal, &previous_action, nullptr);  // the access is repeated, and faults as it would have
}

void protect(int access) {
  if (mprotect(simt::device_memory(), simt::device_memory_bytes(), access) != 0) {
    throw std::runtime_error("emulated device: cannot protect device memory");
  }
}

void install_fault_handler() {
  struct sigaction action = {};
  action.sa_sigaction = on_segmentation_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, &previous_action);
  protect(PROT_NONE);
}

// ---- options of a whole program, for tests of the command line

/// SUBSPECT_EMULATED="seed=3,memory=1000000,fail=cudaMalloc:2:2" (function, which call, status).
void read_environment(Options& options, std::vector<PlannedFailure>& planned) {
  const char* text = std::getenv("SUBSPECT_EMULATED");
  if (text == nullptr) return;
  std::string rest = text;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string item = rest.substr(0, comma);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
    char function[64] = "";
    int nth = 0;
    int status = 0;
    unsigned long long number = 0;
    if (std::sscanf(item.c_str(), "seed=%llu", &number) == 1) {
      options.seed = number;
    } else if (std::sscanf(item.c_str(), "memory=%llu", &number) == 1) {
      options.memory_bytes = number;
    } else if (std::sscanf(item.c_str(), "fail=%63[^:]:%d:%d", function, &nth, &status) == 3) {
      planned.push_back({function, nth, status});
    } else {
      std::fprintf(stderr, "emulated device: SUBSPECT_EMULATED: cannot read '%s'\n", item.c_str());
      std::abort();
    }
  }
}

// ---- memory

bool planned_allocation_failure() {
  return device().allocations_until_failure > 0 && --device().allocations_until_failure == 0;
}

bool has_room(size_t bytes) {
  if (device().used_bytes + rounded(bytes) <= device().options.memory_bytes) return true;
  run_everything();  // what is freed in a queue may make room
  return device().used_bytes + rounded(bytes) <= device().options.memory_bytes;
}

/// Address space for a block; nullptr with the reason why there is none.
void* reserve_block(size_t bytes) {
  if (planned_allocation_failure() || !has_room(bytes)) return nullptr;
  void* memory = simt::reserve_device(bytes);
  if (memory == nullptr) return nullptr;
  device().allocations[memory] = {bytes, false};
  device().used_bytes += rounded(bytes);
  device().used_bytes_high = std::max(device().used_bytes_high, device().used_bytes);
  return memory;
}

void forget_block(void* memory) {
  const auto found = device().allocations.find(memory);
  simt::retire_device(memory, found->second.bytes);
  simt::release_device(memory);
  device().used_bytes -= rounded(found->second.bytes);
  device().allocations.erase(found);
}

/// The live block that begins here; nullptr if none does.
Allocation* live_block(const void* memory) {
  const auto found = device().allocations.find(memory);
  return found == device().allocations.end() || found->second.freed ? nullptr : &found->second;
}

cudaError_t allocate(void** memory, size_t bytes) {
  if (forbidden_by_capture()) return refuse(cudaErrorStreamCaptureUnsupported, "cudaMalloc during a capture");
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  void* block = reserve_block(bytes);
  if (block == nullptr) return cudaErrorMemoryAllocation;
  const OpenDevice opened;
  simt::activate_device(block, bytes);
  *memory = block;
  return cudaSuccess;
}

cudaError_t deallocate(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  if (forbidden_by_capture()) return refuse(cudaErrorStreamCaptureUnsupported, "cudaFree during a capture");
  if (live_block(memory) == nullptr) return refuse(cudaErrorInvalidValue, "not a block of device memory");
  run_everything();
  const OpenDevice opened;
  forget_block(memory);
  return device().fault.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t allocate_in_stream(void** memory, size_t bytes, cudaStream_t handle) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  if (is_capturing(stream)) return refuse(cudaErrorStreamCaptureUnsupported, "the stand-in captures no allocations");
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  void* block = reserve_block(bytes);
  if (block == nullptr) return cudaErrorMemoryAllocation;
  enqueue(stream, "cudaMallocAsync", [block, bytes] {
    simt::activate_device(block, bytes);
    simt::begin_library_call("cudaMallocAsync");
    simt::access_device(block, bytes, simt::Access::write);
  });
  *memory = block;
  return cudaSuccess;
}

cudaError_t free_in_stream(void* memory, cudaStream_t handle) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  if (memory == nullptr) return cudaSuccess;
  if (is_capturing(stream)) return refuse(cudaErrorStreamCaptureUnsupported, "the stand-in captures no frees");
  Allocation* block = live_block(memory);
  if (block == nullptr) return refuse(cudaErrorInvalidValue, "not a block of device memory");
  block->freed = true;
  enqueue(stream, "cudaFreeAsync", [memory, bytes = block->bytes] {
    simt::begin_library_call("cudaFreeAsync");
    simt::access_device(memory, bytes, simt::Access::write);
    forget_block(memory);
  });
  return cudaSuccess;
}

constexpr size_t page_bytes = 4096;

cudaError_t allocate_pinned(void** memory, size_t bytes) {
  if (forbidden_by_capture()) return refuse(cudaErrorStreamCaptureUnsupported, "pinned memory during a capture");
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (planned_allocation_failure()) return cudaErrorMemoryAllocation;
  *memory = std::aligned_alloc(page_bytes, (bytes + page_bytes - 1) / page_bytes * page_bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  device().pinned[*memory] = bytes;
  return cudaSuccess;
}

cudaError_t free_pinned(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  if (forbidden_by_capture()) return refuse(cudaErrorStreamCaptureUnsupported, "pinned memory during a capture");
  if (device().pinned.erase(memory) == 0) return refuse(cudaErrorInvalidValue, "not pinned memory");
  std::free(memory);
  return cudaSuccess;
}

// ---- copies

struct Copy {
  std::byte* to;
  size_t to_pitch;
  const std::byte* from;
  size_t from_pitch;
  size_t width;
  size_t height;

  size_t to_bytes() const { return height == 0 ? 0 : (height - 1) * to_pitch + width; }
  size_t from_bytes() const { return height == 0 ? 0 : (height - 1) * from_pitch + width; }
};

enum class Place : uint8_t { device, pinned, pageable };

bool in_address_space(const void* memory) {
  const auto* byte = static_cast<const std::byte*>(memory);
  return byte >= simt::device_memory() && byte < simt::device_memory() + simt::device_memory_bytes();
}

Place place(const void* memory, size_t bytes) {
  if (in_address_space(memory)) return Place::device;
  return is_pinned(memory, bytes) ? Place::pinned : Place::pageable;
}

bool matches(cudaMemcpyKind kind, Place to, Place from) {
  const bool to_device = to == Place::device;
  const bool from_device = from == Place::device;
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    default:
      return kind == cudaMemcpyDefault;
  }
}

void check_side(const void* memory, size_t bytes, Place where, simt::Access access) {
  if (where == Place::device) {
    simt::access_device(memory, bytes, access);
  } else if (where == Place::pinned && !is_pinned(memory, bytes)) {
    throw std::runtime_error("pinned memory was given back before the copy ran");
  }
}

void run_copy(const Copy& copy, Place to, Place from) {
  simt::begin_library_call("copy");
  for (size_t row = 0; row < copy.height; ++row) {
    check_side(copy.from + row * copy.from_pitch, copy.width, from, simt::Access::read);
    check_side(copy.to + row * copy.to_pitch, copy.width, to, simt::Access::write);
    std::memmove(copy.to + row * copy.to_pitch, copy.from + row * copy.from_pitch, copy.width);
  }
}

/// Queues the copy; pageable sources are read now. Waits where CUDA says that it does.
cudaError_t queue_copy(Copy copy, CUstream_st* stream, bool synchronous) {
  const Place to = place(copy.to, copy.to_bytes());
  const Place from = place(copy.from, copy.from_bytes());
  const bool upload = to == Place::device && from != Place::device;
  std::shared_ptr<std::vector<std::byte>> staged;
  if (upload && from == Place::pageable && !is_capturing(stream)) {
    if (synchronous && stream->last != nullptr) run_until(stream->last);
    staged = std::make_shared<std::vector<std::byte>>(copy.from, copy.from + copy.from_bytes());
    copy.from = staged->data();
  }
  const auto operation = enqueue(stream, "copy", [copy, to, from, staged] { run_copy(copy, to, from); });
  const bool on_host = to != Place::device && from != Place::device;
  const bool waits = on_host || (from == Place::device && to == Place::pageable) ||
                     (synchronous && (from == Place::pinned || to == Place::pinned));
  if (waits && operation != nullptr) run_until(operation);
  return device().fault.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t copy_memory(const Copy& copy, cudaMemcpyKind kind, cudaStream_t handle, bool synchronous) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  if (copy.width == 0 || copy.height == 0) return cudaSuccess;
  const Place to = place(copy.to, copy.to_bytes());
  const Place from = place(copy.from, copy.from_bytes());
  if (!matches(kind, to, from)) return refuse(cudaErrorInvalidValue, "the kind of copy does not match its pointers");
  if (copy.height > 1 && (copy.width > copy.to_pitch || copy.width > copy.from_pitch)) {
    return refuse(cudaErrorInvalidPitchValue, "a row is longer than the pitch");
  }
  if ((to == Place::device && !is_device_memory(copy.to, copy.to_bytes())) ||
      (from == Place::device && !is_device_memory(copy.from, copy.from_bytes()))) {
    return refuse(cudaErrorInvalidValue, "a copy beyond a block of device memory");
  }
  return queue_copy(copy, stream, synchronous);
}

Copy flat(void* to, const void* from, size_t bytes) {
  return {static_cast<std::byte*>(to), bytes, static_cast<const std::byte*>(from), bytes, bytes, 1};
}

cudaError_t set_memory(void* memory, int value, size_t bytes, cudaStream_t handle) {
  CUstream_st* stream = nullptr;
  if (const cudaError_t failed = open_stream(handle, &stream); failed != cudaSuccess) return failed;
  if (bytes == 0) return cudaSuccess;
  if (!is_device_memory(memory, bytes)) return refuse(cudaErrorInvalidValue, "memset beyond a block of device memory");
  enqueue(stream, "memset", [memory, value, bytes] {
    simt::begin_library_call("memset");
    simt::access_device(memory, bytes, simt::Access::write);
    std::memset(memory, value, bytes);
  });
  return cudaSuccess;
}

// ---- properties

/// Attributes that programs ask for; a missing one is an error.
const std::map<cudaDeviceAttr, int>& attributes() {
  static const std::map<cudaDeviceAttr, int> values = {
      {cudaDevAttrComputeCapabilityMajor, compute_major},
      {cudaDevAttrComputeCapabilityMinor, compute_minor},
      {cudaDevAttrMultiProcessorCount, 4},
      {cudaDevAttrMaxThreadsPerBlock, 1024},
      {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
      {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, 163 << 10},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 164 << 10},
      {cudaDevAttrWarpSize, 32},
      {cudaDevAttrL2CacheSize, 4 << 20},
      {cudaDevAttrMemoryPoolsSupported, 1},
      {cudaDevAttrUnifiedAddressing, 1},
      {cudaDevAttrConcurrentKernels, 1},
      {cudaDevAttrAsyncEngineCount, 2},
      {cudaDevAttrIntegrated, 0},
  };
  return values;
}

cudaDeviceProp properties() {
  cudaDeviceProp prop{};
  std::snprintf(prop.name, sizeof(prop.name), "emulated");
  prop.totalGlobalMem = device().options.memory_bytes;
  prop.sharedMemPerBlock = 48 << 10;
  prop.sharedMemPerBlockOptin = 163 << 10;
  prop.sharedMemPerMultiprocessor = 164 << 10;
  prop.regsPerBlock = 65536;
  prop.warpSize = 32;
  prop.maxThreadsPerBlock = 1024;
  prop.maxThreadsPerMultiProcessor = 2048;
  prop.multiProcessorCount = 4;
  prop.major = compute_major;
  prop.minor = compute_minor;
  prop.l2CacheSize = 4 << 20;
  prop.memoryPoolsSupported = 1;
  prop.unifiedAddressing = 1;
  prop.concurrentKernels = 1;
  prop.asyncEngineCount = 2;
  prop.memoryBusWidth = 256;
  return prop;
}

cudaError_t pool_attribute(cudaMemPoolAttr attribute, void* value, bool set) {
  auto* number = static_cast<uint64_t*>(value);
  switch (attribute) {
    case cudaMemPoolAttrReleaseThreshold:
      (set ? device().release_threshold : *number) = set ? *number : device().release_threshold;
      return cudaSuccess;
    case cudaMemPoolAttrReservedMemCurrent:
    case cudaMemPoolAttrUsedMemCurrent:
      if (set) return cudaErrorInvalidValue;
      *number = device().used_bytes;
      return cudaSuccess;
    case cudaMemPoolAttrReservedMemHigh:
    case cudaMemPoolAttrUsedMemHigh:
      if (set && *number != 0) return cudaErrorInvalidValue;
      if (set) device().used_bytes_high = device().used_bytes;
      *number = set ? 0 : device().used_bytes_high;
      return cudaSuccess;
    default:
      return refuse(cudaErrorInvalidValue, "an attribute that the stand-in does not have");
  }
}

cudaMemPool_t default_pool() {
  static char pool = 0;
  return reinterpret_cast<cudaMemPool_t>(&pool);
}

cudaError_t last_error = cudaSuccess;

const std::map<cudaError_t, std::pair<const char*, const char*>>& error_texts() {
  static const std::map<cudaError_t, std::pair<const char*, const char*>> texts = {
      {cudaSuccess, {"cudaSuccess", "no error"}},
      {cudaErrorInvalidValue, {"cudaErrorInvalidValue", "invalid argument"}},
      {cudaErrorMemoryAllocation, {"cudaErrorMemoryAllocation", "out of memory"}},
      {cudaErrorInitializationError, {"cudaErrorInitializationError", "initialization error"}},
      {cudaErrorInvalidConfiguration, {"cudaErrorInvalidConfiguration", "invalid configuration argument"}},
      {cudaErrorInvalidPitchValue, {"cudaErrorInvalidPitchValue", "invalid pitch argument"}},
      {cudaErrorInsufficientDriver,
       {"cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"}},
      {cudaErrorNoDevice, {"cudaErrorNoDevice", "no CUDA-capable device is detected"}},
      {cudaErrorInvalidDevice, {"cudaErrorInvalidDevice", "invalid device ordinal"}},
      {cudaErrorNoKernelImageForDevice,
       {"cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device"}},
      {cudaErrorInvalidResourceHandle, {"cudaErrorInvalidResourceHandle", "invalid resource handle"}},
      {cudaErrorIllegalState, {"cudaErrorIllegalState", "the operation cannot be performed in the present state"}},
      {cudaErrorNotReady, {"cudaErrorNotReady", "device not ready"}},
      {cudaErrorIllegalAddress, {"cudaErrorIllegalAddress", "an illegal memory access was encountered"}},
      {cudaErrorLaunchFailure, {"cudaErrorLaunchFailure", "unspecified launch failure"}},
      {cudaErrorNotPermitted, {"cudaErrorNotPermitted", "operation not permitted"}},
      {cudaErrorNotSupported, {"cudaErrorNotSupported", "operation not supported"}},
      {cudaErrorStreamCaptureUnsupported,
       {"cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"}},
      {cudaErrorStreamCaptureInvalidated,
       {"cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"}},
      {cudaErrorStreamCaptureUnjoined, {"cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"}},
      {cudaErrorStreamCaptureImplicit,
       {"cudaErrorStreamCaptureImplicit", "operation would make the legacy stream depend on a capturing stream"}},
      {cudaErrorGraphExecUpdateFailure, {"cudaErrorGraphExecUpdateFailure", "the graph update was not performed"}},
  };
  return texts;
}

}  // namespace

Device& device() {
  static auto* instance = new Device;  // outlives every static object that still frees memory
  return *instance;
}

Device::Device() : default_stream(std::make_unique<CUstream_st>()), stream_count(1) {
  read_environment(options, planned);
  random.seed(options.seed);
  simt::set_options({options.seed, 0});
  install_queues();
  install_fault_handler();
}

EntryPoint::EntryPoint(const char* function) : name(function) {
  entry_points().insert(function);
}

OpenDevice::OpenDevice() {
  if (device().open++ == 0) protect(PROT_READ | PROT_WRITE);
}

OpenDevice::~OpenDevice() {
  if (--device().open == 0) protect(PROT_NONE);
}

HostCode::HostCode() {
  device().in_host_function = true;
  protect(PROT_NONE);
}

HostCode::~HostCode() {
  protect(PROT_READ | PROT_WRITE);
  device().in_host_function = false;
}

bool planned_failure(const char* function, int* status) {
  ++device().calls[function];
  bool fails = false;
  for (PlannedFailure& planned : device().planned) {
    if (planned.function != function || planned.calls_left == 0 || --planned.calls_left > 0) continue;
    *status = planned.status;
    fails = true;
  }
  return fails;
}

cudaError_t remember(cudaError_t status) {
  if (status != cudaSuccess && status != cudaErrorNotReady) last_error = status;
  return status;
}

bool is_pinned(const void* memory, size_t bytes) {
  auto found = device().pinned.upper_bound(memory);
  if (found == device().pinned.begin()) return false;
  --found;
  const auto offset =
      static_cast<size_t>(static_cast<const std::byte*>(memory) - static_cast<const std::byte*>(found->first));
  return offset <= found->second && bytes <= found->second - offset;
}

bool is_device_memory(const void* memory, size_t bytes) {
  const simt::DeviceBlock block = simt::device_block(memory);
  if (block.begin == nullptr || live_block(block.begin) == nullptr) return false;
  const auto offset =
      static_cast<size_t>(static_cast<const std::byte*>(memory) - static_cast<const std::byte*>(block.begin));
  return bytes <= block.bytes - offset;
}

void reset(const Options& options) {
  const std::lock_guard lock(device().mutex);
  const auto forget = [](CUstream_st& stream) {
    for (const auto& operation : stream.queue) {
      operation->done = true;
      operation->after.clear();
    }
    stream.queue.clear();
  };
  forget(*device().default_stream);
  for (const auto& stream : device().streams) forget(*stream);
  std::erase_if(device().streams, [](const auto& stream) { return stream->destroyed; });
  for (auto& [memory, block] : device().allocations) block.freed = false;
  device().options = options;
  device().random.seed(options.seed);
  simt::set_options({options.seed, 0});
  device().calls.clear();
  device().planned.clear();
  device().allocations_until_failure = 0;
  device().fault.clear();
  device().refusal.clear();
  last_error = cudaSuccess;
}

void fail_call(std::string_view function, int nth, int status) {
  if (!entry_points().contains(function)) throw std::invalid_argument("no entry point " + std::string(function));
  const std::lock_guard lock(device().mutex);
  device().planned.push_back({std::string(function), nth, status});
}

void fail_allocation(int nth) {
  const std::lock_guard lock(device().mutex);
  device().allocations_until_failure = nth;
}

int64_t calls(std::string_view function) {
  const std::lock_guard lock(device().mutex);
  const auto found = device().calls.find(function);
  return found == device().calls.end() ? 0 : found->second;
}

std::string fault() {
  const std::lock_guard lock(device().mutex);
  return device().fault;
}

std::string refusal() {
  const std::lock_guard lock(device().mutex);
  return device().refusal;
}

int64_t live_allocations() {
  const std::lock_guard lock(device().mutex);
  return static_cast<int64_t>(device().allocations.size() + device().pinned.size());
}

int64_t queued_operations() {
  const std::lock_guard lock(device().mutex);
  size_t count = device().default_stream->queue.size();
  for (const auto& stream : device().streams) count += stream->queue.size();
  return static_cast<int64_t>(count);
}

}  // namespace emulated

using namespace emulated;

EMULATED_ENTRY(cudaGetDeviceCount);
cudaError_t cudaGetDeviceCount(int* count) {
  return runtime_call("cudaGetDeviceCount", [&] {
    *count = 1;
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaSetDevice);
cudaError_t cudaSetDevice(int index) {
  return runtime_call("cudaSetDevice", [&] { return index == 0 ? cudaSuccess : cudaErrorInvalidDevice; });
}

EMULATED_ENTRY(cudaGetDevice);
cudaError_t cudaGetDevice(int* index) {
  return runtime_call("cudaGetDevice", [&] {
    *index = 0;
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaGetDeviceProperties);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* prop, int index) {
  return runtime_call("cudaGetDeviceProperties", [&] {
    if (index != 0) return cudaErrorInvalidDevice;
    *prop = properties();
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaDeviceGetAttribute);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int index) {
  return runtime_call("cudaDeviceGetAttribute", [&] {
    if (index != 0) return cudaErrorInvalidDevice;
    const auto found = attributes().find(attribute);
    if (found == attributes().end()) return refuse(cudaErrorInvalidValue, "an attribute that the stand-in has not");
    *value = found->second;
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaDeviceSynchronize);
cudaError_t cudaDeviceSynchronize() {
  return runtime_call("cudaDeviceSynchronize", [&] {
    if (forbidden_by_capture()) return refuse(cudaErrorStreamCaptureUnsupported, "cudaDeviceSynchronize");
    run_everything();
    return device().fault.empty() ? cudaSuccess : cudaErrorLaunchFailure;
  });
}

EMULATED_ENTRY(cudaDriverGetVersion);
cudaError_t cudaDriverGetVersion(int* version) {
  return runtime_call("cudaDriverGetVersion", [&] {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaRuntimeGetVersion);
cudaError_t cudaRuntimeGetVersion(int* version) {
  return runtime_call("cudaRuntimeGetVersion", [&] {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaMemGetInfo);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return runtime_call("cudaMemGetInfo", [&] {
    *total = device().options.memory_bytes;
    *free = *total - std::min(*total, device().used_bytes);
    return cudaSuccess;
  });
}

EMULATED_ENTRY(cudaMalloc);
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  return runtime_call("cudaMalloc", [&] { return allocate(memory, bytes); });
}

EMULATED_ENTRY(cudaFree);
cudaError_t cudaFree(void* memory) {
  return runtime_call("cudaFree", [&] { return deallocate(memory); });
}

EMULATED_ENTRY(cudaMallocAsync);
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t stream) {
  return runtime_call("cudaMallocAsync", [&] { return allocate_in_stream(memory, bytes, stream); });
}

EMULATED_ENTRY(cudaFreeAsync);
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  return runtime_call("cudaFreeAsync", [&] { return free_in_stream(memory, stream); });
}

EMULATED_ENTRY(cudaDeviceGetDefaultMemPool);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int index) {
  return runtime_call("cudaDeviceGetDefaultMemPool", [&] {
    *pool = default_pool();
    return index == 0 ? cudaSuccess : cudaErrorInvalidDevice;
  });
}

EMULATED_ENTRY(cudaMemPoolSetAttribute);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return runtime_call("cudaMemPoolSetAttribute", [&] {
    return pool == default_pool() ? pool_attribute(attribute, value, true) : cudaErrorInvalidValue;
  });
}

EMULATED_ENTRY(cudaMemPoolGetAttribute);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return runtime_call("cudaMemPoolGetAttribute", [&] {
    return pool == default_pool() ? pool_attribute(attribute, value, false) : cudaErrorInvalidValue;
  });
}

EMULATED_ENTRY(cudaMemPoolTrimTo);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t /*bytes_to_keep*/) {
  return runtime_call("cudaMemPoolTrimTo",
                      [&] { return pool == default_pool() ? cudaSuccess : cudaErrorInvalidValue; });
}

EMULATED_ENTRY(cudaMallocHost);
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  return runtime_call("cudaMallocHost", [&] { return allocate_pinned(memory, bytes); });
}

EMULATED_ENTRY(cudaHostAlloc);
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned flags) {
  return runtime_call("cudaHostAlloc", [&] {
    const unsigned known = cudaHostAllocPortable | cudaHostAllocWriteCombined;
    if ((flags & ~known) != 0) return refuse(cudaErrorInvalidValue, "the stand-in does not map host memory");
    return allocate_pinned(memory, bytes);
  });
}

EMULATED_ENTRY(cudaFreeHost);
cudaError_t cudaFreeHost(void* memory) {
  return runtime_call("cudaFreeHost", [&] { return free_pinned(memory); });
}

EMULATED_ENTRY(cudaMemcpy);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return runtime_call("cudaMemcpy", [&] { return copy_memory(flat(to, from, bytes), kind, nullptr, true); });
}

EMULATED_ENTRY(cudaMemcpyAsync);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return runtime_call("cudaMemcpyAsync", [&] { return copy_memory(flat(to, from, bytes), kind, stream, false); });
}

EMULATED_ENTRY(cudaMemcpy2DAsync);
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return runtime_call("cudaMemcpy2DAsync", [&] {
    const Copy copy{
        static_cast<std::byte*>(to), to_pitch, static_cast<const std::byte*>(from), from_pitch, width, height};
    return copy_memory(copy, kind, stream, false);
  });
}

EMULATED_ENTRY(cudaMemset);
cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  return runtime_call("cudaMemset", [&] { return set_memory(memory, value, bytes, nullptr); });
}

EMULATED_ENTRY(cudaMemsetAsync);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return runtime_call("cudaMemsetAsync", [&] { return set_memory(memory, value, bytes, stream); });
}

cudaError_t cudaGetLastError() {
  const std::lock_guard lock(device().mutex);
  return device().fault.empty() ? std::exchange(last_error, cudaSuccess) : cudaErrorLaunchFailure;
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(device().mutex);
  return device().fault.empty() ? last_error : cudaErrorLaunchFailure;
}

const char* cudaGetErrorString(cudaError_t status) {
  const auto found = error_texts().find(status);
  return found == error_texts().end() ? "unrecognized error code" : found->second.second;
}

const char* cudaGetErrorName(cudaError_t status) {
  const auto found = error_texts().find(status);
  return found == error_texts().end() ? "unrecognized error code" : found->second.first;
}
