// Storage types that kernels read and write: bfloat16 and float16 as plain 2-byte structs, and their conversions.
#pragma once

#include <bit>
#include <cstdint>

namespace subspect::kernels {

/// Brain floating point: the upper half of an IEEE float32.
struct bfloat16 {  // NOLINT(readability-identifier-naming): a number, named like one
  uint16_t bits = 0;
};

/// IEEE 754 binary16.
struct float16 {  // NOLINT(readability-identifier-naming): a number, named like one
  uint16_t bits = 0;
};

inline float to_float(float x) {
  return x;
}

inline float to_float(bfloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

inline float to_float(float16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000U) << 16;
  const uint32_t magnitude = x.bits & 0x7fffU;
  if (magnitude >= 0x7c00U) {  // infinity or NaN
    return std::bit_cast<float>(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
  }
  // Rebiasing by a multiplication handles subnormals too.
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112F));
}

/// Rounds to the nearest value, ties to even; NaN stays NaN (quiet).
template <class T>
T from_float(float x);

template <>
inline float from_float<float>(float x) {
  return x;
}

template <>
inline bfloat16 from_float<bfloat16>(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffU) > 0x7f800000U) {
    return {static_cast<uint16_t>((bits >> 16) | 0x40U)};
  }
  return {static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}

template <>
inline float16 from_float<float16>(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000U);
  const uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return {static_cast<uint16_t>(sign | 0x7e00U)};
  if (magnitude >= 0x477ff000U) return {static_cast<uint16_t>(sign | 0x7c00U)};  // rounds to 65520 or more
  if (magnitude < 0x38800000U) {  // subnormal: adding 0.5 aligns the result's last bit with the float's
    const uint32_t shifted = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
    return {static_cast<uint16_t>(sign | shifted)};
  }
  const uint32_t rounded = magnitude - 0x38000000U + 0xfffU + ((magnitude >> 13) & 1U);
  return {static_cast<uint16_t>(sign | (rounded >> 13))};
}

/// The nearest value of a 2-byte type to a double, in one rounding: the double is first rounded to a float whose last
/// bit is set if anything was lost ("round to odd", Boldo and Melquiond, 2008), which cannot fake a tie.
template <class T>
T from_double(double x) {
  const auto nearest = static_cast<float>(x);
  if (static_cast<double>(nearest) == x || nearest != nearest || nearest - nearest != 0.0F) {
    return from_float<T>(nearest);
  }
  uint32_t bits = std::bit_cast<uint32_t>(nearest);
  const double magnitude = x < 0 ? -x : x;
  const double rounded = static_cast<double>(nearest < 0 ? -nearest : nearest);
  if (rounded > magnitude) --bits;  // truncate towards zero; the loss then shows in the last bit
  return from_float<T>(std::bit_cast<float>(bits | 1U));
}

}  // namespace subspect::kernels
