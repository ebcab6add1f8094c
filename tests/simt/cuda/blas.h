// What the stand-ins for cuBLAS, cuBLASLt and cuSOLVER share: matrices by columns of several types in device memory,
// and the frame around their entry points.
#pragma once

#include <cublas_v2.h>

#include <cstddef>
#include <string>
#include <vector>

#include "tests/simt/cuda/internal.h"

namespace emulated {

/// The body of every entry point of cuBLAS and cuBLASLt.
template <class Body>
cublasStatus_t blas_call(const char* name, const Body& body) {
  const std::lock_guard lock(device().mutex);
  int status = 0;
  if (planned_failure(name, &status)) return static_cast<cublasStatus_t>(status);
  if (!device().fault.empty()) return CUBLAS_STATUS_EXECUTION_FAILED;
  return body();
}

const char* blas_status_text(cublasStatus_t status);

/// A matrix stored by columns; `stride` elements from one column to the next.
struct Matrix {
  const void* data = nullptr;
  cudaDataType_t type = CUDA_R_32F;
  size_t rows = 0;
  size_t cols = 0;
  size_t stride = 0;
};

size_t element_bytes(cudaDataType_t type);

/// Checks the bounds and races of one access to every element. Call simt::begin_library_call first.
void touch(const Matrix& matrix, simt::Access access);

/// All elements, by columns without gaps.
std::vector<double> read_matrix(const Matrix& matrix);
/// Rounds the values to the matrix' type, once.
void write_matrix(const std::vector<double>& values, const Matrix& matrix);

/// Memory that an algorithm may use as it likes: filled with NaN.
void scribble(void* workspace, size_t bytes);

struct Product {
  Matrix a;
  Matrix b;
  bool a_transposed = false;
  bool b_transposed = false;
  bool in_double = false;  ///< else all factors are widened to float32, and summed in it
};

/// alpha op(A) op(B), by columns without gaps.
std::vector<double> multiply(const Product& product, double alpha);
/// values += factor others.
void add_scaled(std::vector<double>& values, double factor, const std::vector<double>& others);

/// Whether a product in this compute type with these types of A and B, and of C, is in the documentation.
bool product_types_are_supported(cublasComputeType_t compute, cudaDataType_t factors, cudaDataType_t result);

}  // namespace emulated
