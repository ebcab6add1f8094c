// Rotary embedding and the norm of query and key heads on CUDA. A block takes a few tokens: its threads compute their
// cosines and sines once, into shared memory, then groups of lanes take the tokens' heads in turn. Each lane holds
// pairs (x[i], x[i + rotary_dim / 2]) and reads no element that another lane writes, so both passes work in place.
//
// The bias of the packed projection is not added here but in the epilogue of its matrix product (kernels/linear.h):
// there it costs no pass over memory and is added before the sum is rounded. Here it would make value heads, which
// pass in place untouched, a read and a write of memory, and the backward pass of the norm would have to add it again.
#include "kernels/rotary.h"

#include "kernels/angle.h"
#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/platform.h"
#include "kernels/cuda/spread.cuh"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;
constexpr int64_t many_tokens = 1024;  ///< from here on a block takes several tokens

/// How a block divides its work.
struct Work {
  int tokens;  ///< whose angles are in shared memory at once
  int lanes;   ///< that share a head: a power of two, at most 32
};

template <int N>
Work divide(const RotaryShape& shape) {
  Work work{shape.tokens < many_tokens ? 1 : 4, 1};
  while (work.lanes < warp_size && work.lanes * 2 * N < shape.head_dim) work.lanes *= 2;
  return work;
}

GPU_BOTH int64_t row_width(const RotaryShape& shape) {
  return (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
}

GPU_BOTH int dim_of(const RotaryShape& shape) {
  return static_cast<int>(shape.head_dim);
}
/// Pairs of a head, and the distance between the numbers of one.
GPU_BOTH int half_of(const RotaryShape& shape) {
  return static_cast<int>(shape.rotary_dim / 2);
}

/// Cosines and sines in shared memory, [tokens of the block, rotary_dim / 2] each, in spread rows.
struct Angles {
  float* cosine;
  float* sine;
};

size_t angle_bytes(const RotaryShape& shape, const Work& work) {
  return static_cast<size_t>(work.tokens * shape.rotary_dim) * sizeof(float);
}

GPU_DEVICE Angles shared_angles(const RotaryShape& shape, const Work& work) {
  auto* cosine = dynamic_smem<float>();
  return {cosine, cosine + work.tokens * half_of(shape)};
}

/// `direction` -1 gives the inverse rotation.
template <int N>
GPU_DEVICE void fill_angles(const RotaryShape& shape, int64_t first_token, int count, float direction,
                            const Angles& angles) {
  const int half = half_of(shape);
  for (int i = static_cast<int>(threadIdx.x); i < count * half; i += threads) {
    const auto position = static_cast<float>(shape.positions[first_token + i / half]);
    const CosineSine value = cosine_sine(rounded_product(position, shape.inv_freq[i % half]));
    const int at = i / half * half + spread<N>(i % half, half);
    angles.cosine[at] = shape.attention_factor * value.cosine;
    angles.sine[at] = direction * shape.attention_factor * value.sine;
  }
}

/// The head that a lane works on, of those that the block's tokens have.
struct Head {
  bool exists;
  bool query;
  int token;   ///< of the block
  int lane;    ///< of those that share the head
  int64_t at;  ///< where the head begins in the packed rows
};

GPU_DEVICE Head find_head(const RotaryShape& shape, const Work& work, int64_t first_token, int count, int base) {
  const int rotated = static_cast<int>(shape.heads + shape.kv_heads);
  const int index = base + static_cast<int>(threadIdx.x) / work.lanes;
  const int token = index / rotated;
  const int head = index % rotated;
  return {index < count * rotated, head < shape.heads, token, static_cast<int>(threadIdx.x) % work.lanes,
          (first_token + token) * row_width(shape) + head * shape.head_dim};
}

/// The sum over the lanes of a head, in each of them.
GPU_DEVICE float sum_lanes(float value, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) value += shuffle_xor(full_warp, value, offset);
  return value;
}

template <int N>
struct Pair {
  Floats<N> first;
  Floats<N> second;
};

