// The 8-bit numbers of optimizer state: dynamic tree codes (Dettmers, "8-Bit Approximations for Parallelism in Deep
// Learning", ICLR 2016; with a scale per block of numbers: Dettmers et al., "8-bit Optimizers via Block-wise
// Quantization", ICLR 2022, section 2). On the host and on a GPU, with the same bits: no operation here can be fused
// with another.
//
// A number between 0 and 1 is a decade and a place in it: the interval from 10^(i-7) to 10^(i-6), for i = 0 to 6, is
// cut into 2^i equal parts (2^(i+1) in the unsigned code), of which the middles are the numbers. 0 and 1 have codes
// too. The index of the highest bit of a code gives its decade, the bits below it the part.
#pragma once

#include <cstdint>

#include "kernels/host_device.h"

namespace subspect::kernels {

/// The code for numbers of both signs (bit 7 is the sign) or for those that are not negative.
enum class DynamicCode : uint8_t { with_sign, without_sign };

namespace dynamic_code {

/// The code of 1: in the place of minus zero, or in that of a decade with one part. There is none of -1.
template <DynamicCode Kind>
inline constexpr uint32_t one = Kind == DynamicCode::with_sign ? 0x80U : 1U;

/// The first code that has a decade.
template <DynamicCode Kind>
inline constexpr int32_t first = Kind == DynamicCode::with_sign ? 1 : 2;

}  // namespace dynamic_code

/// The number of a code.
template <DynamicCode Kind>
SUBSPECT_HOST_DEVICE inline float decode_dynamic(uint32_t code) {
  constexpr bool with_sign = Kind == DynamicCode::with_sign;
  if (code == 0) return 0.0F;
  if (code == dynamic_code::one<Kind>) return 1.0F;
  const auto magnitude = static_cast<int32_t>(with_sign ? code & 0x7fU : code);
  int32_t parts = 1;
  int32_t power = 5;  // 5^(bits of `parts`): 10^i / 2^i up to a factor
  for (; 2 * parts <= magnitude; parts *= 2) power *= 5;
  // 10^(i-6) (1/10 + 9/10 (part + 1/2) / parts) over the common denominator 20 parts.
  const int32_t numerator = 2 * parts + 18 * (magnitude - parts) + 9;
  const float value = (with_sign ? 1e-8F : 1e-9F) * static_cast<float>(power) * static_cast<float>(numerator);
  return with_sign && code > 0x80U ? -value : value;
}

/// The code of the part in which x lies, -1 <= x <= 1 (or 0 <= x). What is below the smallest decade becomes 0; but in
/// the code without sign only 0 does, so that a second moment that is divided by cannot vanish. NaN becomes 0.
template <DynamicCode Kind>
SUBSPECT_HOST_DEVICE inline uint32_t encode_dynamic(float x) {
  constexpr bool with_sign = Kind == DynamicCode::with_sign;
  constexpr float finer = with_sign ? 1.0F : 2.0F;
  const float size = x < 0 ? -x : x;
  if (!(size >= 1e-7F)) return !with_sign && size > 0 ? dynamic_code::first<Kind> : 0;
  int32_t parts = dynamic_code::first<Kind>;
  float rate = 2e7F * finer;  // 20 parts / 10^(i-6)
  if (size >= 1e-6F) parts *= 2, rate = 4e6F * finer;
  if (size >= 1e-5F) parts *= 2, rate = 8e5F * finer;
  if (size >= 1e-4F) parts *= 2, rate = 1.6e5F * finer;
  if (size >= 1e-3F) parts *= 2, rate = 3.2e4F * finer;
  if (size >= 1e-2F) parts *= 2, rate = 6.4e3F * finer;
  if (size >= 1e-1F) parts *= 2, rate = 1.28e3F * finer;
  const auto numerator = static_cast<int32_t>(size * rate);
  const int32_t part = (numerator - 2 * parts) / 18;
  if (size >= 1e-1F && x > 0 && numerator >= 20 * parts - 4) return dynamic_code::one<Kind>;  // nearer to 1
  const int32_t last = parts - 1;
  const int32_t code = parts + (part < 0 ? 0 : part > last ? last : part);
  return static_cast<uint32_t>(code) | (with_sign && x < 0 ? 0x80U : 0U);
}

/// What a block of numbers is multiplied by before it is encoded; 0 (all codes become 0) for a largest magnitude of 0,
/// one too small to have an inverse, infinity and NaN, the last two of which the scale then brings back.
SUBSPECT_HOST_DEVICE inline float dynamic_inverse(float largest) {
  return largest >= 0x1p-126F ? 1.0F / largest : 0.0F;
}

}  // namespace subspect::kernels
