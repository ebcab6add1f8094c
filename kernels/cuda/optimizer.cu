// Optimizer steps and the gradient norm on CUDA: one launch for all tensors of a list. A block of threads takes a chunk
// of a tensor, a warp the tiles of 256 elements in it, which are the blocks of 8-bit moments. Products are rounded
// before they are added, as on the CPU: the bits are the same.
#include "kernels/optimizer.h"

#include <cmath>

#include "kernels/cuda/platform.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/workspaces.h"
#include "kernels/dynamic_code.h"
#include "kernels/stochastic_rounding.h"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;
constexpr int warps = threads / warp_size;
constexpr int tile_elements = static_cast<int>(moment_block);
constexpr int chunk_tiles = static_cast<int>(chunk_elements / moment_block);
constexpr int quads = 2;  ///< groups of four elements per lane: four times the lane on, from the start and the middle
constexpr int quad_stride = tile_elements / quads;
constexpr int codes = 256;
static_assert(rounding_group == 4, "a quad takes the words of one group");

/// The elements of a tile that a lane holds.
struct LaneValues {
  Floats<4> quad[quads];
};

/// Where a warp works.
struct Tile {
  int64_t begin;  ///< of the tensor's elements
  int count;
};

/// Where quad q of this lane begins in a tile.
GPU_DEVICE int quad_begin(int q) {
  return q * quad_stride + static_cast<int>(threadIdx.x) % warp_size * 4;
}

/// What is beyond the tile's end becomes 0. Full: the tile has all elements, and memory is aligned.
template <bool Full, class T>
GPU_DEVICE LaneValues load_tile(const T* from, const Tile& tile) {
  LaneValues values;
  GPU_UNROLL
  for (int q = 0; q < quads; ++q) {
    const int at = quad_begin(q);
    if constexpr (Full) {
      values.quad[q] = load<4>(from + tile.begin + at);
    } else {
      GPU_UNROLL
      for (int i = 0; i < 4; ++i)
        values.quad[q].value[i] = at + i < tile.count ? widen(from[tile.begin + at + i]) : 0.0F;
    }
  }
  return values;
}

template <bool Full, class T>
GPU_DEVICE void store_tile(const LaneValues& values, T* to, const Tile& tile) {
  GPU_UNROLL
  for (int q = 0; q < quads; ++q) {
    const int at = quad_begin(q);
    if constexpr (Full) {
      store(values.quad[q], to + tile.begin + at);
    } else {
      GPU_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (at + i < tile.count) to[tile.begin + at + i] = narrow<T>(values.quad[q].value[i]);
      }
    }
  }
}

// ---- 8-bit moments

/// The numbers of all codes of a kind, in shared memory, by the threads of a block of `codes` threads.
template <DynamicCode Kind>
GPU_DEVICE void fill_numbers(float* numbers) {
  numbers[threadIdx.x] = decode_dynamic<Kind>(threadIdx.x);
}

template <bool Full>
GPU_DEVICE LaneValues decode_tile(const Moment& moment, const float* numbers, const Tile& tile) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const float of_lane = lane == 0 ? moment.scales[tile.begin / moment_block] : 0.0F;
  const float scale = shuffle(full_warp, of_lane, 0);
  LaneValues values;
  GPU_UNROLL
  for (int q = 0; q < quads; ++q) {
    const int at = quad_begin(q);
    const uint8_t* from = moment.codes + tile.begin + at;
    Pack<uint8_t, 4> pack{};
    if constexpr (Full) {
      GPU_CHECK_ALIGNED(from, sizeof(pack));
      pack = *reinterpret_cast<const Pack<uint8_t, 4>*>(from);
    } else {
      GPU_UNROLL
      for (int i = 0; i < 4; ++i) pack.value[i] = at + i < tile.count ? from[i] : 0;
    }
    GPU_UNROLL
    for (int i = 0; i < 4; ++i) values.quad[q].value[i] = rounded_product(scale, numbers[pack.value[i]]);
  }
  return values;
}

/// The largest magnitude of a tile; NaN counts as larger than infinity.
GPU_DEVICE float largest_of_tile(const LaneValues& values, const Tile& tile) {
  uint32_t largest = 0;
  GPU_UNROLL
  for (int q = 0; q < quads; ++q) {
    GPU_UNROLL
    for (int i = 0; i < 4; ++i) {
      const uint32_t bits = quad_begin(q) + i < tile.count ? bits_of(values.quad[q].value[i]) & 0x7fffffffU : 0;
      largest = bits > largest ? bits : largest;
    }
  }
  return float_of(warp_max(largest));
}

