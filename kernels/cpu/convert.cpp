// Conversions between float and bfloat16.
#include "kernels/cpu/convert.h"

#include "kernels/cpu/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/convert.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

void widen(const bfloat16* from, float* to, int64_t count) {
  convert(from, to, count);
}

void narrow(const float* from, bfloat16* to, int64_t count) {
  convert(from, to, count);
}

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels::cpu {

HWY_EXPORT(widen);
HWY_EXPORT(narrow);

void convert_range(const bfloat16* from, float* to, int64_t count) {
  HWY_DYNAMIC_DISPATCH(widen)(from, to, count);
}

void convert_range(const float* from, bfloat16* to, int64_t count) {
  HWY_DYNAMIC_DISPATCH(narrow)(from, to, count);
}

}  // namespace subspect::kernels::cpu
#endif
