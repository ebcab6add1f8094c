// What the attention kernels share around their products: the document a block works on, which pairs of positions are
// visible, and tiles of rows on their way between global and shared memory.
#pragma once

#include <initializer_list>
#include <type_traits>

#include "kernels/attention.h"
#include "kernels/cuda/attention_products.cuh"

namespace subspect::kernels::gpu {

inline constexpr float log2_e = 1.44269504F;

/// The parameters of a call, and what the host derives from them.
template <class Params>
struct AttentionArguments {
  Params p;
  int window;    ///< positions that a query sees; the number of tokens for all
  int group;     ///< query heads that share a key/value head
  bool aligned;  ///< rows of all heads divide into accesses of 16 bytes
};

/// The largest window is as good as none, and saves the test for none.
inline int effective_window(const AttentionShape& shape) {
  return static_cast<int>(shape.window <= 0 || shape.window > shape.tokens ? shape.tokens : shape.window);
}

/// Whether rows of one head divide into accesses of 16 bytes, for all tensors of these row strides.
template <class T, class... Pointers>
bool aligned_heads(int64_t head_dim, std::initializer_list<int64_t> strides, const Pointers*... pointers) {
  for (const int64_t stride : strides) {
    if (stride % widest<T> != 0) return false;
  }
  return aligned_rows(head_dim, widest<T>, pointers...);
}

/// Calls `body` with the smallest head dimension that is compiled and not below `head_dim`, as a type. Tiles are filled
/// up with columns of zeros, which change no product.
template <class Body>
void with_head_dim(int64_t head_dim, const Body& body) {
  if (head_dim <= 64) return body(std::integral_constant<int, 64>());
  if (head_dim <= 80) return body(std::integral_constant<int, 80>());
  if (head_dim <= 96) return body(std::integral_constant<int, 96>());
  if (head_dim <= 128) return body(std::integral_constant<int, 128>());
  return body(std::integral_constant<int, 256>());
}

/// A tile of consecutive positions of one document.
struct DocumentTile {
  int64_t begin;  ///< row of the document's position 0
  int length;     ///< of the document
  int first;      ///< the tile's first position; not below `length` where the tile does not exist
};

/// Lengths are on the device, so the host cannot count tiles. It starts blocks for slots instead: document i has those
/// from cu_seqlens[i] / tile + i on, which are enough for all lengths, and at most one too many.
inline int64_t document_slots(const AttentionShape& shape, int tile) {
  return shape.tokens / tile + shape.documents;
}

/// The tile of a slot: bisection for the last document whose slots begin at or before it.
GPU_DEVICE DocumentTile document_tile(const AttentionShape& shape, uint32_t slot, uint32_t tile) {
  uint32_t low = 0;
  auto high = static_cast<uint32_t>(shape.documents);
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    if (static_cast<uint32_t>(shape.cu_seqlens[middle]) / tile + middle <= slot) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const int begin = shape.cu_seqlens[low];
  const uint32_t index = slot - (static_cast<uint32_t>(begin) / tile + low);
  return {begin, shape.cu_seqlens[low + 1] - begin, static_cast<int>(index * tile)};
}

GPU_DEVICE int smaller(int a, int b) {
  return a < b ? a : b;
}
GPU_DEVICE int larger(int a, int b) {
  return a > b ? a : b;
}

enum class Visible : uint8_t { none, some, all };

/// Whether the query at one position sees the key at another.
GPU_DEVICE bool sees(int query, int key, int window) {
  return static_cast<uint32_t>(query - key) < static_cast<uint32_t>(window);
}

/// How many of the pairs of `queries` positions and `keys` positions are visible.
GPU_DEVICE Visible visible_pairs(int first_query, int queries, int first_key, int keys, int window) {
  const int last_query = first_query + queries - 1;
  const int last_key = first_key + keys - 1;
  if (first_key > last_query || first_query - last_key >= window) return Visible::none;
  return last_key <= first_query && last_query - first_key < window ? Visible::all : Visible::some;
}

/// Which positions are the rows of a tile of scores; the others are its columns.
enum class ScoreRows : uint8_t { queries, keys };

/// Sets what a lane holds of pairs that do not see each other. `first_row` and `first_col` are the positions of its
/// first element.
template <ScoreRows rows, int M, int N>
GPU_DEVICE void hide_pairs(Fragments<M, N>& scores, int first_row, int first_col, int window, float hidden) {
  GPU_UNROLL
  for (int m = 0; m < M; ++m) {
    GPU_UNROLL
    for (int n = 0; n < N; ++n) {
      GPU_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int row = first_row + 16 * m + 8 * (e / 2);
        const int col = first_col + 8 * n + e % 2;
        const bool seen = rows == ScoreRows::queries ? sees(row, col, window) : sees(col, row, window);
        if (!seen) scores[m][n][e] = hidden;
      }
    }
  }
}

