// cuBLASLt: descriptors, proposals of algorithms with workspaces of several sizes, and the product, over OpenBLAS.
// Inputs of 16 bits are widened and multiplied in float32; the result is rounded once.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "tests/simt/cuda/blas.h"
#include "tests/simt/cuda/internal.h"

using namespace emulated;

struct cublasLtContext {};

namespace emulated {
namespace {

struct Description {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType_t scale = CUDA_R_32F;
  cublasLtPointerMode_t pointers = CUBLASLT_POINTER_MODE_HOST;
  cublasOperation_t transpose_a = CUBLAS_OP_N;
  cublasOperation_t transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};

struct Layout {
  cudaDataType_t type = CUDA_R_32F;
  uint64_t rows = 0;
  uint64_t cols = 0;
  int64_t stride = 0;
};

struct Preference {
  uint64_t workspace_bytes = 0;
  uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::array<uint32_t, 4> alignment{256, 256, 256, 256};  ///< of A, B, C, D
};

/// What an algorithm's 64 bytes hold.
struct Algorithm {
  uint64_t magic = 0;
  uint64_t id = 0;
  uint64_t workspace_bytes = 0;
  std::array<uint32_t, 4> alignment{};
  std::array<uint64_t, 3> unused{};
};
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));

constexpr uint64_t algorithm_magic = 0x656d756c61746564;
/// The workspace of each algorithm: none, and more and more.
constexpr std::array<uint64_t, 3> algorithm_workspaces{0, 4096, 1 << 16};

Description* of(cublasLtMatmulDesc_t handle) {
  return reinterpret_cast<Description*>(handle);
}
Layout* of(cublasLtMatrixLayout_t handle) {
  return reinterpret_cast<Layout*>(handle);
}
Preference* of(cublasLtMatmulPreference_t handle) {
  return reinterpret_cast<Preference*>(handle);
}