template <int N, class T>
GPU_DEVICE Pair<N> load_pair(const T* head, int i, int half) {
  return {load<N>(head + i), load<N>(head + half + i)};
}

template <int N, class T>
GPU_DEVICE void store_pair(const Pair<N>& pair, T* head, int i, int half) {
  store(pair.first, head + i);
  store(pair.second, head + half + i);
}

/// Pair i of `half`; `cosine` and `sine` are the rows of its token.
template <int N>
GPU_DEVICE Pair<N> rotated(const Pair<N>& x, const float* cosine, const float* sine, int i, int half) {
  const Floats<N> c = load_spread<N>(cosine, i, half);
  const Floats<N> s = load_spread<N>(sine, i, half);
  Pair<N> y;
  GPU_UNROLL
  for (int j = 0; j < N; ++j) {
    y.first.value[j] = x.first.value[j] * c.value[j] - x.second.value[j] * s.value[j];
    y.second.value[j] = x.first.value[j] * s.value[j] + x.second.value[j] * c.value[j];
  }
  return y;
}

template <int N>
GPU_DEVICE float dot(const Floats<N>& a, const Floats<N>& b) {
  float sum = 0;
  GPU_UNROLL
  for (int j = 0; j < N; ++j) sum += a.value[j] * b.value[j];
  return sum;
}

/// This lane's share of the sum of a head's squares.
template <int N, class T>
GPU_DEVICE float squares_of(const T* x, const RotaryShape& shape, const Work& work, int lane) {
  const int half = half_of(shape);
  float sum = 0;
  for (int i = lane * N; i < half; i += work.lanes * N) {
    const Pair<N> pair = load_pair<N>(x, i, half);
    sum += dot(pair.first, pair.first) + dot(pair.second, pair.second);
  }
  for (int i = 2 * half + lane * N; i < dim_of(shape); i += work.lanes * N) {
    const Floats<N> rest = load<N>(x + i);
    sum += dot(rest, rest);
  }
  return sum;
}

GPU_DEVICE float inverse_rms(float squares, const RotaryShape& shape) {
  return 1.0F / square_root(squares / static_cast<float>(shape.head_dim) + shape.eps);
}

template <int N, class T>
GPU_DEVICE void normalise(Floats<N>& x, float inv_rms, const T* weight) {
  const Floats<N> w = load<N>(weight);
  GPU_UNROLL
  for (int j = 0; j < N; ++j) x.value[j] = x.value[j] * inv_rms * w.value[j];
}

/// `weight`: of the norm, if there are norms.
template <int N, bool norms, class T>
GPU_DEVICE void forward_head(const RotaryForwardParams<T>& p, const Work& work, const Head& head, const Angles& angles,
                             const T* weight, float inv_rms) {
  const int half = half_of(p.shape);
  const T* x = p.qkv + head.at;
  T* y = p.out + head.at;
  for (int i = head.lane * N; i < half; i += work.lanes * N) {
    Pair<N> pair = load_pair<N>(x, i, half);
    if constexpr (norms) {
      normalise(pair.first, inv_rms, weight + i);
      normalise(pair.second, inv_rms, weight + half + i);
    }
    const int angle = head.token * half;
    store_pair(rotated(pair, angles.cosine + angle, angles.sine + angle, i, half), y, i, half);
  }
  if (!norms && p.out == p.qkv) return;
  for (int i = 2 * half + head.lane * N; i < dim_of(p.shape); i += work.lanes * N) {
    Floats<N> rest = load<N>(x + i);
    if constexpr (norms) normalise(rest, inv_rms, weight + i);
    store(rest, y + i);
  }
}

/// Value heads of the block's tokens, bit for bit.
template <int N, class T>
GPU_DEVICE void copy_values(const RotaryShape& shape, int64_t first_token, int count, const T* from, T* to) {
  if (from == to) return;
  const int packs = static_cast<int>(shape.kv_heads * shape.head_dim / N);
  const int64_t values = (shape.heads + shape.kv_heads) * shape.head_dim;
  for (int i = static_cast<int>(threadIdx.x); i < count * packs; i += threads) {
    const int64_t at = (first_token + i / packs) * row_width(shape) + values + static_cast<int64_t>(i % packs) * N;
    *reinterpret_cast<Pack<T, N>*>(to + at) = *reinterpret_cast<const Pack<T, N>*>(from + at);
  }
}

