// cuBLASLt's descriptors of a product.
#include "kernels/cuda/matmul_plan.h"

#include <algorithm>
#include <stdexcept>

namespace subspect::kernels::gpu {
namespace {

const char* type_name(cudaDataType_t type) {
  return type == CUDA_R_16BF ? "bfloat16" : "float32";
}

/// Float32 factors are multiplied as such, never as TF32 nor as sums of smaller types. bfloat16 products are exact in
/// float32, and run on the tensor cores.
cublasComputeType_t compute_type(const ProductShape& shape) {
  return shape.factors == CUDA_R_32F ? CUBLAS_COMPUTE_32F_PEDANTIC : CUBLAS_COMPUTE_32F;
}

template <class Value>
void set(const MatmulDescription& description, cublasLtMatmulDescAttributes_t attribute, const Value& value,
         const ProductShape& shape) {
  check(cublasLtMatmulDescSetAttribute(description.get(), attribute, &value, sizeof(value)),
        "cublasLtMatmulDescSetAttribute", shape);
}

template <class Value>
void set(const MatmulPreference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const Value& value,
         const ProductShape& shape) {
  check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof(value)),
        "cublasLtMatmulPreferenceSetAttribute", shape);
}

MatmulDescription describe_product(const ProductShape& shape) {
  cublasLtMatmulDesc_t created = nullptr;
  check(cublasLtMatmulDescCreate(&created, compute_type(shape), CUDA_R_32F), "cublasLtMatmulDescCreate", shape);
  MatmulDescription description(created);
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, shape.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, shape);
  set(description, CUBLASLT_MATMUL_DESC_TRANSB, shape.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, shape);
  if (shape.bias) set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS, shape);
  return description;
}

/// A matrix stored as `rows` rows, which is one of so many columns to cuBLASLt.
MatrixLayout describe_matrix(cudaDataType_t type, int64_t rows, int64_t cols, int64_t stride,
                             const ProductShape& shape) {
  cublasLtMatrixLayout_t created = nullptr;
  check(cublasLtMatrixLayoutCreate(&created, type, static_cast<uint64_t>(cols), static_cast<uint64_t>(rows), stride),
        "cublasLtMatrixLayoutCreate", shape);
  return MatrixLayout(created);
}

MatmulPreference describe_preference(const ProductShape& shape, size_t workspace_bytes) {
  cublasLtMatmulPreference_t created = nullptr;
  check(cublasLtMatmulPreferenceCreate(&created), "cublasLtMatmulPreferenceCreate", shape);
  MatmulPreference preference(created);
  const auto bytes = static_cast<uint64_t>(workspace_bytes);
  // Neither in place nor in the type of the result: partial sums stay float32, and are added in one order.
  const auto reductions = static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes, shape);
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions, shape);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.b_alignment, shape);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.a_alignment, shape);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.c_alignment, shape);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.c_alignment, shape);
  return preference;
}

}  // namespace

uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  for (const uint32_t alignment : {256U, 16U, 8U, 4U, 2U}) {
    if (address % alignment == 0) return alignment;
  }
  return 1;
}

std::string to_string(const ProductShape& shape) {
  const auto number = [](int64_t value) { return std::to_string(value); };
  std::string text = std::string(type_name(shape.factors)) + " -> " + type_name(shape.result) + ", " +
                     number(shape.rows) + " x " + number(shape.cols) + " x " + number(shape.depth);
  if (shape.a_transposed) text += ", transposed A";
  if (shape.b_transposed) text += ", transposed B";
  if (shape.accumulate) text += ", accumulated";
  if (shape.bias) text += ", bias";
  text += ", strides " + number(shape.a_stride) + " " + number(shape.b_stride) + " " + number(shape.c_stride);
  return text + ", aligned to " + number(shape.a_alignment) + " " + number(shape.b_alignment) + " " +
         number(shape.c_alignment);
}

void check(cublasStatus_t status, const char* call, const ProductShape& shape) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw std::runtime_error(std::string(call) + ": " + cublasLtGetStatusString(status) + " (product " +
                           to_string(shape) + ")");
}

MatmulPlan::MatmulPlan(const ProductShape& shape, const void* bias)
    : shape_(shape),
      product_(describe_product(shape)),
      first_(describe_matrix(shape.factors, shape.b_transposed ? shape.cols : shape.depth,
                             shape.b_transposed ? shape.depth : shape.cols, shape.b_stride, shape)),
      second_(describe_matrix(shape.factors, shape.a_transposed ? shape.depth : shape.rows,
                              shape.a_transposed ? shape.rows : shape.depth, shape.a_stride, shape)),
      result_(describe_matrix(shape.result, shape.rows, shape.cols, shape.c_stride, shape)) {
  set_bias(bias);
}

void MatmulPlan::set_bias(const void* bias) {
  if (shape_.bias) set(product_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias, shape_);
}

Candidates MatmulPlan::propose(cublasLtHandle_t handle, size_t workspace_bytes, int wanted) const {
  const MatmulPreference preference = describe_preference(shape_, workspace_bytes);
  Candidates found;
  check(cublasLtMatmulAlgoGetHeuristic(handle, product_.get(), first_.get(), second_.get(), result_.get(),
                                       result_.get(), preference.get(), wanted, found.results.data(), &found.count),
        "cublasLtMatmulAlgoGetHeuristic", shape_);
  auto* const end = std::remove_if(found.results.data(), found.results.data() + found.count,
                                   [](const auto& result) { return result.state != CUBLAS_STATUS_SUCCESS; });
  found.count = static_cast<int>(end - found.results.data());
  if (found.count == 0) check(CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmulAlgoGetHeuristic", shape_);
  return found;
}

bool MatmulPlan::runs(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algorithm, size_t workspace_bytes) const {
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t status = cublasLtMatmulAlgoCheck(handle, product_.get(), first_.get(), second_.get(),
                                                        result_.get(), result_.get(), &algorithm, &result);
  return status == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= workspace_bytes;
}

cublasStatus_t MatmulPlan::run(cublasLtHandle_t handle, CUstream_st* stream, const ProductPointers& at,
                               const cublasLtMatmulAlgo_t& algorithm, const ProductWorkspace& workspace) {
  set_bias(at.bias);
  const float alpha = 1.0F;
  const float beta = shape_.accumulate ? 1.0F : 0.0F;
  return cublasLtMatmul(handle, product_.get(), &alpha, at.b, first_.get(), at.a, second_.get(), &beta, at.c,
                        result_.get(), at.d, result_.get(), &algorithm, workspace.data, workspace.bytes, stream);
}

}  // namespace subspect::kernels::gpu