/// Stores an attribute of the size that the documentation gives.
template <class Value>
cublasStatus_t set(Value& value, const void* from, size_t bytes) {
  if (from == nullptr || bytes != sizeof(Value)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "an attribute of the wrong size");
  }
  std::memcpy(&value, from, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t set_attribute(Description& d, cublasLtMatmulDescAttributes_t attribute, const void* value,
                             size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(d.transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(d.transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(d.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(d.bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return set(d.pointers, value, bytes);
    default:
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a description attribute that the stand-in does not have");
  }
}

cublasStatus_t set_attribute(Preference& p, cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                             size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return set(p.workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return set(p.reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return set(p.alignment[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return set(p.alignment[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return set(p.alignment[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return set(p.alignment[3], value, bytes);
    default:
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a preference that the stand-in does not have");
  }
}

/// A product's description and its four layouts.
struct Shape {
  Description description;
  Layout a, b, c, d;
};

/// The combinations in the documentation of cublasLtMatmul that the project could use.
bool types_are_supported(const Shape& s) {
  const cublasComputeType_t compute = s.description.compute;
  const cudaDataType_t scale = compute == CUBLAS_COMPUTE_64F ? CUDA_R_64F : CUDA_R_32F;
  return s.a.type == s.b.type && s.c.type == s.d.type && s.description.scale == scale &&
         product_types_are_supported(compute, s.a.type, s.c.type);
}

cublasStatus_t check_layouts(const Shape& s) {
  const bool ta = s.description.transpose_a != CUBLAS_OP_N;
  const bool tb = s.description.transpose_b != CUBLAS_OP_N;
  const uint64_t rows = ta ? s.a.cols : s.a.rows;
  const uint64_t depth = ta ? s.a.rows : s.a.cols;
  const uint64_t cols = tb ? s.b.rows : s.b.cols;
  if ((tb ? s.b.cols : s.b.rows) != depth) return refuse(CUBLAS_STATUS_INVALID_VALUE, "the depths of A and B differ");
  for (const Layout* result : {&s.c, &s.d}) {
    if (result->rows != rows || result->cols != cols) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "the result's size is not that of the product");
    }
  }
  for (const Layout* layout : {&s.a, &s.b, &s.c, &s.d}) {
    if (layout->rows == 0 || layout->cols == 0) return refuse(CUBLAS_STATUS_INVALID_VALUE, "an empty matrix");
    if (layout->rows > INT32_MAX || layout->cols > INT32_MAX || layout->stride > INT32_MAX) {
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a matrix too large for the stand-in");
    }
    if (layout->stride < static_cast<int64_t>(layout->rows)) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "a leading dimension below the number of rows");
    }
  }
  const cublasLtEpilogue_t epilogue = s.description.epilogue;
  if (epilogue != CUBLASLT_EPILOGUE_DEFAULT && epilogue != CUBLASLT_EPILOGUE_BIAS) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "an epilogue that the stand-in does not have");
  }
  if (!types_are_supported(s)) return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a combination of types");
  return CUBLAS_STATUS_SUCCESS;
}

Algorithm make_algorithm(size_t id, const Preference& preference) {
  return {algorithm_magic, id, algorithm_workspaces[id], preference.alignment, {}};
}

cublasStatus_t propose(const Shape& shape, const Preference& preference, int wanted,
                       cublasLtMatmulHeuristicResult_t* results, int* count) {
  *count = 0;
  if (wanted < 1) return refuse(CUBLAS_STATUS_INVALID_VALUE, "no algorithm is asked for");
  if (const cublasStatus_t failed = check_layouts(shape); failed != CUBLAS_STATUS_SUCCESS) return failed;
  // The one with most workspace first, as cuBLASLt's first proposal is its best.
  for (size_t id = algorithm_workspaces.size(); id-- > 0 && *count < wanted;) {
    if (algorithm_workspaces[id] > preference.workspace_bytes) continue;
    cublasLtMatmulHeuristicResult_t& result = results[(*count)++];
    const Algorithm algorithm = make_algorithm(id, preference);
    result = {};
    result.algo = std::bit_cast<cublasLtMatmulAlgo_t>(algorithm);
    result.workspaceSize = algorithm.workspace_bytes;
    result.state = CUBLAS_STATUS_SUCCESS;
    result.wavesCount = 1.0F;
  }
  return CUBLAS_STATUS_SUCCESS;
}

bool is_algorithm(const Algorithm& algorithm) {
  return algorithm.magic == algorithm_magic && algorithm.id < algorithm_workspaces.size() &&
         algorithm.workspace_bytes == algorithm_workspaces[algorithm.id];
}

struct Pointers {
  const void* a;
  const void* b;
  const void* c;
  void* d;
  void* workspace;
  size_t workspace_bytes;
};

cublasStatus_t check_pointers(const Shape& shape, const Pointers& at, const Algorithm& algorithm, bool reads_c) {
  const std::array<const void*, 4> matrices{at.a, at.b, reads_c ? at.c : at.d, at.d};
  for (size_t i = 0; i < matrices.size(); ++i) {
    if (matrices[i] == nullptr) return refuse(CUBLAS_STATUS_INVALID_VALUE, "a null matrix");
    if (reinterpret_cast<uintptr_t>(matrices[i]) % algorithm.alignment[i] != 0) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "a matrix aligned to less than its algorithm was chosen for");
    }
  }
  if (reads_c && at.c == at.d && shape.c.stride != shape.d.stride) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "C and D are one matrix with two layouts");
  }
  if (at.workspace_bytes < algorithm.workspace_bytes) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "the workspace is smaller than the algorithm's");
  }
  if (algorithm.workspace_bytes > 0 && reinterpret_cast<uintptr_t>(at.workspace) % 16 != 0) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "the workspace is not aligned to 16 bytes");
  }
  const bool biased = shape.description.epilogue == CUBLASLT_EPILOGUE_BIAS;
  if (biased && reinterpret_cast<uintptr_t>(shape.description.bias) % 16 != 0) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "the bias is not aligned to 16 bytes");
  }
  if (biased && shape.description.bias == nullptr) return refuse(CUBLAS_STATUS_INVALID_VALUE, "no bias is given");
  return CUBLAS_STATUS_SUCCESS;
}

double scalar(const Description& description, const void* at) {
  return description.scale == CUDA_R_64F ? *static_cast<const double*>(at)
                                         : static_cast<double>(*static_cast<const float*>(at));
}

void add_bias(const Shape& shape, std::vector<double>& result) {
  const auto rows = static_cast<size_t>(shape.d.rows);
  const std::vector<double> bias = read_matrix({shape.description.bias, shape.d.type, rows, 1, rows});
  for (size_t i = 0; i < result.size(); ++i) result[i] += bias[i % rows];
}

Matrix matrix(const void* data, const Layout& layout) {
  return {data, layout.type, layout.rows, layout.cols, static_cast<size_t>(layout.stride)};
}

void multiply(const Shape& shape, const Pointers& at, const Algorithm& algorithm, double alpha, double beta) {
  simt::begin_library_call("cublasLtMatmul");
  scribble(at.workspace, algorithm.workspace_bytes);
  const Product product{matrix(at.a, shape.a), matrix(at.b, shape.b), shape.description.transpose_a != CUBLAS_OP_N,
                        shape.description.transpose_b != CUBLAS_OP_N, shape.description.compute == CUBLAS_COMPUTE_64F};
  std::vector<double> result = emulated::multiply(product, alpha);
  if (beta != 0) add_scaled(result, beta, read_matrix(matrix(at.c, shape.c)));
  if (shape.description.epilogue == CUBLASLT_EPILOGUE_BIAS) add_bias(shape, result);
  write_matrix(result, matrix(at.d, shape.d));
}

struct MatmulCall {
  Shape shape;
  Pointers at;
  const void* alpha;
  const void* beta;
  const cublasLtMatmulAlgo_t* algorithm;
  cudaStream_t stream;
};

