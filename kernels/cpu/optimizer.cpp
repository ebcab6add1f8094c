// Optimizer steps and the gradient norm on the CPU. Compiled without fused multiply-adds (kernels/CMakeLists.txt), so
// that every instruction set, and a GPU, has the same bits.
#include "kernels/optimizer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cpu/partition.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/dynamic_code.h"
#include "kernels/stochastic_rounding.h"
#include "kernels/thread_team.h"

#ifndef SUBSPECT_KERNELS_CPU_OPTIMIZER_ONCE
#define SUBSPECT_KERNELS_CPU_OPTIMIZER_ONCE
namespace subspect::kernels::cpu {
namespace {

/// Chunks that one thread takes at a time.
constexpr int64_t chunk_grain = 2;

/// Running sums of a norm, as the threads of a GPU's block keep them: `norm_threads` of `norm_width` each for a chunk,
/// one for each of `sum_threads` over the chunks.
constexpr int64_t norm_threads = 256;
constexpr int64_t norm_width = 4;
constexpr int64_t norm_sums = norm_threads * norm_width;
constexpr int64_t sum_threads = 1024;

/// What one chunk of a squared norm found.
struct NormPartial {
  double sum;
  int64_t nonfinite;
};

/// At most `moment_block` elements of a tensor.
struct Tile {
  const OptimizerTensor& tensor;
  int64_t begin;
  int64_t count;
};

using TileFloats = std::array<float, moment_block>;

/// Calls `body(tile)` for all tiles of all tensors, on all threads.
template <class Body>
void for_each_tile(ThreadTeam& team, const TensorList& list, const Body& body) {
  team.for_each_range(list.chunk_count, chunk_grain, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      const TensorChunk chunk = list.chunks[c];
      const OptimizerTensor& tensor = list.tensors[chunk.tensor];
      const int64_t begin = chunk.index * chunk_elements;
      const int64_t end = std::min(begin + chunk_elements, tensor.count);
      for (int64_t at = begin; at < end; at += moment_block) body(Tile{tensor, at, std::min(moment_block, end - at)});
    }
  });
}

/// The numbers of all codes.
template <DynamicCode Kind>
const std::array<float, 256>& decoded_codes() {
  static const std::array<float, 256> numbers = [] {
    std::array<float, 256> values{};
    for (uint32_t code = 0; code < 256; ++code) values[code] = decode_dynamic<Kind>(code);
    return values;
  }();
  return numbers;
}

/// Where a tile's part of a moment can be read and written as floats: in place, or decoded into `buffer`.
template <DynamicCode Kind>
float* open_moment(const Moment& moment, const Tile& tile, TileFloats& buffer) {
  if (moment.codes == nullptr) return moment.values == nullptr ? nullptr : moment.values + tile.begin;
  const auto& numbers = decoded_codes<Kind>();
  const float scale = moment.scales[tile.begin / moment_block];
  const uint8_t* codes = moment.codes + tile.begin;
  for (int64_t i = 0; i < tile.count; ++i) buffer[static_cast<size_t>(i)] = scale * numbers[codes[i]];
  return buffer.data();
}

/// Encodes what `open_moment` decoded. NaN counts as larger than infinity.
template <DynamicCode Kind>
void close_moment(const Moment& moment, const Tile& tile, const float* values) {
  if (moment.codes == nullptr) return;
  uint32_t largest = 0;
  for (int64_t i = 0; i < tile.count; ++i)
    largest = std::max(largest, std::bit_cast<uint32_t>(values[i]) & 0x7fffffffU);
  const auto scale = std::bit_cast<float>(largest);
  const float inverse = dynamic_inverse(scale);
  uint8_t* codes = moment.codes + tile.begin;
  for (int64_t i = 0; i < tile.count; ++i) codes[i] = static_cast<uint8_t>(encode_dynamic<Kind>(values[i] * inverse));
  moment.scales[tile.begin / moment_block] = scale;
}

/// The new weights of a tile, rounded stochastically.
void round_tile(const UpdateParams& p, const Tile& tile, const TileFloats& weights) {
  for (int64_t i = 0; i < tile.count; i += rounding_group) {
    const Philox4 random = rounding_bits(p.seed, p.number, tile.tensor.random_stream,
                                         (tile.tensor.begin + tile.begin + i) / rounding_group);
    for (int64_t k = i; k < std::min(i + rounding_group, tile.count); ++k) {
      const auto bits = std::bit_cast<uint32_t>(weights[static_cast<size_t>(k)]);
      tile.tensor.rounded[tile.begin + k].bits = round_stochastically(bits, random.word[k - i]);
    }
  }
}

