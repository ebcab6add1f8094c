// cuBLAS over OpenBLAS: what a call refuses it refuses at once; the work is queued, and reads what it needs when it
// runs. Scalars are read from the host at the call.
#include "tests/simt/cuda/blas.h"

#include <cblas.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/types.h"

using namespace emulated;

struct cublasContext {
  cudaStream_t stream = nullptr;
  cublasPointerMode_t pointers = CUBLAS_POINTER_MODE_HOST;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
};

namespace emulated {
namespace {

using subspect::kernels::bfloat16;
using subspect::kernels::float16;

template <class T>
double widened(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    return static_cast<double>(value);
  } else {
    return static_cast<double>(subspect::kernels::to_float(value));
  }
}

template <class T>
void narrowed(double value, void* at) {
  T result;
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    result = static_cast<T>(value);
  } else {
    result = subspect::kernels::from_float<T>(static_cast<float>(value));
  }
  std::memcpy(at, &result, sizeof(T));
}

/// Calls `body` with a value of the type.
template <class Body>
void with_type(cudaDataType_t type, const Body& body) {
  switch (type) {
    case CUDA_R_16BF:
      return body(bfloat16());
    case CUDA_R_16F:
      return body(float16());
    case CUDA_R_64F:  // NOLINT(bugprone-branch-clone): the types differ
      return body(double());
    default:
      return body(float());
  }
}

CBLAS_TRANSPOSE cblas_op(bool transposed) {
  return transposed ? CblasTrans : CblasNoTrans;
}

template <class T>
std::vector<T> converted(const Matrix& matrix) {
  const std::vector<double> wide = read_matrix(matrix);
  return {wide.begin(), wide.end()};
}

template <class T>
std::vector<double> multiply_as(const Product& p, double alpha) {
  const std::vector<T> a = converted<T>(p.a);
  const std::vector<T> b = converted<T>(p.b);
  const auto m = static_cast<int>(p.a_transposed ? p.a.cols : p.a.rows);
  const auto n = static_cast<int>(p.b_transposed ? p.b.rows : p.b.cols);
  const auto k = static_cast<int>(p.a_transposed ? p.a.rows : p.a.cols);
  const auto lda = static_cast<int>(p.a.rows);
  const auto ldb = static_cast<int>(p.b.rows);
  std::vector<T> c(static_cast<size_t>(m) * static_cast<size_t>(n), T{0});
  const auto scale = static_cast<T>(alpha);
  if constexpr (std::is_same_v<T, double>) {
    cblas_dgemm(CblasColMajor, cblas_op(p.a_transposed), cblas_op(p.b_transposed), m, n, k, scale, a.data(), lda,
                b.data(), ldb, 0, c.data(), m);
  } else {
    cblas_sgemm(CblasColMajor, cblas_op(p.a_transposed), cblas_op(p.b_transposed), m, n, k, scale, a.data(), lda,
                b.data(), ldb, 0, c.data(), m);
  }
  return {c.begin(), c.end()};
}

// ---- calls

/// A handle whose scalars lie on the host, and its stream.
cublasStatus_t open_handle(cublasHandle_t handle, CUstream_st** stream) {
  if (handle == nullptr) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
  if (handle->pointers != CUBLAS_POINTER_MODE_HOST) {
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "the stand-in takes scalars from the host");
  }
  return open_stream(handle->stream, stream) == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

bool bad_matrix(const Matrix& m) {
  return m.stride < std::max<size_t>(m.rows, 1) || reinterpret_cast<uintptr_t>(m.data) % element_bytes(m.type) != 0;
}

template <class T>
constexpr cudaDataType_t cuda_type = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_64F;

template <class T>
Matrix matrix_of(const T* data, int rows, int cols, int stride) {
  return {data, cuda_type<T>, static_cast<size_t>(rows), static_cast<size_t>(cols), static_cast<size_t>(stride)};
}

struct Gemm {
  Product product;
  Matrix c;
  double alpha = 0;
  double beta = 0;
};

void run_gemm(const Gemm& g) {
  simt::begin_library_call("cublas gemm");
  std::vector<double> result = emulated::multiply(g.product, g.alpha);
  if (g.beta != 0) add_scaled(result, g.beta, read_matrix(g.c));
  write_matrix(result, g.c);
}

struct GemmSize {
  cublasOperation_t op_a;
  cublasOperation_t op_b;
  int m;
  int n;
  int k;
};

