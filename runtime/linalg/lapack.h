// LAPACK on host memory, on the calling thread alone: for the CPU's backend, and for what a GPU leaves to the host.
#pragma once

#include <cstdint>

namespace subspect::runtime::linalg {

/// From now on BLAS calls of this process run on the thread that calls.
void use_single_threaded_blas();

/// What Backend::eigen does, in host memory. Thread-safe.
bool symmetric_eigen(double* matrix, int64_t n, int64_t count, double* values);

}  // namespace subspect::runtime::linalg
