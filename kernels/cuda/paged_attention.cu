// The paged key/value cache on CUDA ("flash decoding", Dao et al., 2023). A sequence is cut into splits of 128
// positions, a fixed number, so that its result does not depend on the other sequences. One block takes one split for
// up to 8 query heads of one key/value head, so keys and values are read once for all of them, and writes a partial
// result (maximum, sum, unnormalised output) in float32; a second kernel combines a head's splits in order.
//
// bfloat16 with aligned heads multiplies on tensor cores, straight from global memory to fragments: the order of the
// dimensions within a product is free, so each lane takes 16 consecutive bytes of a row. Everything else (float32, odd
// sizes) has a thread per position.
#include "kernels/paged_attention.h"

#include <type_traits>

#include "kernels/cuda/platform.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/reduce.cuh"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int split = 128;  ///< positions of a block, and its threads
constexpr int warps = split / warp_size;
constexpr int head_tile = 8;  ///< query heads of a block
constexpr int copy_threads = 256;

GPU_DEVICE float minus_infinity() {
  return float_of(0xff800000U);
}

// ---- appending

/// Tile of 16-byte packs of one token's keys and values, bit for bit.
template <int N, class T>
GPU_KERNEL(copy_threads)
kv_cache_append_kernel(KvCacheAppendParams<T> p, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  const int64_t width = p.kv_heads * p.head_dim;
  const int64_t slot = p.slots[at.row];
  if (at.col >= width || slot < 0) return;
  const auto copy = [&](const T* from, int64_t stride, T* cache) {
    *reinterpret_cast<Pack<T, N>*>(cache + slot * width + at.col) =
        *reinterpret_cast<const Pack<T, N>*>(from + at.row * stride + at.col);
  };
  copy(p.k, p.k_stride, p.k_cache);
  copy(p.v, p.v_stride, p.v_cache);
}

template <int N, class T>
void launch_append(CUstream_st* stream, const KvCacheAppendParams<T>& p) {
  const uint32_t tiles = row_tiles(p.kv_heads * p.head_dim, copy_threads, N);
  launch("kv_cache_append", kv_cache_append_kernel<N, T>, p.tokens * tiles, copy_threads, 0, stream, p, tiles);
}

// ---- decoding

/// Splits of a sequence in the grid and in the workspace, and tiles of heads that share a key/value head.
struct Grid {
  int splits;
  int tiles;
};

template <class T>
Grid grid_of(const DecodeAttentionParams<T>& p) {
  int64_t splits = ceil_div(p.max_pages * p.page_size, split);
  if (p.window > 0 && ceil_div(p.window, split) + 1 < splits) splits = ceil_div(p.window, split) + 1;
  return {static_cast<int>(splits), static_cast<int>(ceil_div(p.heads / p.kv_heads, head_tile))};
}

/// Floats of one head's partial result: maximum, sum, two unused, then the output.
GPU_BOTH int64_t partial_size(int64_t head_dim) {
  return 4 + (head_dim + 3) / 4 * 4;
}

template <class T>
GPU_DEVICE float* partial_of(const DecodeAttentionParams<T>& p, const Grid& grid, int64_t sequence, int64_t head,
                             int64_t index) {
  return static_cast<float*>(p.workspace) +
         ((sequence * p.heads + head) * grid.splits + index) * partial_size(p.head_dim);
}

/// Positions that the sequence's new token sees.
struct Range {
  int begin;
  int end;
};

template <class T>
GPU_DEVICE Range seen_positions(const DecodeAttentionParams<T>& p, int64_t sequence) {
  const int length = p.lengths[sequence];
  return {p.window > 0 && length > p.window ? static_cast<int>(length - p.window) : 0, length};
}

/// What one block does.
struct Task {
  int sequence;
  int kv_head;
  int head;     ///< the first query head
  int heads;    ///< query heads, at most head_tile
  int index;    ///< of the split among those that the sequence sees
  int first;    ///< position of the split's first row
  Range range;  ///< positions of the split that are seen; empty for blocks beyond the sequence's end
};

