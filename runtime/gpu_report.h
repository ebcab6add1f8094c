// What is known of the machine's GPUs, for `subspect doctor` and for the environment of a run.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/device.h"

namespace subspect::runtime {

/// GPUs of the machine, usable or not; 0 in a build without CUDA. Throws Error when there is no driver or no GPU.
int gpu_count();

/// What a run records of a GPU, by name: the model, its driver, versions of CUDA and cuBLASLt; nothing for the CPU.
/// Throws Error when the GPU is not there.
std::vector<std::pair<std::string, std::string>> describe(Device device);

}  // namespace subspect::runtime