/// The stored shapes of A and B.
void set_shapes(const GemmSize& size, Product& p) {
  const auto m = static_cast<size_t>(size.m);
  const auto n = static_cast<size_t>(size.n);
  const auto k = static_cast<size_t>(size.k);
  p.a_transposed = size.op_a != CUBLAS_OP_N;
  p.b_transposed = size.op_b != CUBLAS_OP_N;
  p.a.rows = p.a_transposed ? k : m;
  p.a.cols = p.a_transposed ? m : k;
  p.b.rows = p.b_transposed ? n : k;
  p.b.cols = p.b_transposed ? k : n;
}

cublasStatus_t queue_gemm(cublasHandle_t handle, const GemmSize& size, Gemm g) {
  CUstream_st* stream = nullptr;
  if (const cublasStatus_t failed = open_handle(handle, &stream); failed != CUBLAS_STATUS_SUCCESS) return failed;
  if (size.m < 0 || size.n < 0 || size.k < 0) return refuse(CUBLAS_STATUS_INVALID_VALUE, "a negative size");
  set_shapes(size, g.product);
  g.c.rows = static_cast<size_t>(size.m);
  g.c.cols = static_cast<size_t>(size.n);
  if (bad_matrix(g.product.a) || bad_matrix(g.product.b) || bad_matrix(g.c)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "a leading dimension below the number of rows, or a misaligned matrix");
  }
  if (size.m == 0 || size.n == 0) return CUBLAS_STATUS_SUCCESS;
  enqueue(stream, "cublas gemm", [g] { run_gemm(g); });
  return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t gemm(cublasHandle_t handle, const GemmSize& size, const T* alpha, const T* a, int lda, const T* b,
                    int ldb, const T* beta, T* c, int ldc) {
  if (alpha == nullptr || beta == nullptr) return refuse(CUBLAS_STATUS_INVALID_VALUE, "no scalars");
  Gemm g;
  g.product.a = matrix_of(a, 0, 0, lda);
  g.product.b = matrix_of(b, 0, 0, ldb);
  g.product.in_double = std::is_same_v<T, double>;
  g.c = matrix_of(c, 0, 0, ldc);
  g.alpha = static_cast<double>(*alpha);
  g.beta = static_cast<double>(*beta);
  return queue_gemm(handle, size, g);
}

template <class T>
void run_syrk(CBLAS_UPLO uplo, bool transposed, T alpha, const Matrix& a, T beta, const Matrix& c) {
  simt::begin_library_call("cublas syrk");
  touch(a, simt::Access::read);
  if (beta != T{0}) touch(c, simt::Access::read);
  touch(c, simt::Access::write);
  const auto n = static_cast<int>(c.rows);
  const auto k = static_cast<int>(transposed ? a.rows : a.cols);
  auto* out = static_cast<T*>(const_cast<void*>(c.data));
  const auto* in = static_cast<const T*>(a.data);
  if constexpr (std::is_same_v<T, double>) {
    cblas_dsyrk(CblasColMajor, uplo, cblas_op(transposed), n, k, alpha, in, static_cast<int>(a.stride), beta, out,
                static_cast<int>(c.stride));
  } else {
    cblas_ssyrk(CblasColMajor, uplo, cblas_op(transposed), n, k, alpha, in, static_cast<int>(a.stride), beta, out,
                static_cast<int>(c.stride));
  }
}

template <class T>
cublasStatus_t syrk(cublasHandle_t handle, cublasFillMode_t fill, cublasOperation_t op, int n, int k, const T* alpha,
                    const T* a, int lda, const T* beta, T* c, int ldc) {
  CUstream_st* stream = nullptr;
  if (const cublasStatus_t failed = open_handle(handle, &stream); failed != CUBLAS_STATUS_SUCCESS) return failed;
  if (n < 0 || k < 0 || alpha == nullptr || beta == nullptr || fill == CUBLAS_FILL_MODE_FULL) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "a negative size, no scalars, or no triangle");
  }
  const bool transposed = op != CUBLAS_OP_N;
  const Matrix in = transposed ? matrix_of(a, k, n, lda) : matrix_of(a, n, k, lda);
  const Matrix out = matrix_of(c, n, n, ldc);
  if (bad_matrix(in) || bad_matrix(out)) return refuse(CUBLAS_STATUS_INVALID_VALUE, "a leading dimension");
  if (n == 0) return CUBLAS_STATUS_SUCCESS;
  const CBLAS_UPLO uplo = fill == CUBLAS_FILL_MODE_LOWER ? CblasLower : CblasUpper;
  enqueue(stream, "cublas syrk",
          [=, scale = *alpha, keep = *beta] { run_syrk<T>(uplo, transposed, scale, in, keep, out); });
  return CUBLAS_STATUS_SUCCESS;
}

