// The functions of cuBLASLt, cuBLAS, cuSOLVER and NCCL that the project calls, by the names that their headers give to
// the linker. A call that is not listed here fails at link.
#pragma once

// Each list without the function that makes the handle: that one loads the library (lazy_libraries.cpp).

#define SUBSPECT_CUBLASLT_FUNCTIONS(F)    \
  F(cublasLtDestroy)                      \
  F(cublasLtGetStatusString)              \
  F(cublasLtMatmul)                       \
  F(cublasLtMatmulAlgoCheck)              \
  F(cublasLtMatmulAlgoGetHeuristic)       \
  F(cublasLtMatmulDescCreate)             \
  F(cublasLtMatmulDescDestroy)            \
  F(cublasLtMatmulDescSetAttribute)       \
  F(cublasLtMatmulPreferenceCreate)       \
  F(cublasLtMatmulPreferenceDestroy)      \
  F(cublasLtMatmulPreferenceSetAttribute) \
  F(cublasLtMatrixLayoutCreate)           \
  F(cublasLtMatrixLayoutDestroy)          \
  F(cublasLtMatrixLayoutSetAttribute)

#define SUBSPECT_CUBLAS_FUNCTIONS(F) \
  F(cublasDestroy_v2)                \
  F(cublasGetStatusString)           \
  F(cublasSetMathMode)               \
  F(cublasSetPointerMode_v2)         \
  F(cublasSetStream_v2)              \
  F(cublasSetWorkspace_v2)           \
  F(cublasDdgmm)                     \
  F(cublasDgeam)                     \
  F(cublasDgemm_v2)                  \
  F(cublasDgemmStridedBatched)       \
  F(cublasDsyrk_v2)                  \
  F(cublasDtrsm_v2)                  \
  F(cublasGemmEx)                    \
  F(cublasGemmStridedBatchedEx)      \
  F(cublasSdgmm)                     \
  F(cublasSgeam)                     \
  F(cublasSgemm_v2)                  \
  F(cublasSgemmStridedBatched)       \
  F(cublasSsyrk_v2)                  \
  F(cublasStrsm_v2)

#define SUBSPECT_CUSOLVER_FUNCTIONS(F) \
  F(cusolverDnCreateParams)            \
  F(cusolverDnDestroy)                 \
  F(cusolverDnDestroyParams)           \
  F(cusolverDnSetAdvOptions)           \
  F(cusolverDnSetDeterministicMode)    \
  F(cusolverDnSetStream)               \
  F(cusolverDnDorgqr)                  \
  F(cusolverDnDorgqr_bufferSize)       \
  F(cusolverDnSorgqr)                  \
  F(cusolverDnSorgqr_bufferSize)       \
  F(cusolverDnXgeqrf)                  \
  F(cusolverDnXgeqrf_bufferSize)       \
  F(cusolverDnXgesvd)                  \
  F(cusolverDnXgesvd_bufferSize)       \
  F(cusolverDnXgesvdp)                 \
  F(cusolverDnXgesvdp_bufferSize)      \
  F(cusolverDnXpotrf)                  \
  F(cusolverDnXpotrf_bufferSize)       \
  F(cusolverDnXsyevBatched)            \
  F(cusolverDnXsyevBatched_bufferSize) \
  F(cusolverDnXsyevd)                  \
  F(cusolverDnXsyevd_bufferSize)       \
  F(cusolverDnXsyevdx)                 \
  F(cusolverDnXsyevdx_bufferSize)

#define SUBSPECT_NCCL_FUNCTIONS(F) \
  F(ncclCommAbort)                 \
  F(ncclCommDestroy)               \
  F(ncclGetErrorString)            \
  F(ncclGetLastError)              \
  F(ncclGroupEnd)                  \
  F(ncclGroupStart)                \
  F(ncclRecv)                      \
  F(ncclSend)