float gradient_scale(const UpdateParams& p) {
  return p.grad_scale != nullptr ? *p.grad_scale : 1.0F;
}

}  // namespace
}  // namespace subspect::kernels::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

/// Replaces the weights of a tile: weight -> rule(i, part, gradient, weight) for the vectors of elements at i.
template <class Rule>
HWY_INLINE void update_weights(const UpdateParams& p, const Tile& tile, float scale, const Rule& rule) {
  const OptimizerTensor& t = tile.tensor;
  const bool stochastic = p.stochastic_rounding && t.weights == nullptr;
  HWY_ALIGN TileFloats fresh;
  for_each_vector(tile.count, [&](int64_t i, auto part) HWY_ATTR {
    const int64_t at = tile.begin + i;
    const Float gradient = hn::Mul(load(t.grad + at, part), hn::Set(FloatTag(), scale));
    const Float weight = t.weights != nullptr ? load(t.weights + at, part) : load(t.rounded + at, part);
    const Float value = rule(i, part, gradient, weight);
    if (t.weights != nullptr) store(value, t.weights + at, part);
    if (stochastic) {
      store(value, fresh.data() + i, part);
    } else if (t.rounded != nullptr) {
      store(value, t.rounded + at, part);
    }
  });
  if (stochastic) round_tile(p, tile, fresh);
}

void adamw(ThreadTeam& team, const AdamWParams& p) {
  const float scale = gradient_scale(p.update);
  if (scale < 0) return;
  const auto number = static_cast<double>(p.update.number);
  const double correction1 = 1.0 - std::pow(static_cast<double>(p.beta1), number);
  const double correction2 = 1.0 - std::pow(static_cast<double>(p.beta2), number);
  const auto step_size = static_cast<float>(static_cast<double>(p.update.lr) / correction1);
  const auto root2 = static_cast<float>(1.0 / std::sqrt(correction2));
  for_each_tile(team, p.update.list, [&](const Tile& tile) HWY_ATTR {
    const FloatTag df;
    const Float keep = hn::Set(df, 1.0F - p.update.lr * tile.tensor.weight_decay);
    HWY_ALIGN TileFloats buffer1;
    HWY_ALIGN TileFloats buffer2;
    float* moment1 = open_moment<DynamicCode::with_sign>(tile.tensor.first, tile, buffer1);
    float* moment2 = open_moment<DynamicCode::without_sign>(tile.tensor.second, tile, buffer2);
    update_weights(p.update, tile, scale, [&](int64_t i, auto part, Float g, Float weight) HWY_ATTR {
      const Float m =
          hn::Add(hn::Mul(hn::Set(df, p.beta1), load(moment1 + i, part)), hn::Mul(hn::Set(df, 1.0F - p.beta1), g));
      const Float v = hn::Add(hn::Mul(hn::Set(df, p.beta2), load(moment2 + i, part)),
                              hn::Mul(hn::Set(df, 1.0F - p.beta2), hn::Mul(g, g)));
      store(m, moment1 + i, part);
      store(v, moment2 + i, part);
      const Float denominator = hn::Add(hn::Mul(hn::Sqrt(v), hn::Set(df, root2)), hn::Set(df, p.eps));
      return hn::Sub(hn::Mul(keep, weight), hn::Div(hn::Mul(hn::Set(df, step_size), m), denominator));
    });
    close_moment<DynamicCode::with_sign>(tile.tensor.first, tile, moment1);
    close_moment<DynamicCode::without_sign>(tile.tensor.second, tile, moment2);
  });
}

void sgd(ThreadTeam& team, const SgdParams& p) {
  const float scale = gradient_scale(p.update);
  if (scale < 0) return;
  for_each_tile(team, p.update.list, [&](const Tile& tile) HWY_ATTR {
    const FloatTag df;
    const Float keep = hn::Set(df, 1.0F - p.update.lr * tile.tensor.weight_decay);
    HWY_ALIGN TileFloats buffer;
    float* moment = open_moment<DynamicCode::with_sign>(tile.tensor.first, tile, buffer);
    update_weights(p.update, tile, scale, [&](int64_t i, auto part, Float velocity, Float weight) HWY_ATTR {
      if (moment != nullptr) {
        velocity = hn::Add(hn::Mul(hn::Set(df, p.momentum), load(moment + i, part)), velocity);
        store(velocity, moment + i, part);
      }
      return hn::Sub(hn::Mul(keep, weight), hn::Mul(hn::Set(df, p.update.lr), velocity));
    });
    close_moment<DynamicCode::with_sign>(tile.tensor.first, tile, moment);
  });
}