template <class T>
GPU_DEVICE Task find_task(const DecodeAttentionParams<T>& p, const Grid& grid) {
  uint32_t rest = blockIdx.x;
  const int index = static_cast<int>(rest % static_cast<uint32_t>(grid.splits));
  rest /= static_cast<uint32_t>(grid.splits);
  const int tile = static_cast<int>(rest % static_cast<uint32_t>(grid.tiles));
  rest /= static_cast<uint32_t>(grid.tiles);
  const int kv_head = static_cast<int>(rest % static_cast<uint32_t>(p.kv_heads));
  const int sequence = static_cast<int>(rest / static_cast<uint32_t>(p.kv_heads));
  const int group = static_cast<int>(p.heads / p.kv_heads);
  const int left = group - tile * head_tile;
  const Range seen = seen_positions(p, sequence);
  const int first = (seen.begin / split + index) * split;
  const Range range{first < seen.begin ? seen.begin : first, first + split < seen.end ? first + split : seen.end};
  return {sequence, kv_head, kv_head * group + tile * head_tile, left < head_tile ? left : head_tile, index,
          first,    range};
}

/// slots[i] = page * page_size + offset of the split's position i; -1 where it is not seen.
template <class T>
GPU_DEVICE void find_slots(const DecodeAttentionParams<T>& p, const Task& task, int* slots) {
  const int position = task.first + static_cast<int>(threadIdx.x);
  int slot = -1;
  if (position >= task.range.begin && position < task.range.end) {
    const int page_size = static_cast<int>(p.page_size);
    slot = p.page_table[task.sequence * p.max_pages + position / page_size] * page_size + position % page_size;
  }
  slots[threadIdx.x] = slot;
}

/// The cached keys or values of one head: `begin` is that of slot 0, `stride` the elements from one slot to the next.
template <class T>
struct Cached {
  const T* begin;
  int stride;

  GPU_DEVICE const T* at(int slot) const { return begin + static_cast<int64_t>(slot) * stride; }
};

template <class T>
GPU_DEVICE Cached<T> cached_head(const DecodeAttentionParams<T>& p, const Task& task, const T* cache) {
  return {cache + task.kv_head * p.head_dim, static_cast<int>(p.kv_heads * p.head_dim)};
}

// ---- a thread per position

GPU_DEVICE int dims_of_slice(int head_dim) {
  int dims = 1;
  while (dims < head_dim && dims < split) dims *= 2;
  return dims;
}

/// Scores of this thread's position against every head of the tile. q: [head_tile, head_dim] in shared memory.
template <int N, class T>
GPU_DEVICE void score_position(const DecodeAttentionParams<T>& p, const Cached<T>& keys, const float* q, int slot,
                               float* scores) {
  Floats<head_tile> sums;
  GPU_UNROLL
  for (int g = 0; g < head_tile; ++g) sums.value[g] = 0;
  for (int i = 0; slot >= 0 && i < p.head_dim; i += N) {
    const Floats<N> key = load<N>(keys.at(slot) + i);
    GPU_UNROLL
    for (int g = 0; g < head_tile; ++g) {
      const Floats<N> query = load<N>(q + g * p.head_dim + i);
      GPU_UNROLL
      for (int j = 0; j < N; ++j) sums.value[g] += query.value[j] * key.value[j];
    }
  }
  GPU_UNROLL
  for (int g = 0; g < head_tile; ++g) {
    scores[g * split + threadIdx.x] = slot >= 0 ? p.scale * sums.value[g] : minus_infinity();
  }
}

/// The scores of one head become exp(score - maximum). All lanes of one warp.
GPU_DEVICE void soften(float* scores, float* partial) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  float maximum = minus_infinity();
  for (int i = lane; i < split; i += warp_size) maximum = scores[i] > maximum ? scores[i] : maximum;
  maximum = warp_max(maximum);
  float sum = 0;
  for (int i = lane; i < split; i += warp_size) {
    scores[i] = fast_exp(scores[i] - maximum);
    sum += scores[i];
  }
  sum = warp_sum(sum);
  if (lane == 0) {
    partial[0] = maximum;
    partial[1] = sum;
  }
}

/// This thread's share of the weighted sums of one dimension: every `slices`-th position.
template <class T>
GPU_DEVICE Floats<head_tile> weigh_values(const Cached<T>& values, int dim, const float* scores, const int* slots,
                                          int slice, int slices) {
  Floats<head_tile> sums;
  GPU_UNROLL
  for (int g = 0; g < head_tile; ++g) sums.value[g] = 0;
  for (int i = slice; i < split; i += slices) {
    if (slots[i] < 0) continue;
    const float value = widen(values.at(slots[i])[dim]);
    GPU_UNROLL
    for (int g = 0; g < head_tile; ++g) sums.value[g] += scores[g * split + i] * value;
  }
  return sums;
}