template <bool Full, DynamicCode Kind>
GPU_DEVICE void encode_tile(const LaneValues& values, const Moment& moment, const Tile& tile) {
  const float scale = largest_of_tile(values, tile);
  const float inverse = dynamic_inverse(scale);
  GPU_UNROLL
  for (int q = 0; q < quads; ++q) {
    const int at = quad_begin(q);
    uint8_t* to = moment.codes + tile.begin + at;
    Pack<uint8_t, 4> pack;
    GPU_UNROLL
    for (int i = 0; i < 4; ++i) {
      pack.value[i] = static_cast<uint8_t>(encode_dynamic<Kind>(rounded_product(values.quad[q].value[i], inverse)));
    }
    if constexpr (Full) {
      *reinterpret_cast<Pack<uint8_t, 4>*>(to) = pack;
    } else {
      GPU_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (at + i < tile.count) to[i] = pack.value[i];
      }
    }
  }
  if (threadIdx.x % warp_size == 0) moment.scales[tile.begin / moment_block] = scale;
}

/// Zeros where the optimizer keeps no such moment.
template <bool Full>
GPU_DEVICE LaneValues load_moment(const Moment& moment, const float* numbers, const Tile& tile) {
  if (moment.codes != nullptr) return decode_tile<Full>(moment, numbers, tile);
  if (moment.values != nullptr) return load_tile<Full>(moment.values, tile);
  return LaneValues{};
}

template <bool Full, DynamicCode Kind>
GPU_DEVICE void store_moment(const LaneValues& values, const Moment& moment, const Tile& tile) {
  if (moment.codes != nullptr) {
    encode_tile<Full, Kind>(values, moment, tile);
  } else if (moment.values != nullptr) {
    store_tile<Full>(values, moment.values, tile);
  }
}

// ---- Weights

template <bool Full>
GPU_DEVICE LaneValues load_weights(const OptimizerTensor& tensor, const Tile& tile) {
  if (tensor.weights != nullptr) return load_tile<Full>(tensor.weights, tile);
  return load_tile<Full>(tensor.rounded, tile);
}

template <bool Full>
GPU_DEVICE void store_stochastically(const UpdateParams& p, const LaneValues& weights, const OptimizerTensor& tensor,
                                     const Tile& tile) {
  GPU_UNROLL
  for (int q = 0; q < quads; ++q) {
    const int at = quad_begin(q);
    const int64_t group = (tensor.begin + tile.begin + at) / rounding_group;
    const Philox4 random = rounding_bits(p.seed, p.number, tensor.random_stream, group);
    Pack<bfloat16, 4> pack;
    GPU_UNROLL
    for (int i = 0; i < 4; ++i) {
      pack.value[i].bits = round_stochastically(bits_of(weights.quad[q].value[i]), random.word[i]);
    }
    if constexpr (Full) {
      *reinterpret_cast<Pack<bfloat16, 4>*>(tensor.rounded + tile.begin + at) = pack;
    } else {
      GPU_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (at + i < tile.count) tensor.rounded[tile.begin + at + i] = pack.value[i];
      }
    }
  }
}

template <bool Full>
GPU_DEVICE void store_weights(const UpdateParams& p, const LaneValues& weights, const OptimizerTensor& tensor,
                              const Tile& tile) {
  if (tensor.weights != nullptr) store_tile<Full>(weights, tensor.weights, tile);
  if (tensor.rounded == nullptr) return;
  if (p.stochastic_rounding && tensor.weights == nullptr) {
    store_stochastically<Full>(p, weights, tensor, tile);
  } else {
    store_tile<Full>(weights, tensor.rounded, tile);
  }
}

// ---- Rules of update: `first` and `second` are replaced, the new weight is returned.

/// What does not change over the tensors is computed on the host in double.
struct AdamWRule {
  float beta1;
  float rest1;  ///< 1 - beta1
  float beta2;
  float rest2;
  float eps;
  float step_size;  ///< lr / (1 - beta1^number)
  float root2;      ///< 1 / sqrt(1 - beta2^number)

  static constexpr bool has_second = true;

  GPU_DEVICE float update(float gradient, float kept_weight, bool /*has_first*/, float& first, float& second) const {
    first = rounded_product(beta1, first) + rounded_product(rest1, gradient);
    second = rounded_product(beta2, second) + rounded_product(rest2, rounded_product(gradient, gradient));
    const float denominator = rounded_product(square_root(second), root2) + eps;
    return kept_weight - rounded_product(step_size, first) / denominator;
  }
};

struct SgdRule {
  float lr;
  float momentum;

  static constexpr bool has_second = false;