GPU_DEVICE int tokens_from(const Work& work, int64_t first_token, int64_t end) {
  return end - first_token < work.tokens ? static_cast<int>(end - first_token) : work.tokens;
}

/// The forward pass, and with direction -1 and no norms the backward pass.
template <int N, bool norms, class T>
GPU_KERNEL(threads)
rotary_kernel(RotaryForwardParams<T> p, Work work, float direction) {
  const RotaryShape& shape = p.shape;
  const int64_t first_token = static_cast<int64_t>(blockIdx.x) * work.tokens;
  const int count = tokens_from(work, first_token, shape.tokens);
  const Angles angles = shared_angles(shape, work);
  fill_angles<N>(shape, first_token, count, direction, angles);
  barrier();
  const int heads = count * static_cast<int>(shape.heads + shape.kv_heads);
  for (int base = 0; base < heads; base += threads / work.lanes) {
    const Head head = find_head(shape, work, first_token, count, base);
    float inv_rms = 1;
    if constexpr (norms) {
      const float squares = head.exists ? squares_of<N>(p.qkv + head.at, shape, work, head.lane) : 0.0F;
      inv_rms = inverse_rms(sum_lanes(squares, work.lanes), shape);
    }
    if (head.exists) forward_head<N, norms>(p, work, head, angles, head.query ? p.q_norm : p.k_norm, inv_rms);
  }
  copy_values<N>(shape, first_token, count, p.qkv, p.out);
}

/// One head's part in the backward pass of the norm.
template <class T>
struct NormHead {
  const T* x;       ///< the norm's input
  const T* dout;    ///< gradient of the rotated head
  T* dx;            ///< written
  const T* weight;  ///< of the norm
  float* dweight;   ///< [head_dim] in shared memory, a spread row of these lanes, added to
  float* cosine;    ///< of the inverse rotation
  float* sine;
  float inv_rms;
  float projection;
};

template <int N, class T>
GPU_DEVICE Pair<N> unrotated(const NormHead<T>& head, int i, int half) {
  return rotated(load_pair<N>(head.dout, i, half), head.cosine, head.sine, i, half);
}

/// Sums of x^2 and of dnormed x weight.
struct NormSums {
  float squares;
  float products;
};

template <int N, class T>
GPU_DEVICE void add_sums(const NormHead<T>& head, const Floats<N>& dnormed, int i, NormSums& sums) {
  const Floats<N> x = load<N>(head.x + i);
  Floats<N> weighted = load<N>(head.weight + i);
  GPU_UNROLL
  for (int j = 0; j < N; ++j) weighted.value[j] *= dnormed.value[j];
  sums.squares += dot(x, x);
  sums.products += dot(x, weighted);
}

template <int N, class T>
GPU_DEVICE NormSums sums_of(const NormHead<T>& head, const RotaryShape& shape, const Work& work, int lane) {
  const int half = half_of(shape);
  NormSums sums{0, 0};
  for (int i = lane * N; i < half; i += work.lanes * N) {
    const Pair<N> dnormed = unrotated<N>(head, i, half);
    add_sums(head, dnormed.first, i, sums);
    add_sums(head, dnormed.second, half + i, sums);
  }
  for (int i = 2 * half + lane * N; i < dim_of(shape); i += work.lanes * N) {
    add_sums(head, load<N>(head.dout + i), i, sums);
  }
  return sums;
}

