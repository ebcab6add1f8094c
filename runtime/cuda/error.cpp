// From a CUDA status to an Error with advice.
#include "runtime/cuda/error.h"

#include "runtime/error.h"

namespace subspect::runtime::cuda {

std::string_view advice(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver:
      return "the NVIDIA driver is missing or older than this program's CUDA: install a newer driver, or use --device "
             "cpu";
    case cudaErrorNoDevice:
      return "no NVIDIA GPU is visible: see `nvidia-smi` and CUDA_VISIBLE_DEVICES, or use --device cpu";
    case cudaErrorInvalidDevice:
      return "`subspect doctor` lists the GPUs";
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorSystemNotReady:
      return "the NVIDIA driver and its kernel module do not fit or are not ready: restart the machine, or see "
             "`nvidia-smi`";
    case cudaErrorDevicesUnavailable:
      return "another process holds the GPU exclusively: see `nvidia-smi`";
    case cudaErrorMemoryAllocation:
      return "the GPU or pinned host memory is full: see `nvidia-smi` for other processes";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidPtx:
    case cudaErrorUnsupportedPtxVersion:
      return "this program has no code for this GPU: it needs compute capability 8.0 or higher and a driver for its "
             "CUDA";
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalInstruction:
      return "a kernel queued earlier failed: run again with CUDA_LAUNCH_BLOCKING=1 to see which, and report it";
    case cudaErrorECCUncorrectable:
    case cudaErrorHardwareStackError:
      return "the GPU reports a hardware error: see `nvidia-smi -q`";
    default:
      return "see `subspect doctor`, and report it if the GPU is in order";
  }
}

void check(cudaError_t status, std::string_view call) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // an error that does not stick must not fail the next launch
  throw Error(fmt::format("{}: {} ({})", call, cudaGetErrorString(status), cudaGetErrorName(status)), "CUDA",
              std::string(advice(status)));
}

}  // namespace subspect::runtime::cuda