  GPU_DEVICE float update(float gradient, float kept_weight, bool has_first, float& first, float& /*second*/) const {
    first = has_first ? rounded_product(momentum, first) + gradient : gradient;
    return kept_weight - rounded_product(lr, first);
  }
};

template <bool Full, class Rule>
GPU_DEVICE void update_tile(const UpdateParams& p, const Rule& rule, float scale, const OptimizerTensor& tensor,
                            const float* numbers, const Tile& tile) {
  const LaneValues gradient = load_tile<Full>(tensor.grad, tile);
  LaneValues weights = load_weights<Full>(tensor, tile);
  LaneValues first = load_moment<Full>(tensor.first, numbers, tile);
  LaneValues second{};
  if constexpr (Rule::has_second) second = load_moment<Full>(tensor.second, numbers + codes, tile);
  const bool has_first = tensor.first.codes != nullptr || tensor.first.values != nullptr;
  const float keep = 1.0F - rounded_product(p.lr, tensor.weight_decay);
  GPU_UNROLL
  for (int q = 0; q < quads; ++q) {
    GPU_UNROLL
    for (int i = 0; i < 4; ++i) {
      float& weight = weights.quad[q].value[i];
      weight = rule.update(rounded_product(gradient.quad[q].value[i], scale), rounded_product(keep, weight), has_first,
                           first.quad[q].value[i], second.quad[q].value[i]);
    }
  }
  store_weights<Full>(p, weights, tensor, tile);
  store_moment<Full, DynamicCode::with_sign>(first, tensor.first, tile);
  if constexpr (Rule::has_second) store_moment<Full, DynamicCode::without_sign>(second, tensor.second, tile);
}

GPU_DEVICE uintptr_t address(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}

/// Whether four elements of each of the tensor's arrays move as one access, at multiples of four.
GPU_DEVICE bool is_aligned(const OptimizerTensor& t) {
  const uintptr_t floats = address(t.weights) | address(t.grad) | address(t.first.values) | address(t.second.values);
  const uintptr_t bytes = address(t.first.codes) | address(t.second.codes);
  return floats % 16 == 0 && address(t.rounded) % 8 == 0 && bytes % 4 == 0;
}

/// A copy, member by member: no access is wider than one that a GPU makes.
GPU_DEVICE OptimizerTensor read_tensor(const OptimizerTensor& t) {
  return {.weights = t.weights,
          .rounded = t.rounded,
          .grad = t.grad,
          .first = {t.first.values, t.first.codes, t.first.scales},
          .second = {t.second.values, t.second.codes, t.second.scales},
          .count = t.count,
          .begin = t.begin,
          .random_stream = t.random_stream,
          .weight_decay = t.weight_decay};
}

template <class Rule>
GPU_KERNEL(threads)
update_kernel(UpdateParams p, Rule rule) {
  GPU_SHARED(float, numbers, 2 * codes);
  const float scale = p.grad_scale != nullptr ? *p.grad_scale : 1.0F;
  if (scale < 0) return;
  const TensorChunk& chunk = p.list.chunks[blockIdx.x];
  const int64_t chunk_begin = chunk.index * chunk_elements;
  const OptimizerTensor tensor = read_tensor(p.list.tensors[chunk.tensor]);
  if (tensor.first.codes != nullptr) {
    fill_numbers<DynamicCode::with_sign>(numbers);
    fill_numbers<DynamicCode::without_sign>(numbers + codes);
    barrier();
  }
  const bool aligned = is_aligned(tensor);
  for (int t = static_cast<int>(threadIdx.x) / warp_size; t < chunk_tiles; t += warps) {
    const int64_t begin = chunk_begin + t * tile_elements;
    if (begin >= tensor.count) break;
    if (aligned && begin + tile_elements <= tensor.count) {
      update_tile<true>(p, rule, scale, tensor, numbers, {begin, tile_elements});
    } else {
      const int64_t left = tensor.count - begin;
      update_tile<false>(p, rule, scale, tensor, numbers,
                         {begin, left < tile_elements ? static_cast<int>(left) : tile_elements});
    }
  }
}

// ---- The gradient norm

constexpr int sum_threads = 1024;

template <bool Full>
GPU_DEVICE void add_squares(const float* x, int64_t left, double (&sums)[4], int32_t& nonfinite) {
  Floats<4> values;
  if constexpr (Full) {
    values = load<4>(x);
  } else {
    GPU_UNROLL
    for (int i = 0; i < 4; ++i) values.value[i] = i < left ? x[i] : 0.0F;
  }
  GPU_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float value = values.value[i];
    const bool finite = value - value == 0.0F;
    const auto wide = static_cast<double>(finite ? value : 0.0F);
    sums[i] += wide * wide;  // the product of two floats is exact
    nonfinite += finite ? 0 : 1;
  }
}

