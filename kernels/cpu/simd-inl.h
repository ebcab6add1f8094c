// What every SIMD kernel shares: loading and storing float and bfloat16 as float vectors, whole or partial, sums.
// Included once per instruction set, after highway.h.
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "kernels/types.h"

#if defined(SUBSPECT_KERNELS_CPU_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SUBSPECT_KERNELS_CPU_SIMD_INL_H
#undef SUBSPECT_KERNELS_CPU_SIMD_INL_H
#else
#define SUBSPECT_KERNELS_CPU_SIMD_INL_H
#endif

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using Float = hn::Vec<FloatTag>;

HWY_INLINE HWY_MAYBE_UNUSED int64_t float_lanes() {
  return static_cast<int64_t>(hn::Lanes(FloatTag()));
}

HWY_INLINE HWY_MAYBE_UNUSED Float load(const float* p) {
  return hn::LoadU(FloatTag(), p);
}

HWY_INLINE HWY_MAYBE_UNUSED Float load(const bfloat16* p) {
  const FloatTag df;
  const hn::RebindToUnsigned<FloatTag> du;
  const hn::Rebind<uint16_t, FloatTag> dh;
  const auto half = hn::LoadU(dh, reinterpret_cast<const uint16_t*>(p));
  return hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(du, half)));
}

HWY_INLINE HWY_MAYBE_UNUSED void store(Float v, float* p) {
  hn::StoreU(v, FloatTag(), p);
}

/// Rounds to nearest even; NaN stays NaN.
HWY_INLINE HWY_MAYBE_UNUSED void store(Float v, bfloat16* p) {
  const hn::RebindToUnsigned<FloatTag> du;
  const hn::RebindToSigned<FloatTag> di;
  const hn::Rebind<uint16_t, FloatTag> dh;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff))));
  const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(du, 0x40));
  const auto nan = hn::RebindMask(du, hn::IsNaN(v));
  const auto result = hn::IfThenElse(nan, quiet, rounded);
  hn::StoreU(hn::DemoteTo(dh, hn::BitCast(di, result)), dh, reinterpret_cast<uint16_t*>(p));
}

/// A whole vector of elements, as an argument of `load` and `store`.
struct Whole {};

/// The first `count` elements of a vector, fewer than a whole one; the others read as zero and are not written.
struct Part {
  int64_t count;
};

template <class T>
HWY_INLINE Float load(const T* p, Whole) {
  return load(p);
}

template <class T>
HWY_INLINE Float load(const T* p, Part part) {
  HWY_ALIGN T buffer[hn::MaxLanes(FloatTag())] = {};
  // A part of no elements may come with a null pointer, of which nothing is read.
  if (part.count > 0) std::memcpy(buffer, p, static_cast<size_t>(part.count) * sizeof(T));
  return load(buffer);
}

template <class T>
HWY_INLINE void store(Float v, T* p, Whole) {
  store(v, p);
}

template <class T>
HWY_INLINE void store(Float v, T* p, Part part) {
  HWY_ALIGN T buffer[hn::MaxLanes(FloatTag())];
  store(v, buffer);
  std::memcpy(p, buffer, static_cast<size_t>(part.count) * sizeof(T));
}

/// Calls body(i, Whole or Part) for vectors that cover [0, count).
template <class Body>
HWY_INLINE void for_each_vector(int64_t count, const Body& body) {
  const int64_t lanes = float_lanes();
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(i, Whole{});
  if (i < count) body(i, Part{count - i});
}

HWY_INLINE HWY_MAYBE_UNUSED float sum_lanes(Float v) {
  return hn::GetLane(hn::SumOfLanes(FloatTag(), v));
}

HWY_INLINE HWY_MAYBE_UNUSED float max_lanes(Float v) {
  return hn::GetLane(hn::MaxOfLanes(FloatTag(), v));
}

/// sum of a[i] * b[i], i < count.
template <class A, class B>
HWY_INLINE float dot(const A* a, const B* b, int64_t count) {
  const FloatTag df;
  const int64_t lanes = float_lanes();
  Float sum0 = hn::Zero(df);
  Float sum1 = hn::Zero(df);
  int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    sum0 = hn::MulAdd(load(a + i), load(b + i), sum0);
    sum1 = hn::MulAdd(load(a + i + lanes), load(b + i + lanes), sum1);
  }
  for (; i + lanes <= count; i += lanes) sum0 = hn::MulAdd(load(a + i), load(b + i), sum0);
  if (i < count) sum1 = hn::MulAdd(load(a + i, Part{count - i}), load(b + i, Part{count - i}), sum1);
  return sum_lanes(hn::Add(sum0, sum1));
}

/// to[i] = from[i], converted.
template <class From, class To>
HWY_INLINE void convert(const From* from, To* to, int64_t count) {
  for_each_vector(count, [&](int64_t i, auto part) HWY_ATTR { store(load(from + i, part), to + i, part); });
}

}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
