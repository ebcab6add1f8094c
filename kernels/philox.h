// Philox4x32-10, the counter-based random number generator of Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011). Any element of any sequence costs the same, so results do not depend on how work is divided.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"

namespace subspect::kernels {

/// 128 random bits.
struct Philox4 {
  uint32_t word[4] = {0, 0, 0, 0};
};

/// The block cipher: ten rounds on a 128-bit counter (in `word`) under a 64-bit key.
SUBSPECT_HOST_DEVICE inline Philox4 philox_4x32_10(Philox4 counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = static_cast<uint64_t>(0xD2511F53U) * counter.word[0];
    const uint64_t product1 = static_cast<uint64_t>(0xCD9E8D57U) * counter.word[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(product0)}};
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return counter;
}

/// Block `index` of sequence `stream` of `seed`: four 32-bit words.
SUBSPECT_HOST_DEVICE inline Philox4 philox_block(uint64_t seed, uint64_t stream, uint64_t index) {
  return philox_4x32_10({{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                          static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)}},
                        static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

/// 24 bits of `word` as a float in [0, 1).
SUBSPECT_HOST_DEVICE inline float philox_uniform(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24F;
}

/// 24 bits of `word` as a float in (0, 1).
SUBSPECT_HOST_DEVICE inline float philox_positive_uniform(uint32_t word) {
  return (static_cast<float>(word >> 8) + 0.5F) * 0x1p-24F;
}

/// 24 bits of `word` as an angle in [0, 2 pi).
SUBSPECT_HOST_DEVICE inline float philox_angle(uint32_t word) {
  return 6.28318530717958648F * philox_uniform(word);
}

/// Two standard normal numbers from two words (Box and Muller, 1958).
inline void philox_normal(uint32_t word0, uint32_t word1, float& first, float& second) {
  const float radius = sqrtf(-2.0F * logf(philox_positive_uniform(word0)));
  const float angle = philox_angle(word1);
  first = radius * cosf(angle);
  second = radius * sinf(angle);
}

/// Element `index` of the uniform sequence (seed, stream).
SUBSPECT_HOST_DEVICE inline float philox_uniform_at(uint64_t seed, uint64_t stream, uint64_t index) {
  return philox_uniform(philox_block(seed, stream, index / 4).word[index % 4]);
}

/// Element `index` of the normal sequence (seed, stream).
inline float philox_normal_at(uint64_t seed, uint64_t stream, uint64_t index) {
  const Philox4 block = philox_block(seed, stream, index / 4);
  const int pair = static_cast<int>(index % 4) & 2;
  float first = 0;
  float second = 0;
  philox_normal(block.word[pair], block.word[pair + 1], first, second);
  return index % 2 == 0 ? first : second;
}

}  // namespace subspect::kernels
