// Elementwise kernels on the CPU. Memory-bound; conversions that SIMD does not cover are plain loops.
#include "kernels/elementwise.h"

#include <type_traits>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

template <class T>
void add_range(const T* a, const T* b, T* y, int64_t count) {
  for_each_vector(
      count, [&](int64_t i, auto part) HWY_ATTR { store(hn::Add(load(a + i, part), load(b + i, part)), y + i, part); });
}

template <class T>
void scale_range(const T* x, float factor, T* y, int64_t count) {
  const Float f = hn::Set(FloatTag(), factor);
  for_each_vector(count, [&](int64_t i, auto part) HWY_ATTR { store(hn::Mul(f, load(x + i, part)), y + i, part); });
}

void add_float32(const float* a, const float* b, float* y, int64_t count) {
  add_range(a, b, y, count);
}
void add_bfloat16(const bfloat16* a, const bfloat16* b, bfloat16* y, int64_t count) {
  add_range(a, b, y, count);
}
void scale_float32(const float* x, float factor, float* y, int64_t count) {
  scale_range(x, factor, y, count);
}
void scale_bfloat16(const bfloat16* x, float factor, bfloat16* y, int64_t count) {
  scale_range(x, factor, y, count);
}
}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {
namespace cpu {
namespace {

HWY_EXPORT(add_float32);
HWY_EXPORT(add_bfloat16);
HWY_EXPORT(scale_float32);
HWY_EXPORT(scale_bfloat16);

void add_range(const float* a, const float* b, float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(add_float32)(a, b, y, count);
}
void add_range(const bfloat16* a, const bfloat16* b, bfloat16* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(add_bfloat16)(a, b, y, count);
}
void scale_range(const float* x, float factor, float* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(scale_float32)(x, factor, y, count);
}
void scale_range(const bfloat16* x, float factor, bfloat16* y, int64_t count) {
  HWY_DYNAMIC_DISPATCH(scale_bfloat16)(x, factor, y, count);
}

/// The nearest value of To; from double in one rounding.
template <class To, class From>
To converted(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_arithmetic_v<To> && std::is_arithmetic_v<From>) {
    return static_cast<To>(x);
  } else if constexpr (std::is_arithmetic_v<To>) {
    return static_cast<To>(to_float(x));
  } else if constexpr (std::is_same_v<From, double>) {
    return from_double<To>(x);
  } else {
    return from_float<To>(to_float(x));
  }
}

template <class From, class To>
void cast_range(const From* x, To* y, int64_t count) {
  constexpr bool widens = std::is_same_v<From, bfloat16> && std::is_same_v<To, float>;
  constexpr bool narrows = std::is_same_v<From, float> && std::is_same_v<To, bfloat16>;
  if constexpr (widens || narrows) {
    convert_range(x, y, count);
  } else if constexpr (std::is_same_v<From, To>) {
    for (int64_t i = 0; i < count; ++i) y[i] = x[i];
  } else {
    for (int64_t i = 0; i < count; ++i) y[i] = converted<To>(x[i]);
  }
}

}  // namespace
}  // namespace cpu

template <Device D, class T>
void add(Context<D> on, const T* a, const T* b, T* y, int64_t count) {
  on.team->for_each_range(count, cpu::flat_grain, [&](int64_t begin, int64_t end) {
    cpu::add_range(a + begin, b + begin, y + begin, end - begin);
  });
}

template <Device D, class T>
void scale(Context<D> on, const T* x, float factor, T* y, int64_t count) {
  on.team->for_each_range(count, cpu::flat_grain, [&](int64_t begin, int64_t end) {
    cpu::scale_range(x + begin, factor, y + begin, end - begin);
  });
}

template <Device D, class From, class To>
void cast(Context<D> on, const From* x, To* y, int64_t count) {
  on.team->for_each_range(count, cpu::flat_grain,
                          [&](int64_t begin, int64_t end) { cpu::cast_range(x + begin, y + begin, end - begin); });
}

template <Device D, class T>
void fill(Context<D> on, T* y, double value, int64_t count) {
  const T element = cpu::converted<T>(value);
  on.team->for_each_range(count, cpu::flat_grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = element;
  });
}

template void add(Context<Cpu>, const float*, const float*, float*, int64_t);
template void add(Context<Cpu>, const bfloat16*, const bfloat16*, bfloat16*, int64_t);
template void scale(Context<Cpu>, const float*, float, float*, int64_t);
template void scale(Context<Cpu>, const bfloat16*, float, bfloat16*, int64_t);

#define SUBSPECT_CAST_FROM(From)                                     \
  template void cast(Context<Cpu>, const From*, float*, int64_t);    \
  template void cast(Context<Cpu>, const From*, bfloat16*, int64_t); \
  template void cast(Context<Cpu>, const From*, float16*, int64_t);  \
  template void cast(Context<Cpu>, const From*, double*, int64_t);
SUBSPECT_CAST_FROM(float)
SUBSPECT_CAST_FROM(bfloat16)
SUBSPECT_CAST_FROM(float16)
SUBSPECT_CAST_FROM(double)
#undef SUBSPECT_CAST_FROM

template void fill(Context<Cpu>, float*, double, int64_t);
template void fill(Context<Cpu>, bfloat16*, double, int64_t);
template void fill(Context<Cpu>, float16*, double, int64_t);
template void fill(Context<Cpu>, double*, double, int64_t);
template void fill(Context<Cpu>, int32_t*, double, int64_t);
template void fill(Context<Cpu>, int64_t*, double, int64_t);

}  // namespace subspect::kernels
#endif