template <int N, class T>
GPU_KERNEL(split)
decode_kernel(DecodeAttentionParams<T> p, Grid grid) {
  GPU_SHARED(int, slots, split);
  GPU_SHARED(float, scores, head_tile* split);
  GPU_SHARED(float, shares, head_tile* split);
  auto* q = dynamic_smem<float>();
  const Task task = find_task(p, grid);
  if (task.range.begin >= task.range.end) return;
  const int dim = static_cast<int>(p.head_dim);
  const int thread = static_cast<int>(threadIdx.x);
  const T* queries = p.q + task.sequence * p.q_stride + task.head * p.head_dim;
  for (int i = thread; i < head_tile * dim; i += split) q[i] = i < task.heads * dim ? widen(queries[i]) : 0.0F;
  find_slots(p, task, slots);
  barrier();
  score_position<N>(p, cached_head(p, task, p.k_cache), q, slots[thread], scores);
  barrier();
  for (int g = thread / warp_size; g < task.heads; g += warps) {
    soften(scores + g * split, partial_of(p, grid, task.sequence, task.head + g, task.index));
  }
  barrier();
  const int dims = dims_of_slice(dim);
  // Where there are several slices, a thread adds up only its own share: the next slice needs no barrier before it.
  for (int base = 0; base < dim; base += dims) {
    const int j = base + thread % dims;
    if (j < dim) {
      const Cached<T> values = cached_head(p, task, p.v_cache);
      const Floats<head_tile> sums = weigh_values(values, j, scores, slots, thread / dims, split / dims);
      GPU_UNROLL
      for (int g = 0; g < head_tile; ++g) shares[g * split + thread] = sums.value[g];
    }
    barrier();
    if (j < dim && thread < dims) {
      for (int g = 0; g < task.heads; ++g) {
        float sum = 0;
        for (int i = thread; i < split; i += dims) sum += shares[g * split + i];
        partial_of(p, grid, task.sequence, task.head + g, task.index)[4 + j] = sum;
      }
    }
  }
}

// ---- tensor cores

/// 16 bytes of a row as four registers of two bfloat16.
using Words = Pack<uint32_t, 4>;

/// Zeros where the row is not seen or the head has ended.
GPU_DEVICE Words load_words(const bfloat16* from, bool exists) {
  return exists ? *reinterpret_cast<const Words*>(from) : Words{{0, 0, 0, 0}};
}

/// What a lane of the tensor-core kernel works on: fragments have 8 rows of 4 lanes.
struct Lane {
  int row;
  int column;
  int warp;
};

constexpr int warp_rows = split / warps;  ///< positions of a warp
constexpr int score_tiles = warp_rows / 8;

/// scores[t]: of head `lane.row` and the warp's positions 8 t + 2 lane.column and the next; the last two of each are of
/// rows that no head has. Within a product, lane column c holds dimensions 32 i + 8 c to 32 i + 8 c + 7.
template <int Blocks>
GPU_DEVICE void multiply_keys(const DecodeAttentionParams<bfloat16>& p, const Task& task, const Lane& lane,
                              const int* slots, float (&scores)[score_tiles][4]) {
  const Cached<bfloat16> keys = cached_head(p, task, p.k_cache);
  const bfloat16* query = p.q + task.sequence * p.q_stride + (task.head + lane.row) * p.head_dim;
  GPU_UNROLL
  for (int i = 0; i < 2 * Blocks; ++i) {
    const int dim = 32 * i + 8 * lane.column;
    const Words q = load_words(query + dim, lane.row < task.heads && dim < p.head_dim);
    GPU_UNROLL
    for (int t = 0; t < score_tiles; ++t) {
      const int slot = slots[lane.warp * warp_rows + 8 * t + lane.row];
      const Words k = load_words(keys.at(slot) + dim, slot >= 0 && dim < p.head_dim);
      GPU_UNROLL
      for (int s = 0; s < 4; s += 2) {
        const uint32_t a[4] = {q.value[s], 0, q.value[s + 1], 0};
        const uint32_t b[2] = {k.value[s], k.value[s + 1]};
        mma_m16n8k16(scores[t], a, b);
      }
    }
  }
}

