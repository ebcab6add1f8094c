// Stochastic rounding of float32 to bfloat16 (Gupta et al., "Deep Learning with Limited Numerical Precision", ICML
// 2015): up with the probability that makes the mean right. The random bits are those of a counter, so that they depend
// on nothing but the seed, the number of the update, the tensor and the element. On the host and on a GPU.
#pragma once

#include <cstdint>

#include "kernels/philox.h"

namespace subspect::kernels {

/// Elements of a tensor that share one block of random bits, a word each.
inline constexpr int64_t rounding_group = 4;

/// The words of group `group` (below 2^32) of the tensor with this stream, in update `number`.
SUBSPECT_HOST_DEVICE inline Philox4 rounding_bits(uint64_t seed, int64_t number, uint64_t stream, int64_t group) {
  const uint64_t index = static_cast<uint64_t>(number) << 32 | static_cast<uint64_t>(group);
  return philox_block(seed, stream, index);
}

/// The bits of the bfloat16 below or above (in magnitude) the float32 with these bits. NaN stays NaN.
SUBSPECT_HOST_DEVICE inline uint16_t round_stochastically(uint32_t bits, uint32_t random) {
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>(bits >> 16 | 0x40U);
  return static_cast<uint16_t>((bits + (random >> 16)) >> 16);
}

}  // namespace subspect::kernels