/// dx = inv_rms (dnormed weight - x projection), dweight += dnormed x inv_rms.
template <int N, class T>
GPU_DEVICE void finish(const NormHead<T>& head, const Floats<N>& dnormed, int i, int head_dim) {
  const Floats<N> x = load<N>(head.x + i);
  const Floats<N> weight = load<N>(head.weight + i);
  Floats<N> dx;
  Floats<N> dweight = load_spread<N>(head.dweight, i, head_dim);
  GPU_UNROLL
  for (int j = 0; j < N; ++j) {
    dx.value[j] = head.inv_rms * (dnormed.value[j] * weight.value[j] - x.value[j] * head.projection);
    dweight.value[j] += dnormed.value[j] * x.value[j] * head.inv_rms;
  }
  store(dx, head.dx + i);
  store_spread(dweight, head.dweight, i, head_dim);
}

template <int N, class T>
GPU_DEVICE void finish_head(const NormHead<T>& head, const RotaryShape& shape, const Work& work, int lane) {
  const int half = half_of(shape);
  for (int i = lane * N; i < half; i += work.lanes * N) {
    const Pair<N> dnormed = unrotated<N>(head, i, half);
    finish(head, dnormed.first, i, dim_of(shape));
    finish(head, dnormed.second, half + i, dim_of(shape));
  }
  for (int i = 2 * half + lane * N; i < dim_of(shape); i += work.lanes * N) {
    finish(head, load<N>(head.dout + i), i, dim_of(shape));
  }
}

/// Gradients of the norms' weights in shared memory: [groups of lanes, queries and keys, head_dim], after the angles.
GPU_DEVICE float* shared_dweights(const RotaryShape& shape, const Work& work) {
  return dynamic_smem<float>() + work.tokens * shape.rotary_dim;
}

size_t dweight_bytes(const RotaryShape& shape, const Work& work) {
  return static_cast<size_t>(threads / work.lanes * 2 * shape.head_dim) * sizeof(float);
}

/// All heads of `count` tokens.
template <int N, class T>
GPU_DEVICE void norm_backward_tokens(const RotaryBackwardParams<T>& p, const Work& work, int64_t first_token,
                                     int count) {
  const RotaryShape& shape = p.shape;
  const Angles angles = shared_angles(shape, work);
  const int slot = static_cast<int>(threadIdx.x) / work.lanes;
  float* dweights = shared_dweights(shape, work) + slot * 2 * shape.head_dim;
  const int heads = count * static_cast<int>(shape.heads + shape.kv_heads);
  for (int base = 0; base < heads; base += threads / work.lanes) {
    const Head at = find_head(shape, work, first_token, count, base);
    const int angle = at.token * half_of(shape);
    NormHead<T> head{p.qkv + at.at,
                     p.dout + at.at,
                     p.dqkv + at.at,
                     at.query ? p.q_norm : p.k_norm,
                     at.query ? dweights : dweights + shape.head_dim,
                     angles.cosine + angle,
                     angles.sine + angle,
                     0,
                     0};
    NormSums sums{0, 0};
    if (at.exists) sums = sums_of<N>(head, shape, work, at.lane);
    head.inv_rms = inverse_rms(sum_lanes(sums.squares, work.lanes), shape);
    head.projection =
        sum_lanes(sums.products, work.lanes) * head.inv_rms * head.inv_rms / static_cast<float>(shape.head_dim);
    if (at.exists) finish_head<N>(head, shape, work, at.lane);
  }
}

/// Block i takes group i of the tokens and writes its share of the weights' gradients: partials [2, groups, head_dim].
template <int N, class T>
GPU_KERNEL(threads, 2)
rotary_norm_backward_kernel(RotaryBackwardParams<T> p, Work work) {
  const RotaryShape& shape = p.shape;
  const int64_t group = rows_of_group(shape.tokens);
  const int64_t begin = blockIdx.x * group;
  const int64_t end = begin + group < shape.tokens ? begin + group : shape.tokens;
  const Angles angles = shared_angles(shape, work);
  float* dweights = shared_dweights(shape, work);
  const int slots = threads / work.lanes;
  const int width = static_cast<int>(2 * shape.head_dim);
  for (int i = static_cast<int>(threadIdx.x); i < slots * width; i += threads) dweights[i] = 0;
  for (int64_t token = begin; token < end; token += work.tokens) {
    const int count = tokens_from(work, token, end);
    fill_angles<N>(shape, token, count, -1.0F, angles);
    barrier();
    norm_backward_tokens<N>(p, work, token, count);
    barrier();
    copy_values<N>(shape, token, count, p.dout, p.dqkv);
  }
  auto* partials = static_cast<float*>(p.workspace);
  for (int i = static_cast<int>(threadIdx.x); i < width; i += threads) {
    const int keys = i / dim_of(shape);
    const int at = keys * dim_of(shape) + spread<N>(i % dim_of(shape), dim_of(shape));
    float sum = 0;
    for (int slot = 0; slot < slots; ++slot) sum += dweights[slot * width + at];
    partials[(keys * gridDim.x + blockIdx.x) * shape.head_dim + i % shape.head_dim] = sum;
  }
}