/// The maximum or the sum of a head's numbers over the four lanes that hold them.
GPU_DEVICE float row_max(float value) {
  const float other = shuffle_xor(full_warp, value, 1);
  value = other > value ? other : value;
  const float far = shuffle_xor(full_warp, value, 2);
  return far > value ? far : value;
}
GPU_DEVICE float row_sum(float value) {
  value += shuffle_xor(full_warp, value, 1);
  return value + shuffle_xor(full_warp, value, 2);
}

/// Scores become exp(scale * score - maximum) of the warp's positions; zero where a position is not seen.
struct alignas(8) Softened {
  float maximum;
  float sum;
};

GPU_DEVICE Softened soften(const Task& task, const Lane& lane, float scale, float (&scores)[score_tiles][4]) {
  Softened result{minus_infinity(), 0};
  const int first = task.first + lane.warp * warp_rows + 2 * lane.column;
  GPU_UNROLL
  for (int t = 0; t < score_tiles; ++t) {
    GPU_UNROLL
    for (int j = 0; j < 2; ++j) {
      const int position = first + 8 * t + j;
      const bool seen = position >= task.range.begin && position < task.range.end;
      scores[t][j] = seen ? scale * scores[t][j] : minus_infinity();
      result.maximum = scores[t][j] > result.maximum ? scores[t][j] : result.maximum;
    }
  }
  result.maximum = row_max(result.maximum);
  const float subtracted = result.maximum == minus_infinity() ? 0.0F : result.maximum;  // nothing seen: all zeros
  GPU_UNROLL
  for (int t = 0; t < score_tiles; ++t) {
    GPU_UNROLL
    for (int j = 0; j < 2; ++j) {
      scores[t][j] = fast_exp(scores[t][j] - subtracted);
      result.sum += scores[t][j];
    }
  }
  result.sum = row_sum(result.sum);
  return result;
}

/// Two numbers as bfloat16 pairs whose sum has 16 bits of mantissa: weights lose nothing that the result would show.
struct SplitPair {
  uint32_t high;
  uint32_t low;
};

GPU_DEVICE SplitPair split_pair(float x, float y) {
  const float high_x = widen(narrow<bfloat16>(x));
  const float high_y = widen(narrow<bfloat16>(y));
  return {pack_bf16(high_x, high_y), pack_bf16(x - high_x, y - high_y)};
}

/// The lower, or the upper, halves of two registers.
GPU_DEVICE uint32_t low_halves(uint32_t x, uint32_t y) {
  return (x & 0xffffU) | y << 16;
}
GPU_DEVICE uint32_t high_halves(uint32_t x, uint32_t y) {
  return x >> 16 | (y & 0xffff0000U);
}

/// out[4 b + i]: dimensions 64 b + 8 lane.row + 2 i (first two) and the next (last two) of heads 2 lane.column and the
/// next.
template <int Blocks>
GPU_DEVICE void multiply_values(const DecodeAttentionParams<bfloat16>& p, const Task& task, const Lane& lane,
                                const int* slots, const float (&weights)[score_tiles][4], float (&out)[4 * Blocks][4]) {
  const Cached<bfloat16> values = cached_head(p, task, p.v_cache);
  GPU_UNROLL
  for (int t = 0; t < score_tiles; t += 2) {
    const SplitPair near = split_pair(weights[t][0], weights[t][1]);
    const SplitPair far = split_pair(weights[t + 1][0], weights[t + 1][1]);
    const uint32_t high[2] = {near.high, far.high};
    const uint32_t low[2] = {near.low, far.low};
    const int* of_tile = slots + lane.warp * warp_rows + 8 * t + 2 * lane.column;
    const int slot[4] = {of_tile[0], of_tile[1], of_tile[8], of_tile[9]};
    GPU_UNROLL
    for (int b = 0; b < Blocks; ++b) {
      const int dim = 64 * b + 8 * lane.row;
      const bool exists = dim < p.head_dim;
      const Words v0 = load_words(values.at(slot[0]) + dim, exists && slot[0] >= 0);
      const Words v1 = load_words(values.at(slot[1]) + dim, exists && slot[1] >= 0);
      const Words v8 = load_words(values.at(slot[2]) + dim, exists && slot[2] >= 0);
      const Words v9 = load_words(values.at(slot[3]) + dim, exists && slot[3] >= 0);
      GPU_UNROLL
      for (int i = 0; i < 4; ++i) {
        const uint32_t a[4] = {low_halves(v0.value[i], v1.value[i]), high_halves(v0.value[i], v1.value[i]),
                               low_halves(v8.value[i], v9.value[i]), high_halves(v8.value[i], v9.value[i])};
        mma_m16n8k16(out[4 * b + i], a, high);
        mma_m16n8k16(out[4 * b + i], a, low);
      }
    }
  }
}