cublasStatus_t queue_product(const MatmulCall& call) {
  const Shape& shape = call.shape;
  if (const cublasStatus_t failed = check_layouts(shape); failed != CUBLAS_STATUS_SUCCESS) return failed;
  if (shape.description.pointers != CUBLASLT_POINTER_MODE_HOST || call.alpha == nullptr || call.beta == nullptr) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "the stand-in takes alpha and beta from the host");
  }
  const double alpha = scalar(shape.description, call.alpha);
  const double beta = scalar(shape.description, call.beta);
  const Algorithm algorithm = call.algorithm == nullptr ? Algorithm{algorithm_magic, 0, 0, {1, 1, 1, 1}, {}}
                                                        : std::bit_cast<Algorithm>(*call.algorithm);
  if (!is_algorithm(algorithm)) return refuse(CUBLAS_STATUS_INVALID_VALUE, "not an algorithm of this library");
  if (const cublasStatus_t failed = check_pointers(shape, call.at, algorithm, beta != 0);
      failed != CUBLAS_STATUS_SUCCESS) {
    return failed;
  }
  CUstream_st* stream = nullptr;
  if (open_stream(call.stream, &stream) != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
  enqueue(stream, "cublasLtMatmul",
          [shape, at = call.at, algorithm, alpha, beta] { multiply(shape, at, algorithm, alpha, beta); });
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace
}  // namespace emulated

EMULATED_ENTRY(cublasLtCreate);
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return blas_call("cublasLtCreate", [&] { return make_handle<cublasStatus_t>(handle, cublasLtContext()); });
}

EMULATED_ENTRY(cublasLtDestroy);
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return blas_call("cublasLtDestroy", [&] { return delete_handle<cublasStatus_t>(handle); });
}

size_t cublasLtGetVersion() {
  return CUBLAS_VERSION;
}

const char* cublasLtGetStatusString(cublasStatus_t status) {
  return blas_status_text(status);
}

EMULATED_ENTRY(cublasLtMatmulDescCreate);
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  return blas_call("cublasLtMatmulDescCreate", [&] {
    return make_handle<cublasStatus_t>(description, Description{.compute = compute, .scale = scale});
  });
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  return delete_handle<cublasStatus_t>(of(description));
}

EMULATED_ENTRY(cublasLtMatmulDescSetAttribute);
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t bytes) {
  return blas_call("cublasLtMatmulDescSetAttribute",
                   [&] { return set_attribute(*of(description), attribute, value, bytes); });
}

EMULATED_ENTRY(cublasLtMatrixLayoutCreate);
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t stride) {
  return blas_call("cublasLtMatrixLayoutCreate", [&] {
    return make_handle<cublasStatus_t>(layout, Layout{type, rows, cols, stride});
  });
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return delete_handle<cublasStatus_t>(of(layout));
}

EMULATED_ENTRY(cublasLtMatmulPreferenceCreate);
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return blas_call("cublasLtMatmulPreferenceCreate",
                   [&] { return make_handle<cublasStatus_t>(preference, Preference()); });
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return delete_handle<cublasStatus_t>(of(preference));
}

EMULATED_ENTRY(cublasLtMatmulPreferenceSetAttribute);
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  return blas_call("cublasLtMatmulPreferenceSetAttribute",
                   [&] { return set_attribute(*of(preference), attribute, value, bytes); });
}

EMULATED_ENTRY(cublasLtMatmulAlgoGetHeuristic);
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t /*handle*/, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* count) {
  return blas_call("cublasLtMatmulAlgoGetHeuristic", [&] {
    return propose({*of(description), *of(a), *of(b), *of(c), *of(d)}, *of(preference), wanted, results, count);
  });
}

EMULATED_ENTRY(cublasLtMatmulAlgoCheck);
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t /*handle*/, cublasLtMatmulDesc_t description,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                       cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t* given,
                                       cublasLtMatmulHeuristicResult_t* result) {
  return blas_call("cublasLtMatmulAlgoCheck", [&] {
    *result = {};
    const Algorithm algorithm = std::bit_cast<Algorithm>(*given);
    result->state = check_layouts({*of(description), *of(a), *of(b), *of(c), *of(d)});
    if (!is_algorithm(algorithm)) result->state = refuse(CUBLAS_STATUS_NOT_SUPPORTED, "not an algorithm");
    result->algo = *given;
    result->workspaceSize = algorithm.workspace_bytes;
    return result->state;
  });
}

EMULATED_ENTRY(cublasLtMatmul);
cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  return blas_call("cublasLtMatmul", [&] {
    if (handle == nullptr) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
    return queue_product({{*of(description), *of(a_layout), *of(b_layout), *of(c_layout), *of(d_layout)},
                          {a, b, c, d, workspace, workspace_bytes},
                          alpha,
                          beta,
                          algorithm,
                          stream});
  });
}
