// Rotary embedding on the CPU, row by row: the row's cosines and sines once, then every query and key head.
#include "kernels/rotary.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/angle.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rotary.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

/// cosine[i] and sine[i] of position * inv_freq[i] (a float32 product, as Transformers), times `factor`.
void cosines_and_sines(float position, const float* inv_freq, float factor, int64_t count, float* cosine, float* sine) {
  for (int64_t i = 0; i < count; ++i) {
    const CosineSine value = cosine_sine(position * inv_freq[i]);
    cosine[i] = factor * value.cosine;
    sine[i] = factor * value.sine;
  }
}

/// Angles of one row.
struct Angles {
  const float* cosine;
  const float* sine;
};

/// y = rotated x, by the negative angles where `inverse`; y may alias x.
template <bool inverse, class From, class To>
void rotate(const From* x, To* y, const Angles& angles, const RotaryShape& shape) {
  const int64_t half = shape.rotary_dim / 2;
  for_each_vector(half, [&](int64_t i, auto part) HWY_ATTR {
    const Float c = load(angles.cosine + i, part);
    const Float s = inverse ? hn::Neg(load(angles.sine + i, part)) : load(angles.sine + i, part);
    const Float first = load(x + i, part);
    const Float second = load(x + half + i, part);
    store(hn::NegMulAdd(second, s, hn::Mul(first, c)), y + i, part);
    store(hn::MulAdd(first, s, hn::Mul(second, c)), y + half + i, part);
  });
  if (static_cast<const void*>(x) != static_cast<const void*>(y)) {
    convert(x + 2 * half, y + 2 * half, shape.head_dim - 2 * half);
  }
}

/// normed = x * inv_rms * weight in float32; returns inv_rms.
template <class T>
float normalise(const T* x, const T* weight, const RotaryShape& shape, float* normed) {
  const float mean = dot(x, x, shape.head_dim) / static_cast<float>(shape.head_dim);
  const float inv_rms = 1.0F / std::sqrt(mean + shape.eps);
  const Float factor = hn::Set(FloatTag(), inv_rms);
  for_each_vector(shape.head_dim, [&](int64_t i, auto part) HWY_ATTR {
    store(hn::Mul(hn::Mul(load(x + i, part), factor), load(weight + i, part)), normed + i, part);
  });
  return inv_rms;
}

template <class T>
void forward(ThreadTeam& team, const RotaryForwardParams<T>& p) {
  const RotaryShape& shape = p.shape;
  const int64_t rotated = shape.heads + shape.kv_heads;
  const int64_t width = (rotated + shape.kv_heads) * shape.head_dim;
  team.for_each_range(shape.tokens, row_grain(width), [&](int64_t begin, int64_t end) HWY_ATTR {
    Scratch scratch;
    float* cosine = scratch.allocate<float>(shape.rotary_dim / 2);
    float* sine = scratch.allocate<float>(shape.rotary_dim / 2);
    float* normed = scratch.allocate<float>(shape.head_dim);
    for (int64_t t = begin; t < end; ++t) {
      cosines_and_sines(static_cast<float>(shape.positions[t]), shape.inv_freq, shape.attention_factor,
                        shape.rotary_dim / 2, cosine, sine);
      for (int64_t head = 0; head < rotated; ++head) {
        const int64_t at = t * width + head * shape.head_dim;
        const T* weight = head < shape.heads ? p.q_norm : p.k_norm;
        if (weight == nullptr) {
          rotate<false>(p.qkv + at, p.out + at, {cosine, sine}, shape);
        } else {
          normalise(p.qkv + at, weight, shape, normed);
          rotate<false>(normed, p.out + at, {cosine, sine}, shape);
        }
      }
      const int64_t values = t * width + rotated * shape.head_dim;
      if (p.out != p.qkv) {
        std::memcpy(p.out + values, p.qkv + values, static_cast<size_t>(shape.kv_heads * shape.head_dim) * sizeof(T));
      }
    }
  });
}