template <class T>
cublasStatus_t dgmm(cublasHandle_t handle, cublasSideMode_t side, int m, int n, const T* a, int lda, const T* x,
                    int step, T* c, int ldc) {
  CUstream_st* stream = nullptr;
  if (const cublasStatus_t failed = open_handle(handle, &stream); failed != CUBLAS_STATUS_SUCCESS) return failed;
  const Matrix in = matrix_of(a, m, n, lda);
  const Matrix out = matrix_of(c, m, n, ldc);
  if (m < 0 || n < 0 || bad_matrix(in) || bad_matrix(out)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "a negative size or a leading dimension");
  }
  if (step != 1) return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "the stand-in takes contiguous diagonals");
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;
  const bool left = side == CUBLAS_SIDE_LEFT;
  const Matrix diagonal = matrix_of(x, left ? m : n, 1, left ? m : n);
  enqueue(stream, "cublas dgmm", [in, out, diagonal, left] {
    simt::begin_library_call("cublas dgmm");
    std::vector<double> values = read_matrix(in);
    const std::vector<double> factors = read_matrix(diagonal);
    for (size_t i = 0; i < values.size(); ++i) values[i] *= factors[left ? i % in.rows : i / in.rows];
    write_matrix(values, out);
  });
  return CUBLAS_STATUS_SUCCESS;
}

struct Trsm {
  CBLAS_SIDE side;
  CBLAS_UPLO uplo;
  CBLAS_TRANSPOSE op;
  CBLAS_DIAG diagonal;
};

template <class T>
void run_trsm(const Trsm& t, T alpha, const Matrix& a, const Matrix& b) {
  simt::begin_library_call("cublas trsm");
  touch(a, simt::Access::read);
  touch(b, simt::Access::read);
  touch(b, simt::Access::write);
  const auto m = static_cast<int>(b.rows);
  const auto n = static_cast<int>(b.cols);
  auto* out = static_cast<T*>(const_cast<void*>(b.data));
  const auto* in = static_cast<const T*>(a.data);
  if constexpr (std::is_same_v<T, double>) {
    cblas_dtrsm(CblasColMajor, t.side, t.uplo, t.op, t.diagonal, m, n, alpha, in, static_cast<int>(a.stride), out,
                static_cast<int>(b.stride));
  } else {
    cblas_strsm(CblasColMajor, t.side, t.uplo, t.op, t.diagonal, m, n, alpha, in, static_cast<int>(a.stride), out,
                static_cast<int>(b.stride));
  }
}

struct TrsmModes {
  cublasSideMode_t side;
  cublasFillMode_t fill;
  cublasOperation_t op;
  cublasDiagType_t diagonal;
};

template <class T>
cublasStatus_t trsm(cublasHandle_t handle, const TrsmModes& modes, int m, int n, const T* alpha, const T* a, int lda,
                    T* b, int ldb) {
  CUstream_st* stream = nullptr;
  if (const cublasStatus_t failed = open_handle(handle, &stream); failed != CUBLAS_STATUS_SUCCESS) return failed;
  const int order = modes.side == CUBLAS_SIDE_LEFT ? m : n;
  const Matrix triangle = matrix_of(a, order, order, lda);
  const Matrix out = matrix_of(b, m, n, ldb);
  if (m < 0 || n < 0 || alpha == nullptr || bad_matrix(triangle) || bad_matrix(out)) {
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "a negative size, no scalar, or a leading dimension");
  }
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;
  const Trsm t{modes.side == CUBLAS_SIDE_LEFT ? CblasLeft : CblasRight,
               modes.fill == CUBLAS_FILL_MODE_LOWER ? CblasLower : CblasUpper, cblas_op(modes.op != CUBLAS_OP_N),
               modes.diagonal == CUBLAS_DIAG_UNIT ? CblasUnit : CblasNonUnit};
  enqueue(stream, "cublas trsm", [=, scale = *alpha] { run_trsm<T>(t, scale, triangle, out); });
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

size_t element_bytes(cudaDataType_t type) {
  return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2;
}

