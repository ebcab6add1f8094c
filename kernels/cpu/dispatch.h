// Connects a kernel's declaration with its SIMD implementations: the one for the machine's best instruction set is
// called. In the file that is compiled once per set:
//
//   SUBSPECT_SIMD_ENTRY(forward, Params)             after `template <class T> void forward(ThreadTeam&, const
//   Params<T>&)` SUBSPECT_SIMD_KERNEL(kernel, forward, Params)    under HWY_ONCE, in namespace subspect::kernels
#pragma once

// NOLINTBEGIN(bugprone-macro-parentheses): Highway's own dispatch is by macro and takes no templates
#define SUBSPECT_SIMD_ENTRY(name, Params)                             \
  void name##_float32(ThreadTeam& team, const Params<float>& p) {     \
    name(team, p);                                                    \
  }                                                                   \
  void name##_bfloat16(ThreadTeam& team, const Params<bfloat16>& p) { \
    name(team, p);                                                    \
  }

#define SUBSPECT_SIMD_KERNEL(kernel, name, Params)                         \
  namespace cpu {                                                          \
  HWY_EXPORT(name##_float32);                                              \
  HWY_EXPORT(name##_bfloat16);                                             \
  static void call_##name(ThreadTeam& team, const Params<float>& p) {      \
    HWY_DYNAMIC_DISPATCH(name##_float32)(team, p);                         \
  }                                                                        \
  static void call_##name(ThreadTeam& team, const Params<bfloat16>& p) {   \
    HWY_DYNAMIC_DISPATCH(name##_bfloat16)(team, p);                        \
  }                                                                        \
  }                                                                        \
  template <>                                                              \
  void kernel<Cpu, float>(Context<Cpu> on, const Params<float>& p) {       \
    cpu::call_##name(*on.team, p);                                         \
  }                                                                        \
  template <>                                                              \
  void kernel<Cpu, bfloat16>(Context<Cpu> on, const Params<bfloat16>& p) { \
    cpu::call_##name(*on.team, p);                                         \
  }
// NOLINTEND(bugprone-macro-parentheses)