/// Rows [rows, head_dim] in global memory.
template <class T>
struct GlobalRows {
  T* data;
  int64_t stride;
  int rows;  ///< those that exist; may be negative
  int head_dim;
  bool aligned;
};

/// What a block of the forward pass or of the kernel for dq works on: a tile of queries of one head.
struct QueryBlock {
  int head;
  DocumentTile tile;
  int last;  ///< one past the last query
  int head_dim;
  bool aligned;

  GPU_DEVICE bool exists() const { return tile.first < tile.length; }

  /// The rows of one head from position `first` on, up to the last query: no query of the block sees beyond.
  template <class T>
  GPU_DEVICE GlobalRows<T> rows(T* data, int64_t stride, int of_head, int first) const {
    T* row = data + (tile.begin + first) * stride + static_cast<int64_t>(of_head) * head_dim;
    return {row, stride, last - first, head_dim, aligned};
  }
};

/// The tile of this block. Late queries, which see most keys, come first.
template <int queries, class Params>
GPU_DEVICE QueryBlock query_block(const AttentionArguments<Params>& arguments) {
  const AttentionShape& shape = arguments.p.shape;
  const auto heads = static_cast<uint32_t>(shape.heads);
  const DocumentTile tile = document_tile(shape, (gridDim.x - 1 - blockIdx.x) / heads, queries);
  return {static_cast<int>(blockIdx.x % heads), tile, smaller(tile.first + queries, tile.length),
          static_cast<int>(shape.head_dim), arguments.aligned};
}

/// Starts loading `rows` rows into a tile of shared memory; rows and columns that do not exist become zeros. Rows that
/// are not aligned are copied at once, element by element. Both have arrived after cp_async_wait and a barrier.
template <class T, int D, int rows, int threads>
GPU_DEVICE void load_rows(T* to, const GlobalRows<const T>& from) {
  constexpr int width = widest<T>;
  constexpr int chunks = D / width;
  for (int i = static_cast<int>(threadIdx.x); i < rows * chunks; i += threads) {
    const int row = i / chunks;
    const int col = i % chunks * width;
    const T* source = from.data + row * from.stride + col;
    T* target = to + row * row_stride<T, D> + col;
    if (from.aligned) {
      cp_async16(target, source, row < from.rows && col < from.head_dim);
      continue;
    }
    Pack<T, width> pack;
    GPU_UNROLL
    for (int j = 0; j < width; ++j) {
      pack.value[j] = narrow<T>(0.0F);
      if (row < from.rows && col + j < from.head_dim) pack.value[j] = source[j];
    }
    *reinterpret_cast<Pack<T, width>*>(target) = pack;
  }
}

/// Two neighbours of a row, rounded to T.
GPU_DEVICE void store_pair(float* to, float first, float second) {
  *reinterpret_cast<Pack<float, 2>*>(to) = {{first, second}};
}
GPU_DEVICE void store_pair(bfloat16* to, float first, float second) {
  *reinterpret_cast<uint32_t*>(to) = pack_bf16(first, second);
}

/// Writes a warp's sums, times a factor for each row, through its own rows of a tile of shared memory, which no other
/// warp reads, to global memory.
template <class T, int D, int M>
GPU_DEVICE void store_rows(const Fragments<M, D / 8>& sums, const float (&factor)[M][2], T* tile,
                           const GlobalRows<T>& to) {
  constexpr int stride = row_stride<T, D>;
  constexpr int width = widest<T>;
  constexpr int chunks = D / width;
  sync_warp(full_warp);  // what the tile held has been read
  GPU_UNROLL
  for (int m = 0; m < M; ++m) {
    GPU_UNROLL
    for (int half = 0; half < 2; ++half) {
      T* row = tile + (16 * m + 8 * half + fragment_row()) * stride + fragment_col();
      const float f = factor[m][half];
      GPU_UNROLL
      for (int n = 0; n < D / 8; ++n) store_pair(row + 8 * n, sums[m][n][2 * half] * f, sums[m][n][2 * half + 1] * f);
    }
  }
  sync_warp(full_warp);
  for (int i = lane_index(); i < 16 * M * chunks; i += warp_size) {
    const int row = i / chunks;
    const int col = i % chunks * width;
    if (row >= to.rows || col >= to.head_dim) continue;
    const Pack<T, width> pack = *reinterpret_cast<const Pack<T, width>*>(tile + row * stride + col);
    T* target = to.data + row * to.stride + col;
    if (to.aligned) {
      GPU_CHECK_ALIGNED(target, sizeof(pack));
      *reinterpret_cast<Pack<T, width>*>(target) = pack;
      continue;
    }
    GPU_UNROLL
    for (int j = 0; j < width; ++j) {
      if (col + j < to.head_dim) target[j] = pack.value[j];
    }
  }
}

}  // namespace subspect::kernels::gpu