void touch(const Matrix& m, simt::Access access) {
  const size_t bytes = element_bytes(m.type);
  const auto* data = static_cast<const std::byte*>(m.data);
  if (m.stride == m.rows) {
    simt::access_device(data, m.rows * m.cols * bytes, access);
    return;
  }
  for (size_t j = 0; j < m.cols; ++j) simt::access_device(data + j * m.stride * bytes, m.rows * bytes, access);
}

std::vector<double> read_matrix(const Matrix& m) {
  touch(m, simt::Access::read);
  std::vector<double> values(m.rows * m.cols);
  with_type(m.type, [&]<class T>(T) {
    const auto* data = static_cast<const T*>(m.data);
    for (size_t j = 0; j < m.cols; ++j) {
      for (size_t i = 0; i < m.rows; ++i) values[j * m.rows + i] = widened<T>(data + j * m.stride + i);
    }
  });
  return values;
}

void write_matrix(const std::vector<double>& values, const Matrix& m) {
  touch(m, simt::Access::write);
  with_type(m.type, [&]<class T>(T) {
    auto* data = static_cast<T*>(const_cast<void*>(m.data));
    for (size_t j = 0; j < m.cols; ++j) {
      for (size_t i = 0; i < m.rows; ++i) narrowed<T>(values[j * m.rows + i], data + j * m.stride + i);
    }
  });
}

void scribble(void* workspace, size_t bytes) {
  simt::access_device(workspace, bytes, simt::Access::write);
  if (bytes > 0) std::memset(workspace, 0xff, bytes);
}

std::vector<double> multiply(const Product& product, double alpha) {
  return product.in_double ? multiply_as<double>(product, alpha) : multiply_as<float>(product, alpha);
}

void add_scaled(std::vector<double>& values, double factor, const std::vector<double>& others) {
  for (size_t i = 0; i < values.size(); ++i) values[i] += factor * others[i];
}

bool product_types_are_supported(cublasComputeType_t compute, cudaDataType_t factors, cudaDataType_t result) {
  if (compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC) {
    return factors == CUDA_R_64F && result == CUDA_R_64F;
  }
  if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_PEDANTIC) return false;
  if (factors == CUDA_R_32F) return result == CUDA_R_32F;
  return (factors == CUDA_R_16BF || factors == CUDA_R_16F) && (result == factors || result == CUDA_R_32F);
}

const char* blas_status_text(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "the operation completed successfully";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "the library was not initialized";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "the resource allocation failed";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "the function failed to launch on the GPU";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "an internal operation failed";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "the requested functionality is not supported";
    default:
      return "unknown error";
  }
}

}  // namespace emulated

EMULATED_ENTRY(cublasCreate);
cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  return blas_call("cublasCreate", [&] { return make_handle<cublasStatus_t>(handle, cublasContext()); });
}

cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  return delete_handle<cublasStatus_t>(handle);
}

EMULATED_ENTRY(cublasSetStream);
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  return blas_call("cublasSetStream", [&] {
    if (handle == nullptr) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
    handle->stream = stream;
    handle->workspace = nullptr;  // a new stream goes back to the library's own
    handle->workspace_bytes = 0;
    return CUBLAS_STATUS_SUCCESS;
  });
}

EMULATED_ENTRY(cublasSetMathMode);
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  return blas_call("cublasSetMathMode", [&] {
    if (handle == nullptr) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
    if (mode != CUBLAS_DEFAULT_MATH && mode != CUBLAS_PEDANTIC_MATH) {
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "the stand-in has no TF32");
    }
    handle->math = mode;
    return CUBLAS_STATUS_SUCCESS;
  });
}

EMULATED_ENTRY(cublasSetPointerMode);
cublasStatus_t cublasSetPointerMode(cublasHandle_t handle, cublasPointerMode_t mode) {
  return blas_call("cublasSetPointerMode", [&] {
    if (handle == nullptr) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
    handle->pointers = mode;
    return CUBLAS_STATUS_SUCCESS;
  });
}

EMULATED_ENTRY(cublasSetWorkspace);
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, size_t bytes) {
  return blas_call("cublasSetWorkspace", [&] {
    if (handle == nullptr) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no handle");
    if (reinterpret_cast<uintptr_t>(workspace) % 256 != 0) {
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "the workspace is not aligned to 256 bytes");
    }
    handle->workspace = workspace;
    handle->workspace_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
  });
}

const char* cublasGetStatusString(cublasStatus_t status) {
  return blas_status_text(status);
}

