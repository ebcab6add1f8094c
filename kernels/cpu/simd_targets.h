// Which instruction sets the SIMD kernels are compiled for; include before any Highway header. Each kernel file is
// compiled once per set, and the best that the machine has is chosen at run time. On x86-64: plain C++ (any CPU),
// SSE4, AVX2 with FMA, AVX-512. On Arm: NEON.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
