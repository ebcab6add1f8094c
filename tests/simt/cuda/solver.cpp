// cuSOLVER over LAPACKE: handles, and what its calls check. Workspaces must be as large as the query says, and are
// overwritten; `info` is written on the device when the work runs.
#include "tests/simt/cuda/solver.h"

#include <cmath>
#include <utility>

using namespace emulated;

struct cusolverDnParams {};

namespace emulated {

/// Whether all matrices have the type that is computed in, float32 or float64.
bool one_type(std::initializer_list<cudaDataType> types) {
  const cudaDataType first = *types.begin();
  return (first == CUDA_R_32F || first == CUDA_R_64F) &&
         std::all_of(types.begin(), types.end(), [&](cudaDataType type) { return type == first; });
}

bool bad_matrix(const void* data, int64_t rows, int64_t cols, int64_t stride) {
  return rows < 0 || cols < 0 || rows > INT32_MAX || cols > INT32_MAX || stride < std::max<int64_t>(rows, 1) ||
         (data == nullptr && rows > 0 && cols > 0);
}

Matrix matrix(const void* data, cudaDataType type, int64_t rows, int64_t cols, int64_t stride) {
  return {data, type, static_cast<size_t>(rows), static_cast<size_t>(cols), static_cast<size_t>(stride)};
}

Matrix vector(const void* data, cudaDataType type, int64_t count) {
  return matrix(data, type, count, 1, count);
}

int whole(size_t number) {
  return static_cast<int>(number);
}

bool all_finite(const Matrix& m) {
  const std::vector<double> values = read_matrix(m);
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

/// Of the triangle with its diagonal; nothing else of the matrix is read.
bool triangle_is_finite(const Matrix& m, bool lower) {
  const std::vector<double> values = read_matrix(m);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t row = i % m.rows;
    const size_t col = i / m.rows;
    if ((lower ? row >= col : row <= col) && !std::isfinite(values[i])) return false;
  }
  return true;
}

void fill_with_nan(const Matrix& m) {
  write_matrix(std::vector<double>(m.rows * m.cols, std::nan("")), m);
}

/// Reads and overwrites: what LAPACK does to the matrices that follow.
void touch_all(std::initializer_list<Matrix> matrices) {
  for (const Matrix& m : matrices) touch(m, simt::Access::write);
}

cusolverStatus_t answer(const Bytes& bytes, size_t* device_bytes, size_t* host_bytes) {
  *device_bytes = bytes.device;
  *host_bytes = bytes.host;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t refuse_types() {
  return refuse(CUSOLVER_STATUS_INVALID_VALUE, "a combination of types, a size or a leading dimension");
}

}  // namespace emulated

EMULATED_ENTRY(cusolverDnCreate);
cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t* handle) {
  return solver_call("cusolverDnCreate", [&] { return make_handle<cusolverStatus_t>(handle, cusolverDnContext()); });
}

cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle) {
  return delete_handle<cusolverStatus_t>(handle);
}

EMULATED_ENTRY(cusolverDnSetStream);
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream) {
  return solver_call("cusolverDnSetStream", [&] {
    if (handle == nullptr) return refuse(CUSOLVER_STATUS_NOT_INITIALIZED, "no handle");
    handle->stream = stream;
    return CUSOLVER_STATUS_SUCCESS;
  });
}

cusolverStatus_t cusolverDnSetDeterministicMode(cusolverDnHandle_t handle, cusolverDeterministicMode_t /*mode*/) {
  return handle == nullptr ? CUSOLVER_STATUS_NOT_INITIALIZED : CUSOLVER_STATUS_SUCCESS;  // it always is
}

cusolverStatus_t cusolverDnSetAdvOptions(cusolverDnParams_t params, cusolverDnFunction_t /*function*/,
                                         cusolverAlgMode_t /*mode*/) {
  return params == nullptr ? CUSOLVER_STATUS_INVALID_VALUE : CUSOLVER_STATUS_SUCCESS;  // there is one algorithm
}

cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t* params) {
  return make_handle<cusolverStatus_t>(params, cusolverDnParams());
}

cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t params) {
  return delete_handle<cusolverStatus_t>(params);
}
