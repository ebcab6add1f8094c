// The emulated device: what it says of itself, its errors, and waiting for all of its work.
#include <cstdio>
#include <map>
#include <utility>

#include "tests/simt/cuda/internal.h"

namespace emulated {

namespace {

/// Attributes that programs ask for; a missing one is an error.
std::map<cudaDeviceAttr, int> attributes() {
  return {
      {cudaDevAttrComputeCapabilityMajor, device().options.compute_major},
      {cudaDevAttrComputeCapabilityMinor, device().options.compute_minor},
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
  prop.major = device().options.compute_major;
  prop.minor = device().options.compute_minor;
  prop.l2CacheSize = 4 << 20;
  prop.memoryPoolsSupported = 1;
  prop.unifiedAddressing = 1;
  prop.concurrentKernels = 1;
  prop.asyncEngineCount = 2;
  prop.memoryBusWidth = 256;
  return prop;
}

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
  };
  return texts;
}

}  // namespace

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
    const std::map<cudaDeviceAttr, int> known = attributes();
    const auto found = known.find(attribute);
    if (found == known.end()) return refuse(cudaErrorInvalidValue, "an attribute that the stand-in has not");
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

cudaError_t cudaGetLastError() {
  const std::lock_guard lock(device().mutex);
  return device().fault.empty() ? std::exchange(device().last_error, cudaSuccess) : cudaErrorLaunchFailure;
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard lock(device().mutex);
  return device().fault.empty() ? device().last_error : cudaErrorLaunchFailure;
}

const char* cudaGetErrorString(cudaError_t status) {
  const auto found = error_texts().find(status);
  return found == error_texts().end() ? "unrecognized error code" : found->second.second;
}

const char* cudaGetErrorName(cudaError_t status) {
  const auto found = error_texts().find(status);
  return found == error_texts().end() ? "unrecognized error code" : found->second.first;
}