/// Adds up the warps' results, in order, into the partial results of the block's heads.
template <int Blocks>
GPU_DEVICE void merge_warps(const DecodeAttentionParams<bfloat16>& p, const Grid& grid, const Task& task,
                            const Softened* softened, const float* outs) {
  constexpr int width = 64 * Blocks;
  for (int g = 0; g < task.heads; ++g) {
    float maximum = minus_infinity();
    for (int w = 0; w < warps; ++w) {
      const float of_warp = softened[w * head_tile + g].maximum;
      maximum = of_warp > maximum ? of_warp : maximum;
    }
    float factor[warps];
    float sum = 0;
    GPU_UNROLL
    for (int w = 0; w < warps; ++w) {
      factor[w] = fast_exp(softened[w * head_tile + g].maximum - maximum);
      sum += factor[w] * softened[w * head_tile + g].sum;
    }
    float* partial = partial_of(p, grid, task.sequence, task.head + g, task.index);
    if (threadIdx.x == 0) {
      partial[0] = maximum;
      partial[1] = sum;
    }
    for (int j = static_cast<int>(threadIdx.x); j < p.head_dim; j += split) {
      float out = 0;
      GPU_UNROLL
      for (int w = 0; w < warps; ++w) out += factor[w] * outs[(w * head_tile + g) * width + j];
      partial[4 + j] = out;
    }
  }
}

template <int Blocks>
GPU_KERNEL(split)
decode_mma_kernel(DecodeAttentionParams<bfloat16> p, Grid grid) {
  constexpr int width = 64 * Blocks;
  GPU_SHARED(int, slots, split);
  GPU_SHARED(Softened, softened, warps * head_tile);
  auto* outs = dynamic_smem<float>();  // [warps, head_tile, width]
  const Task task = find_task(p, grid);
  if (task.range.begin >= task.range.end) return;
  const int thread = static_cast<int>(threadIdx.x);
  const Lane lane{thread % warp_size / 4, thread % 4, thread / warp_size};
  find_slots(p, task, slots);
  barrier();
  float scores[score_tiles][4] = {};
  multiply_keys<Blocks>(p, task, lane, slots, scores);
  const Softened of_row = soften(task, lane, p.scale, scores);
  if (lane.column == 0) softened[lane.warp * head_tile + lane.row] = of_row;
  float out[4 * Blocks][4] = {};
  multiply_values<Blocks>(p, task, lane, slots, scores, out);
  float* of_warp = outs + lane.warp * head_tile * width;
  GPU_UNROLL
  for (int i = 0; i < 4 * Blocks; ++i) {
    const int dim = 64 * (i / 4) + 8 * lane.row + 2 * (i % 4);
    store(Floats<2>{out[i][0], out[i][2]}, of_warp + 2 * lane.column * width + dim);
    store(Floats<2>{out[i][1], out[i][3]}, of_warp + (2 * lane.column + 1) * width + dim);
  }
  barrier();
  merge_warps<Blocks>(p, grid, task, softened, outs);
}

// ---- combination

/// One block per sequence and head adds its splits in order, 128 at a time.
template <class T>
GPU_KERNEL(split)
decode_combine_kernel(DecodeAttentionParams<T> p, Grid grid) {
  GPU_SHARED(float, factors, split);
  const int64_t sequence = blockIdx.x / static_cast<uint32_t>(p.heads);
  const int64_t head = blockIdx.x % static_cast<uint32_t>(p.heads);
  const int thread = static_cast<int>(threadIdx.x);
  const Range seen = seen_positions(p, sequence);
  const int splits = (seen.end + split - 1) / split - seen.begin / split;
  const float* partials = partial_of(p, grid, sequence, head, 0);
  const int64_t size = partial_size(p.head_dim);
  float maximum = minus_infinity();
  for (int i = thread; i < splits; i += split) {
    maximum = partials[i * size] > maximum ? partials[i * size] : maximum;
  }
  maximum = block_max(maximum);
  float sum = 0;
  float out[2] = {0, 0};  // head_dim is at most two times the threads
  for (int base = 0; base < splits; base += split) {
    float factor = 0;
    if (base + thread < splits) {
      factor = fast_exp(partials[(base + thread) * size] - maximum);
      sum += factor * partials[(base + thread) * size + 1];
    }
    factors[thread] = factor;
    barrier();
    for (int i = 0; i < split && base + i < splits; ++i) {
      const float* partial = partials + (base + i) * size + 4;
      if (thread < p.head_dim) out[0] += factors[i] * partial[thread];
      if (thread + split < p.head_dim) out[1] += factors[i] * partial[thread + split];
    }
    barrier();
  }
  const float scale = 1.0F / block_sum(sum);
  T* y = p.out + sequence * p.out_stride + head * p.head_dim;
  if (thread < p.head_dim) y[thread] = narrow<T>(out[0] * scale);
  if (thread + split < p.head_dim) y[thread + split] = narrow<T>(out[1] * scale);
}