/// Gradient of the norm of one head: dx, and its share of the weight's gradient added to `dweight`.
template <class T>
void norm_backward(const T* x, const T* weight, const float* dnormed, const RotaryShape& shape, T* dx, float* dweight) {
  const FloatTag df;
  const float mean = dot(x, x, shape.head_dim) / static_cast<float>(shape.head_dim);
  const float inv_rms = 1.0F / std::sqrt(mean + shape.eps);
  const Float factor = hn::Set(df, inv_rms);
  Float sum = hn::Zero(df);
  for_each_vector(shape.head_dim, [&](int64_t i, auto part) HWY_ATTR {
    const Float product = hn::Mul(load(dnormed + i, part), load(x + i, part));
    sum = hn::MulAdd(product, load(weight + i, part), sum);
    store(hn::MulAdd(product, factor, load(dweight + i, part)), dweight + i, part);
  });
  const Float projection = hn::Set(df, sum_lanes(sum) * inv_rms * inv_rms / static_cast<float>(shape.head_dim));
  for_each_vector(shape.head_dim, [&](int64_t i, auto part) HWY_ATTR {
    const Float weighted = hn::Mul(load(dnormed + i, part), load(weight + i, part));
    store(hn::Mul(factor, hn::NegMulAdd(load(x + i, part), projection, weighted)), dx + i, part);
  });
}

/// One row; `dweights` receives the norms' gradients, [2 * head_dim]: queries', keys'. nullptr without norms.
template <class T>
void backward_row(const RotaryBackwardParams<T>& p, int64_t t, const Angles& angles, float* dnormed, float* dweights) {
  const RotaryShape& shape = p.shape;
  const int64_t rotated = shape.heads + shape.kv_heads;
  const int64_t width = (rotated + shape.kv_heads) * shape.head_dim;
  for (int64_t head = 0; head < rotated; ++head) {
    const int64_t at = t * width + head * shape.head_dim;
    const bool query = head < shape.heads;
    if (dweights == nullptr) {
      rotate<true>(p.dout + at, p.dqkv + at, angles, shape);
    } else {
      const T* weight = query ? p.q_norm : p.k_norm;
      rotate<true>(p.dout + at, dnormed, angles, shape);
      norm_backward(p.qkv + at, weight, dnormed, shape, p.dqkv + at, dweights + (query ? 0 : shape.head_dim));
    }
  }
  const int64_t values = t * width + rotated * shape.head_dim;
  if (p.dqkv != p.dout) {
    std::memcpy(p.dqkv + values, p.dout + values, static_cast<size_t>(shape.kv_heads * shape.head_dim) * sizeof(T));
  }
}

template <class T>
void backward(ThreadTeam& team, const RotaryBackwardParams<T>& p) {
  const RotaryShape& shape = p.shape;
  const int64_t block = reduction_block(shape.tokens);
  float* partials = static_cast<float*>(p.workspace);
  const bool norms = p.q_norm != nullptr;
  team.for_each_range(shape.tokens, block, [&](int64_t begin, int64_t end) HWY_ATTR {
    Scratch scratch;
    float* cosine = scratch.allocate<float>(shape.rotary_dim / 2);
    float* sine = scratch.allocate<float>(shape.rotary_dim / 2);
    float* dnormed = scratch.allocate<float>(shape.head_dim);
    float* dweights = nullptr;
    if (norms) {
      dweights = partials + begin / block * 2 * shape.head_dim;
      std::memset(dweights, 0, static_cast<size_t>(2 * shape.head_dim) * sizeof(float));
    }
    for (int64_t t = begin; t < end; ++t) {
      cosines_and_sines(static_cast<float>(shape.positions[t]), shape.inv_freq, shape.attention_factor,
                        shape.rotary_dim / 2, cosine, sine);
      backward_row(p, t, {cosine, sine}, dnormed, dweights);
    }
  });
  if (!norms) return;
  const int64_t blocks = ceil_div(shape.tokens, block);
  const int64_t d = shape.head_dim;
  if (p.dq_norm != nullptr) add_partials(team, partials, blocks, 2 * d, p.dq_norm, d);
  if (p.dk_norm != nullptr) add_partials(team, partials + d, blocks, 2 * d, p.dk_norm, d);
}

SUBSPECT_SIMD_ENTRY(forward, RotaryForwardParams)
SUBSPECT_SIMD_ENTRY(backward, RotaryBackwardParams)

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {
namespace {

template <class T>
int64_t backward_workspace_bytes(const RotaryBackwardParams<T>& p) {
  return cpu::reduction_bytes(p.shape.tokens, 2 * p.shape.head_dim);
}

}  // namespace

SUBSPECT_SIMD_KERNEL(rotary_forward, forward, RotaryForwardParams)
SUBSPECT_SIMD_KERNEL(rotary_backward, backward, RotaryBackwardParams)

template <>
int64_t rotary_backward_workspace_bytes<Cpu, float>(const RotaryBackwardParams<float>& p) {
  return backward_workspace_bytes(p);
}

template <>
int64_t rotary_backward_workspace_bytes<Cpu, bfloat16>(const RotaryBackwardParams<bfloat16>& p) {
  return backward_workspace_bytes(p);
}

}  // namespace subspect::kernels
#endif
