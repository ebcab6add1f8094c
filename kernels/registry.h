// The list of kernels: what each does, on which devices and element types, and what it costs. Used by
// `subspect list kernels`, by the benchmarks and by --dry-run.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace subspect::kernels {

/// Sizes that the cost of a kernel depends on; each kernel reads those that its formulas name.
struct CostSizes {
  double rows = 0;      ///< R: tokens, or rows
  double cols = 0;      ///< C: columns, hidden size, or elements of a flat array
  double out = 0;       ///< O: output columns of a linear layer, or vocabulary
  double heads = 0;     ///< H
  double kv_heads = 0;  ///< G
  double head_dim = 0;  ///< d
  double pairs = 0;     ///< P: visible (query, key) pairs per head; `causal_pairs` sums them
  double element = 4;   ///< e: bytes of T
};

/// Least traffic with memory and arithmetic of one call.
struct KernelCost {
  double bytes = 0;
  double flops = 0;
};

struct KernelInfo {
  std::string_view name;    ///< of the function
  std::string_view header;  ///< that declares it
  std::string_view summary;
  std::string_view dtypes;                               ///< "float32, bfloat16"
  bool cpu = true;                                       ///< has a CPU implementation
  bool cuda = false;                                     ///< has a CUDA implementation in this build
  std::string_view bytes;                                ///< formula, in the letters of CostSizes
  std::string_view flops;                                ///< formula
  KernelCost (*cost)(const CostSizes& sizes) = nullptr;  ///< the two formulas
};

/// All kernels, by family.
std::span<const KernelInfo> kernels();

/// The entry of that name, or nullptr.
const KernelInfo* find_kernel(std::string_view name);

/// (query, key) pairs that causal attention computes in one document: length (length + 1) / 2 without a window.
double causal_pairs(double length, double window = 0);

}  // namespace subspect::kernels
