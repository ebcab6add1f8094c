// What is known of a device's hardware: its memory, and the speed that its maker states.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/device.h"

namespace subspect::runtime {

struct Hardware {
  std::string name;           ///< "NVIDIA H200"
  int64_t memory_bytes = 0;   ///< of the device, in all
  double bfloat16_flops = 0;  ///< `dense_bfloat16_flops` of the name
  bool fast_float64 = false;  ///< `has_fast_float64` of the compute capability
};

/// Whether GPUs of this compute capability compute in float64 at half the rate of float32 (8.0, 9.0, 10.0); all others
/// do at a 32nd or 64th of it.
bool has_fast_float64(int major, int minor);

/// Of a GPU; all empty for the CPU, whose speed is measured instead. Throws Error when the GPU cannot be used.
Hardware hardware_of(Device device);

/// Floating-point operations per second of bfloat16 matrix products with float32 accumulation, without structured
/// sparsity, as NVIDIA's data sheets state them for the whole GPU; 0 for a name that is not known, and for a part of a
/// GPU (MIG). The denominator of model flops utilisation.
/// @param gpu as CUDA names it: "NVIDIA A100-SXM4-80GB"
double dense_bfloat16_flops(std::string_view gpu);

}  // namespace subspect::runtime
