// What bench_simt counts: every kernel family at a shape of a real model, with fewer rows than it has there, since the
// threads run on the CPU. Counts grow with the rows; the declared shape says how far.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernels/registry.h"

namespace subspect::bench {

struct Case {
  std::string name;  ///< of the operation, and what tells its variants apart: "rms_norm_forward, residual"
  std::string type;  ///< of the elements
  kernels::CostSizes counted;
  kernels::CostSizes declared;  ///< a whole training or decoding step of one layer
  kernels::KernelCost (*cost)(const kernels::CostSizes& sizes) = nullptr;
  bool bound_by_memory = true;  ///< so that the bytes moved have a goal
  /// Operations on tensor cores that each kernel needs at least, by the kernel's name; fragments cannot be split, so
  /// counts lie a little above.
  std::map<std::string, double> matrix_flops;
  std::function<void()> run;  ///< once, on the emulated device
};

std::vector<Case> norm_cases();
std::vector<Case> attention_cases();
std::vector<Case> elementwise_cases();
std::vector<Case> embedding_and_loss_cases();
std::vector<Case> optimizer_cases();
std::vector<Case> generation_cases();
std::vector<Case> linalg_cases();

}  // namespace subspect::bench