template <class T>
int64_t blocks_of(const DecodeAttentionParams<T>& p, const Grid& grid) {
  return p.sequences * p.kv_heads * grid.tiles * grid.splits;
}

template <int Blocks>
void launch_mma(CUstream_st* stream, const DecodeAttentionParams<bfloat16>& p, const Grid& grid) {
  constexpr size_t bytes = sizeof(float) * warps * head_tile * 64 * Blocks;
  launch("decode_attention", decode_mma_kernel<Blocks>, blocks_of(p, grid), split, bytes, stream, p, grid);
}

void launch_mma(CUstream_st* stream, const DecodeAttentionParams<bfloat16>& p, const Grid& grid) {
  if (p.head_dim <= 64) return launch_mma<1>(stream, p, grid);
  if (p.head_dim <= 128) return launch_mma<2>(stream, p, grid);
  if (p.head_dim <= 192) return launch_mma<3>(stream, p, grid);
  launch_mma<4>(stream, p, grid);
}

template <int N, class T>
void launch_decode(CUstream_st* stream, const DecodeAttentionParams<T>& p, const Grid& grid) {
  const size_t bytes = sizeof(float) * head_tile * static_cast<size_t>(p.head_dim);
  launch("decode_attention", decode_kernel<N, T>, blocks_of(p, grid), split, bytes, stream, p, grid);
}

}  // namespace

template <Device D, class T>
void kv_cache_append(Context<D> on, const KvCacheAppendParams<T>& p) {
  const int64_t width = p.kv_heads * p.head_dim;
  if (p.tokens == 0 || width == 0) return;
  if (aligned_rows(width, widest<T>, p.k, p.v, p.k_cache, p.v_cache) && p.k_stride % widest<T> == 0 &&
      p.v_stride % widest<T> == 0) {
    launch_append<widest<T>>(on.stream, p);
  } else {
    launch_append<1>(on.stream, p);
  }
}

template <Device D, class T>
int64_t decode_attention_workspace_bytes(const DecodeAttentionParams<T>& p) {
  return p.sequences * p.heads * grid_of(p).splits * partial_size(p.head_dim) * static_cast<int64_t>(sizeof(float));
}

template <Device D, class T>
void decode_attention(Context<D> on, const DecodeAttentionParams<T>& p) {
  if (p.sequences == 0) return;
  const Grid grid = grid_of(p);
  const bool wide = aligned_rows(p.head_dim, widest<T>, p.k_cache, p.v_cache);
  if constexpr (std::is_same_v<T, bfloat16>) {
    if (wide && aligned_rows(p.q_stride, widest<T>, p.q)) {
      launch_mma(on.stream, p, grid);
    } else {
      launch_decode<1>(on.stream, p, grid);
    }
  } else if (wide) {
    launch_decode<widest<T>>(on.stream, p, grid);
  } else {
    launch_decode<1>(on.stream, p, grid);
  }
  launch("decode_attention_combine", decode_combine_kernel<T>, p.sequences * p.heads, split, 0, on.stream, p, grid);
}

template void kv_cache_append(Context<Cuda>, const KvCacheAppendParams<float>&);
template void kv_cache_append(Context<Cuda>, const KvCacheAppendParams<bfloat16>&);
template int64_t decode_attention_workspace_bytes<Cuda>(const DecodeAttentionParams<float>&);
template int64_t decode_attention_workspace_bytes<Cuda>(const DecodeAttentionParams<bfloat16>&);
template void decode_attention(Context<Cuda>, const DecodeAttentionParams<float>&);
template void decode_attention(Context<Cuda>, const DecodeAttentionParams<bfloat16>&);

}  // namespace subspect::kernels
