// What the parts of the stand-in for cuSOLVER share: the frame of its calls, workspaces, and matrices.
#pragma once

#include <cusolverDn.h>
#include <lapacke.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "tests/simt/cuda/blas.h"

struct cusolverDnContext {
  cudaStream_t stream = nullptr;
};

namespace emulated {

struct Bytes {
  size_t device = 0;
  size_t host = 0;
};

struct Workspace {
  void* device = nullptr;
  size_t device_bytes = 0;
  void* host = nullptr;
  size_t host_bytes = 0;
  int* info = nullptr;
};

template <class Body>
cusolverStatus_t solver_call(const char* name, const Body& body) {
  const std::lock_guard lock(device().mutex);
  int status = 0;
  if (planned_failure(name, &status)) return static_cast<cusolverStatus_t>(status);
  if (!device().fault.empty()) return CUSOLVER_STATUS_EXECUTION_FAILED;
  return body();
}

/// Whether all matrices have the type that is computed in, float32 or float64.
bool one_type(std::initializer_list<cudaDataType> types);
bool bad_matrix(const void* data, int64_t rows, int64_t cols, int64_t stride);
Matrix matrix(const void* data, cudaDataType type, int64_t rows, int64_t cols, int64_t stride);
Matrix vector(const void* data, cudaDataType type, int64_t count);
int whole(size_t number);

template <class T>
T* elements(const Matrix& m) {
  return static_cast<T*>(const_cast<void*>(m.data));
}

bool all_finite(const Matrix& m);
/// Of the triangle with its diagonal; nothing else of the matrix is read.
bool triangle_is_finite(const Matrix& m, bool lower);
void fill_with_nan(const Matrix& m);
/// Reads and overwrites: what LAPACK does to the matrices that follow.
void touch_all(std::initializer_list<Matrix> matrices);

/// Writes what a query answers.
cusolverStatus_t answer(const Bytes& bytes, size_t* device_bytes, size_t* host_bytes);
cusolverStatus_t refuse_types();

/// Queues `body`, which returns what goes to `info`: a number, or one for each matrix of a batch.
template <class Body>
cusolverStatus_t queue_solver(cusolverDnHandle_t handle, const char* name, const Bytes& needs, const Workspace& given,
                              const Body& body) {
  if (handle == nullptr) return refuse(CUSOLVER_STATUS_NOT_INITIALIZED, "no handle");
  if (given.device_bytes < needs.device || given.host_bytes < needs.host) {
    return refuse(CUSOLVER_STATUS_INVALID_VALUE, "a workspace smaller than the query said");
  }
  if (reinterpret_cast<uintptr_t>(given.device) % 16 != 0 || given.info == nullptr) {
    return refuse(CUSOLVER_STATUS_INVALID_VALUE, "a workspace that is not aligned to 16 bytes, or no info");
  }
  CUstream_st* stream = nullptr;
  if (open_stream(handle->stream, &stream) != cudaSuccess) return CUSOLVER_STATUS_EXECUTION_FAILED;
  if (needs.host > 0) std::memset(given.host, 0xff, needs.host);
  enqueue(stream, name, [name, needs, given, body] {
    simt::begin_library_call(name);
    scribble(given.device, needs.device);
    const std::vector<int> info{body()};
    scribble(given.device, needs.device);
    simt::access_device(given.info, info.size() * sizeof(int), simt::Access::write);
    std::copy(info.begin(), info.end(), given.info);
  });
  return CUSOLVER_STATUS_SUCCESS;
}

template <class Body>
auto with_real(cudaDataType type, const Body& body) {
  return type == CUDA_R_64F ? body(double()) : body(float());
}

}  // namespace emulated
