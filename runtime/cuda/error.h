// Every call of the CUDA runtime goes through `check`: what failed, in which call, and what to do about it.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

namespace subspect::runtime::cuda {

/// Throws Error naming the call and CUDA's text for `status`; does nothing for cudaSuccess.
void check(cudaError_t status, std::string_view call);

/// What a user can do about a failure.
std::string_view advice(cudaError_t status);

}  // namespace subspect::runtime::cuda
