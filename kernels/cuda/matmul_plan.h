// One product as cuBLASLt takes it: its shape, which is the key of a cache, and its descriptors. cuBLASLt's matrices
// are stored by columns, so a product of matrices stored by rows is given to it as C^T = B^T A^T.
#pragma once

#include <cublasLt.h>

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace subspect::kernels::gpu {

/// Everything about a product but its pointers.
struct ProductShape {
  cudaDataType_t factors = CUDA_R_32F;  ///< type of A and B
  cudaDataType_t result = CUDA_R_32F;   ///< type of C
  int64_t rows = 0, cols = 0, depth = 0;
  int64_t a_stride = 0, b_stride = 0, c_stride = 0;
  bool a_transposed = false, b_transposed = false, accumulate = false, bias = false;
  uint32_t a_alignment = 0, b_alignment = 0, c_alignment = 0;  ///< bytes; see `alignment_of`

  auto operator<=>(const ProductShape&) const = default;  // NOLINT(modernize-use-nullptr): a false alarm of the check
};

struct ProductPointers {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;  ///< what is accumulated to
  void* d = nullptr;        ///< the result; c unless timing
  const void* bias = nullptr;
};

/// Memory for the algorithms.
struct ProductWorkspace {
  void* data = nullptr;
  size_t bytes = 0;
};

/// 256, 16, 8, 4, 2 or 1: few classes, so that views at different offsets share a plan.
uint32_t alignment_of(const void* pointer);

/// Names a shape in errors and in the tuning file: "bfloat16 -> float32, 4096 x 896 x 128, transposed A, +=, ...".
std::string to_string(const ProductShape& shape);

/// Throws std::runtime_error: the call, the shape, the status.
void check(cublasStatus_t status, const char* call, const ProductShape& shape);

template <auto destroy>
struct Destroyer {
  template <class Opaque>
  void operator()(Opaque* description) const {
    destroy(description);
  }
};
using MatmulDescription = std::unique_ptr<cublasLtMatmulDescOpaque_t, Destroyer<cublasLtMatmulDescDestroy>>;
using MatrixLayout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Destroyer<cublasLtMatrixLayoutDestroy>>;
using MatmulPreference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Destroyer<cublasLtMatmulPreferenceDestroy>>;

inline constexpr int most_candidates = 8;

/// What cuBLASLt's heuristics propose, best first.
struct Candidates {
  std::array<cublasLtMatmulHeuristicResult_t, most_candidates> results{};
  int count = 0;
};

/// The descriptors of a shape.
class MatmulPlan {
 public:
  /// The heuristics want to see a bias too; `run` replaces it.
  MatmulPlan(const ProductShape& shape, const void* bias);

  const ProductShape& shape() const { return shape_; }

  /// At least one, or throws. `wanted`: at most `most_candidates`.
  Candidates propose(cublasLtHandle_t handle, size_t workspace_bytes, int wanted) const;

  /// Whether an algorithm of unknown origin can run this product with so much workspace.
  bool runs(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algorithm, size_t workspace_bytes) const;

  /// Queues the product.
  cublasStatus_t run(cublasLtHandle_t handle, CUstream_st* stream, const ProductPointers& at,
                     const cublasLtMatmulAlgo_t& algorithm, const ProductWorkspace& workspace);

 private:
  void set_bias(const void* bias);

  ProductShape shape_;
  MatmulDescription product_;
  MatrixLayout first_;   ///< B^T
  MatrixLayout second_;  ///< A^T
  MatrixLayout result_;  ///< C^T
};

}  // namespace subspect::kernels::gpu