EMULATED_ENTRY(cublasSgemm);
cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                           const float* alpha, const float* a, int lda, const float* b, int ldb, const float* beta,
                           float* c, int ldc) {
  return blas_call("cublasSgemm", [&] {
    return gemm(handle, {op_a, op_b, m, n, k}, alpha, a, lda, b, ldb, beta, c, ldc);
  });
}

EMULATED_ENTRY(cublasDgemm);
cublasStatus_t cublasDgemm(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                           const double* alpha, const double* a, int lda, const double* b, int ldb, const double* beta,
                           double* c, int ldc) {
  return blas_call("cublasDgemm", [&] {
    return gemm(handle, {op_a, op_b, m, n, k}, alpha, a, lda, b, ldb, beta, c, ldc);
  });
}

EMULATED_ENTRY(cublasGemmEx);
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
                            const void* alpha, const void* a, cudaDataType a_type, int lda, const void* b,
                            cudaDataType b_type, int ldb, const void* beta, void* c, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t /*algorithm*/) {
  return blas_call("cublasGemmEx", [&] {
    if (alpha == nullptr || beta == nullptr) return refuse(CUBLAS_STATUS_INVALID_VALUE, "no scalars");
    if (a_type != b_type || !product_types_are_supported(compute, a_type, c_type)) {
      return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "a combination of types");
    }
    Gemm g;
    g.product.in_double = a_type == CUDA_R_64F;
    g.product.a = {a, a_type, 0, 0, static_cast<size_t>(lda)};
    g.product.b = {b, b_type, 0, 0, static_cast<size_t>(ldb)};
    g.c = {c, c_type, 0, 0, static_cast<size_t>(ldc)};
    g.alpha = g.product.in_double ? *static_cast<const double*>(alpha) : *static_cast<const float*>(alpha);
    g.beta = g.product.in_double ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta);
    return queue_gemm(handle, {op_a, op_b, m, n, k}, g);
  });
}

EMULATED_ENTRY(cublasSsyrk);
cublasStatus_t cublasSsyrk(cublasHandle_t handle, cublasFillMode_t fill, cublasOperation_t op, int n, int k,
                           const float* alpha, const float* a, int lda, const float* beta, float* c, int ldc) {
  return blas_call("cublasSsyrk", [&] { return syrk(handle, fill, op, n, k, alpha, a, lda, beta, c, ldc); });
}

EMULATED_ENTRY(cublasDsyrk);
cublasStatus_t cublasDsyrk(cublasHandle_t handle, cublasFillMode_t fill, cublasOperation_t op, int n, int k,
                           const double* alpha, const double* a, int lda, const double* beta, double* c, int ldc) {
  return blas_call("cublasDsyrk", [&] { return syrk(handle, fill, op, n, k, alpha, a, lda, beta, c, ldc); });
}

EMULATED_ENTRY(cublasSdgmm);
cublasStatus_t cublasSdgmm(cublasHandle_t handle, cublasSideMode_t side, int m, int n, const float* a, int lda,
                           const float* x, int step, float* c, int ldc) {
  return blas_call("cublasSdgmm", [&] { return dgmm(handle, side, m, n, a, lda, x, step, c, ldc); });
}

EMULATED_ENTRY(cublasDdgmm);
cublasStatus_t cublasDdgmm(cublasHandle_t handle, cublasSideMode_t side, int m, int n, const double* a, int lda,
                           const double* x, int step, double* c, int ldc) {
  return blas_call("cublasDdgmm", [&] { return dgmm(handle, side, m, n, a, lda, x, step, c, ldc); });
}

EMULATED_ENTRY(cublasStrsm);
cublasStatus_t cublasStrsm(cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t fill, cublasOperation_t op,
                           cublasDiagType_t diagonal, int m, int n, const float* alpha, const float* a, int lda,
                           float* b, int ldb) {
  return blas_call("cublasStrsm", [&] {
    return trsm(handle, {side, fill, op, diagonal}, m, n, alpha, a, lda, b, ldb);
  });
}

EMULATED_ENTRY(cublasDtrsm);
cublasStatus_t cublasDtrsm(cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t fill, cublasOperation_t op,
                           cublasDiagType_t diagonal, int m, int n, const double* alpha, const double* a, int lda,
                           double* b, int ldb) {
  return blas_call("cublasDtrsm", [&] {
    return trsm(handle, {side, fill, op, diagonal}, m, n, alpha, a, lda, b, ldb);
  });
}
