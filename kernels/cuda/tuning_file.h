// The file that keeps which algorithm of cuBLASLt was fastest for a product, for one GPU model and version of cuBLASLt.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

namespace subspect::kernels::gpu {

/// cublasLtMatmulAlgo_t, which "can be trivially serialized and later restored for use with the same version".
using AlgorithmBits = std::array<uint64_t, 8>;

/// From a product's name to its algorithm.
using TunedAlgorithms = std::map<std::string, AlgorithmBits>;

/// Whose choices a file holds.
struct TuningOwner {
  std::string gpu;
  uint64_t version = 0;  ///< of cuBLASLt
};

/// The choices in the file. One that does not exist is empty; one that is damaged, or of another owner, is empty with a
/// warning.
TunedAlgorithms read_tuning_file(const std::string& path, const TuningOwner& owner, std::string& warning);

/// Replaces the file, so that a reader sees the old one or the new one, and makes its folder. Returns what went wrong,
/// or nothing.
std::string write_tuning_file(const std::string& path, const TuningOwner& owner, const TunedAlgorithms& algorithms);

}  // namespace subspect::kernels::gpu