/// The sums of pairs of a block of threads: within warps of 32, then over the warps (kernels/cuda/reduce.cuh).
double sum_of_threads(double* sums, int64_t threads) {
  double warps[32] = {};
  const auto halve = [](double* values) HWY_ATTR {
    for (int64_t half = 16; half > 0; half /= 2) {
      for (int64_t i = 0; i < half; ++i) values[i] += values[i + half];
    }
    return values[0];
  };
  for (int64_t warp = 0; warp < threads / 32; ++warp) warps[warp] = halve(sums + warp * 32);
  return halve(warps);
}

NormPartial norm_of_chunk(const float* x, int64_t count) {
  HWY_ALIGN double sums[norm_sums] = {};
  int64_t nonfinite = 0;
  for (int64_t begin = 0; begin < count; begin += norm_sums) {
    const int64_t width = std::min(norm_sums, count - begin);
    int32_t bad = 0;
    for (int64_t i = 0; i < width; ++i) {
      const float value = x[begin + i];
      const bool finite = std::abs(value) <= std::numeric_limits<float>::max();
      const auto wide = static_cast<double>(finite ? value : 0.0F);
      sums[i] += wide * wide;
      bad += finite ? 0 : 1;
    }
    nonfinite += bad;
  }
  for (int64_t t = 0; t < norm_threads; ++t) {
    const double* of_thread = sums + t * norm_width;
    sums[t] = (of_thread[0] + of_thread[1]) + (of_thread[2] + of_thread[3]);
  }
  return {sum_of_threads(sums, norm_threads), nonfinite};
}

void norm(ThreadTeam& team, const SquaredNormParams& p) {
  auto* partials = static_cast<NormPartial*>(p.workspace);
  team.for_each_range(p.list.chunk_count, chunk_grain, [&](int64_t first, int64_t last) HWY_ATTR {
    for (int64_t c = first; c < last; ++c) {
      const OptimizerTensor& tensor = p.list.tensors[p.list.chunks[c].tensor];
      const int64_t begin = p.list.chunks[c].index * chunk_elements;
      partials[c] = norm_of_chunk(tensor.grad + begin, std::min(chunk_elements, tensor.count - begin));
    }
  });
  GradientSummary summary{0, 0, no_tensor};
  HWY_ALIGN double sums[sum_threads] = {};
  for (int64_t c = 0; c < p.list.chunk_count; ++c) {
    sums[c % sum_threads] += partials[c].sum;
    if (partials[c].nonfinite == 0) continue;
    if (summary.nonfinite == 0) summary.first_nonfinite = p.list.chunks[c].tensor;
    summary.nonfinite += partials[c].nonfinite;
  }
  summary.squared_norm = sum_of_threads(sums, sum_threads);
  *p.summary = summary;
}

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {
namespace cpu {

HWY_EXPORT(adamw);
HWY_EXPORT(sgd);
HWY_EXPORT(norm);

}  // namespace cpu

template <>
void adamw_step<Cpu>(Context<Cpu> on, const AdamWParams& p) {
  using namespace cpu;  // NOLINT(google-build-using-namespace): where Highway's macro looks for its table
  HWY_DYNAMIC_DISPATCH(adamw)(*on.team, p);
}

template <>
void sgd_step<Cpu>(Context<Cpu> on, const SgdParams& p) {
  using namespace cpu;  // NOLINT(google-build-using-namespace)
  HWY_DYNAMIC_DISPATCH(sgd)(*on.team, p);
}

template <>
int64_t squared_norm_workspace_bytes<Cpu>(const SquaredNormParams& p) {
  return p.list.chunk_count * static_cast<int64_t>(sizeof(cpu::NormPartial));
}

template <>
void squared_norm<Cpu>(Context<Cpu> on, const SquaredNormParams& p) {
  using namespace cpu;  // NOLINT(google-build-using-namespace)
  HWY_DYNAMIC_DISPATCH(norm)(*on.team, p);
}

template <>
void clip_scale<Cpu>(Context<Cpu> /*on*/, const ClipScaleParams& p) {
  if (p.summary->nonfinite > 0) {
    *p.scale = -1.0F;
  } else {
    const double norm = std::sqrt(p.summary->squared_norm);
    *p.scale = p.max_norm > 0 ? static_cast<float>(std::min(1.0, p.max_norm / (norm + 1e-6))) : 1.0F;
  }
}

}  // namespace subspect::kernels
#endif
