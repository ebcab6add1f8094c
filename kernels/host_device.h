// Marks the functions of plain headers that kernels of both backends call.
#pragma once

#ifdef __CUDACC__
#define SUBSPECT_HOST_DEVICE __host__ __device__
#else
#define SUBSPECT_HOST_DEVICE
#endif