template <class Unused = void>
GPU_KERNEL(threads)
squared_norm_kernel(TensorList list, NormPartial* partials) {
  const TensorChunk& chunk = list.chunks[blockIdx.x];
  const int64_t begin = chunk.index * chunk_elements;
  const float* x = list.tensors[chunk.tensor].grad + begin;
  const int64_t left = list.tensors[chunk.tensor].count - begin;
  const int64_t count = left < chunk_elements ? left : chunk_elements;
  const bool aligned = address(x) % 16 == 0;
  double sums[4] = {0, 0, 0, 0};
  int32_t nonfinite = 0;
  for (int64_t i = threadIdx.x * 4; i < count; i += threads * 4) {
    if (aligned && i + 4 <= count) {
      add_squares<true>(x + i, 4, sums, nonfinite);
    } else {
      add_squares<false>(x + i, count - i, sums, nonfinite);
    }
  }
  const double sum = block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  nonfinite = block_sum(nonfinite);
  if (threadIdx.x == 0) partials[blockIdx.x] = {sum, nonfinite};
}

/// One block adds the partial results in a fixed order.
template <class Unused = void>
GPU_KERNEL(sum_threads)
squared_norm_sum_kernel(TensorList list, const NormPartial* partials, GradientSummary* summary) {
  double sum = 0;
  int64_t nonfinite = 0;
  int64_t first = no_tensor;
  for (int64_t i = threadIdx.x; i < list.chunk_count; i += sum_threads) {
    sum += partials[i].sum;
    nonfinite += partials[i].nonfinite;
    const int64_t tensor = list.chunks[i].tensor;
    if (partials[i].nonfinite > 0 && tensor < first) first = tensor;
  }
  sum = block_sum(sum);
  nonfinite = block_sum(nonfinite);
  first = -block_max(-first);
  if (threadIdx.x == 0) *summary = {sum, nonfinite, first};
}

template <class Unused = void>
GPU_KERNEL(warp_size)
clip_scale_kernel(ClipScaleParams p) {
  if (threadIdx.x != 0) return;
  float scale = 1.0F;
  if (p.summary->nonfinite > 0) {
    scale = -1.0F;
  } else if (p.max_norm > 0) {
    const double ratio = p.max_norm / (square_root(p.summary->squared_norm) + 1e-6);
    scale = ratio < 1.0 ? static_cast<float>(ratio) : 1.0F;
  }
  *p.scale = scale;
}

}  // namespace

template <Device D>
void adamw_step(Context<D> on, const AdamWParams& p) {
  if (p.update.list.chunk_count == 0) return;
  const auto number = static_cast<double>(p.update.number);
  const double correction1 = 1.0 - std::pow(static_cast<double>(p.beta1), number);
  const double correction2 = 1.0 - std::pow(static_cast<double>(p.beta2), number);
  const AdamWRule rule{p.beta1,
                       1.0F - p.beta1,
                       p.beta2,
                       1.0F - p.beta2,
                       p.eps,
                       static_cast<float>(static_cast<double>(p.update.lr) / correction1),
                       static_cast<float>(1.0 / std::sqrt(correction2))};
  launch("adamw_step", update_kernel<AdamWRule>, p.update.list.chunk_count, threads, 0, on.stream, p.update, rule);
}

template <Device D>
void sgd_step(Context<D> on, const SgdParams& p) {
  if (p.update.list.chunk_count == 0) return;
  launch("sgd_step", update_kernel<SgdRule>, p.update.list.chunk_count, threads, 0, on.stream, p.update,
         SgdRule{p.update.lr, p.momentum});
}

template <Device D>
void squared_norm(Context<D> on, const SquaredNormParams& p) {
  auto* partials = static_cast<NormPartial*>(p.workspace);
  if (p.list.chunk_count > 0) {
    launch("squared_norm", squared_norm_kernel<>, p.list.chunk_count, threads, 0, on.stream, p.list, partials);
  }
  launch("squared_norm_sum", squared_norm_sum_kernel<>, 1, sum_threads, 0, on.stream, p.list, partials, p.summary);
}

template <Device D>
void clip_scale(Context<D> on, const ClipScaleParams& p) {
  launch("clip_scale", clip_scale_kernel<>, 1, warp_size, 0, on.stream, p);
}

template void adamw_step(Context<Cuda>, const AdamWParams&);
template void sgd_step(Context<Cuda>, const SgdParams&);
template void squared_norm(Context<Cuda>, const SquaredNormParams&);
template void clip_scale(Context<Cuda>, const ClipScaleParams&);

}  // namespace subspect::kernels