/// Whether every lane can move 16 bytes at once.
template <class T, class... Pointers>
bool wide(const RotaryShape& shape, const Pointers*... pointers) {
  return shape.rotary_dim / 2 % widest<T> == 0 && aligned_rows(shape.head_dim, widest<T>, pointers...);
}

template <int N, class T>
void launch_rotary(const char* name, CUstream_st* stream, const RotaryForwardParams<T>& p, float direction) {
  const Work work = divide<N>(p.shape);
  const auto kernel = p.q_norm != nullptr ? rotary_kernel<N, true, T> : rotary_kernel<N, false, T>;
  launch(name, kernel, ceil_div(p.shape.tokens, work.tokens), threads, angle_bytes(p.shape, work), stream, p, work,
         direction);
}

template <class T>
void rotate(const char* name, CUstream_st* stream, const RotaryForwardParams<T>& p, float direction) {
  if (wide<T>(p.shape, p.qkv, p.out, p.q_norm, p.k_norm)) {
    launch_rotary<widest<T>>(name, stream, p, direction);
  } else {
    launch_rotary<1>(name, stream, p, direction);
  }
}

template <int N, class T>
void launch_norm_backward(CUstream_st* stream, const RotaryBackwardParams<T>& p) {
  const Work work = divide<N>(p.shape);
  launch("rotary_norm_backward", rotary_norm_backward_kernel<N, T>, row_groups(p.shape.tokens), threads,
         angle_bytes(p.shape, work) + dweight_bytes(p.shape, work), stream, p, work);
}

}  // namespace

template <Device D, class T>
void rotary_forward(Context<D> on, const RotaryForwardParams<T>& p) {
  if (p.shape.tokens == 0 || p.shape.head_dim == 0) return;
  rotate("rotary_forward", on.stream, p, 1.0F);
}

template <Device D, class T>
void rotary_backward(Context<D> on, const RotaryBackwardParams<T>& p) {
  const RotaryShape& shape = p.shape;
  if (shape.tokens == 0 || shape.head_dim == 0) return;
  if (p.q_norm == nullptr) {
    rotate("rotary_backward", on.stream, RotaryForwardParams<T>{shape, p.dout, p.dqkv}, -1.0F);
    return;
  }
  if (wide<T>(shape, p.dout, p.dqkv, p.qkv, p.q_norm, p.k_norm)) {
    launch_norm_backward<widest<T>>(on.stream, p);
  } else {
    launch_norm_backward<1>(on.stream, p);
  }
  const int64_t groups = row_groups(shape.tokens);
  const auto* partials = static_cast<const float*>(p.workspace);
  const float* of_keys = partials + groups * shape.head_dim;
  if (p.dq_norm != nullptr) add_partials("q_norm_sum", on.stream, partials, groups, shape.head_dim, p.dq_norm);
  if (p.dk_norm != nullptr) add_partials("k_norm_sum", on.stream, of_keys, groups, shape.head_dim, p.dk_norm);
}

template void rotary_forward(Context<Cuda>, const RotaryForwardParams<float>&);
template void rotary_forward(Context<Cuda>, const RotaryForwardParams<bfloat16>&);
template void rotary_backward(Context<Cuda>, const RotaryBackwardParams<float>&);
template void rotary_backward(Context<Cuda>, const RotaryBackwardParams<bfloat16>&);

}  // namespace subspect::kernels
