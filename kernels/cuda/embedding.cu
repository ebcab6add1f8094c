// Embedding on CUDA. The backward pass sorts the tokens by id, ties in token order, then one warp per id and tile of
// columns sums the rows in that order: reproducible without float atomics, and the CPU kernel's bits.
#include "kernels/embedding.h"

#include "kernels/cuda/platform.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/workspaces.h"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;

template <int N, class T>
GPU_KERNEL(threads)
embedding_forward_kernel(EmbeddingForwardParams<T> p, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  if (at.col >= p.dim) return;
  store(load<N>(p.table + p.ids[at.row] * p.dim + at.col), p.y + at.row * p.dim + at.col);
}

template <int N, class T>
void launch_forward(CUstream_st* stream, const EmbeddingForwardParams<T>& p) {
  const uint32_t tiles = row_tiles(p.dim, threads, N);
  launch("embedding_forward", embedding_forward_kernel<N, T>, p.tokens * tiles, threads, 0, stream, p, tiles);
}

// ---- Tokens sorted by id: a radix sort from the lowest digit on (Knuth, The Art of Computer Programming 3, 5.2.5;
// Satish, Harris and Garland, 2009, for its parts on a GPU). Each pass counts the digits of every block of tokens,
// turns the counts into offsets and moves each token behind those with a lower digit and those with its digit before
// it.

constexpr int digit_bits = sort_digit_bits;
constexpr int digits = sort_digits;
constexpr int block_tokens = sort_block_tokens;
constexpr int warps = threads / warp_size;
static_assert(digits == threads, "thread d keeps the books of digit d");

/// What a pass sorts: pairs, or before the first pass (`pairs` is nullptr) the ids of the batch as they stand.
struct SortPass {
  const int32_t* ids;
  const IdPosition* pairs;
  int64_t tokens;
  int shift;  ///< of the digit
};

GPU_DEVICE IdPosition token_at(const SortPass& pass, int64_t i) {
  if (pass.pairs != nullptr) return pass.pairs[i];
  return {pass.ids[i], static_cast<int32_t>(i)};
}

GPU_DEVICE int digit_of(const SortPass& pass, int32_t id) {
  return (id >> pass.shift) & (digits - 1);
}

/// counts[b, d] = tokens of block b with digit d.
template <class Unused = void>
GPU_KERNEL(threads)
count_digits_kernel(SortPass pass, int32_t* counts) {
  GPU_SHARED(int32_t, count, digits);
  count[threadIdx.x] = 0;
  barrier();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * block_tokens;
  const int64_t end = begin + block_tokens < pass.tokens ? begin + block_tokens : pass.tokens;
  for (int64_t i = begin + threadIdx.x; i < end; i += threads) {
    atomic_add(count + digit_of(pass, token_at(pass, i).id), 1);
  }
  barrier();
  counts[static_cast<int64_t>(blockIdx.x) * digits + threadIdx.x] = count[threadIdx.x];
}

/// One block turns each count into the place where the first of its tokens goes.
template <class Unused = void>
GPU_KERNEL(threads)
offsets_kernel(int32_t* counts, int64_t blocks) {
  int32_t total = 0;
  for (int64_t b = 0; b < blocks; ++b) total += counts[b * digits + threadIdx.x];
  int32_t next = block_exclusive_sum(total);
  for (int64_t b = 0; b < blocks; ++b) {
    const int32_t count = counts[b * digits + threadIdx.x];
    counts[b * digits + threadIdx.x] = next;
    next += count;
  }
}

/// The lanes that exist and have this lane's digit.
GPU_DEVICE uint32_t lanes_with(int digit, bool exists) {
  uint32_t lanes = ballot(full_warp, exists);
  for (int bit = 0; bit < digit_bits; ++bit) {
    const bool set = ((digit >> bit) & 1) != 0;
    const uint32_t with_bit = ballot(full_warp, set);
    lanes &= set ? with_bit : ~with_bit;
  }
  return lanes;
}

/// Moves the tokens of each block, 256 at a time: per warp and digit the place of the first, then ranks by lane.
template <class Unused = void>
GPU_KERNEL(threads)
move_kernel(SortPass pass, const int32_t* offsets, IdPosition* sorted) {
  GPU_SHARED(int32_t, place, warps * digits);
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  int32_t* of_warp = place + static_cast<int>(threadIdx.x) / warp_size * digits;
  int32_t next = offsets[static_cast<int64_t>(blockIdx.x) * digits + threadIdx.x];  // of digit threadIdx.x
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * block_tokens;
  const int64_t end = begin + block_tokens < pass.tokens ? begin + block_tokens : pass.tokens;
  for (int64_t round = begin; round < end; round += threads) {
    for (int warp = 0; warp < warps; ++warp) place[warp * digits + threadIdx.x] = 0;
    barrier();
    const bool exists = round + threadIdx.x < end;
    const IdPosition token = exists ? token_at(pass, round + threadIdx.x) : IdPosition{0, 0};
    const int digit = digit_of(pass, token.id);
    const uint32_t peers = lanes_with(digit, exists);
    const int rank = count_bits(peers & ((1U << lane) - 1));
    if (exists && rank == 0) of_warp[digit] = count_bits(peers);
    barrier();
    for (int warp = 0; warp < warps; ++warp) {
      const int32_t count = place[warp * digits + threadIdx.x];
      place[warp * digits + threadIdx.x] = next;
      next += count;
    }
    barrier();
    if (exists) sorted[of_warp[digit] + rank] = token;
    barrier();  // before the next round clears `place`
  }
}

// ---- Sums over the tokens of each id.

constexpr int columns_at_once = 4;  ///< of one lane, where rows are aligned
constexpr int rows_at_once = 4;     ///< loaded together, to have more than one load under way

/// Adds the rows of the tokens at `begin` and after it that have this id to its row of the table, in N columns.
template <int N, class T>
GPU_DEVICE void sum_rows(const EmbeddingBackwardParams<T>& p, const IdPosition* sorted, int64_t begin, int32_t id,
                         int64_t col) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const bool inside = col < p.dim;
  float* to = p.dtable + id * p.dim + col;
  Floats<N> sum = inside ? load<N>(to) : Floats<N>{};
  int rows = warp_size;
  for (int64_t at = begin; rows == warp_size; at += warp_size) {
    const IdPosition token = at + lane < p.tokens ? sorted[at + lane] : IdPosition{-1, 0};
    rows = count_bits(ballot(full_warp, token.id == id));  // the first lanes, since they are sorted
    for (int first = 0; first < rows; first += rows_at_once) {
      Floats<N> row[rows_at_once];
      GPU_UNROLL
      for (int k = 0; k < rows_at_once; ++k) {
        const int64_t position = shuffle(full_warp, token.position, (first + k) % warp_size);
        const bool wanted = inside && first + k < rows;
        row[k] = wanted ? load<N>(p.dy + position * p.dim + col) : Floats<N>{};
      }
      GPU_UNROLL
      for (int k = 0; k < rows_at_once; ++k) {
        GPU_UNROLL
        for (int i = 0; i < N; ++i) sum.value[i] = first + k < rows ? sum.value[i] + row[k].value[i] : sum.value[i];
      }
    }
  }
  if (inside) store(sum, to);
}

/// Blocks are pairs (256 sorted tokens, tile of columns). A warp takes the ids that begin among its 32 tokens.
template <int N, class T>
GPU_KERNEL(threads)
sum_ids_kernel(EmbeddingBackwardParams<T> p, const IdPosition* sorted, uint32_t tiles) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int64_t index = static_cast<int64_t>(blockIdx.x / tiles) * threads + threadIdx.x;
  const int64_t col = (static_cast<int64_t>(blockIdx.x % tiles) * warp_size + lane) * N;
  const bool exists = index < p.tokens;
  const int32_t id = exists ? sorted[index].id : -1;
  const bool begins = exists && (index == 0 || sorted[index - 1].id != id);
  for (uint32_t left = ballot(full_warp, begins); left != 0; left &= left - 1) {
    const int first = lowest_bit(left);
    sum_rows<N>(p, sorted, index - lane + first, shuffle(full_warp, id, first), col);
  }
}

template <int N, class T>
void launch_sum(CUstream_st* stream, const EmbeddingBackwardParams<T>& p, const IdPosition* sorted) {
  const auto tiles = static_cast<uint32_t>(ceil_div(p.dim, warp_size * N));
  launch("embedding_backward_sum", sum_ids_kernel<N, T>, ceil_div(p.tokens, threads) * tiles, threads, 0, stream, p,
         sorted, tiles);
}

/// Digits in which ids below `vocab` can differ.
int sort_passes(int64_t vocab) {
  int passes = 1;
  while ((vocab - 1) >> (passes * digit_bits) != 0) ++passes;
  return passes;
}

/// Queues the sort; `pairs` has room for two times the tokens, `counts` for the digits of each block.
template <class T>
const IdPosition* sort_tokens(CUstream_st* stream, const EmbeddingBackwardParams<T>& p, IdPosition* pairs,
                              int32_t* counts) {
  const int64_t blocks = ceil_div(p.tokens, block_tokens);
  const IdPosition* from = nullptr;
  for (int pass = 0; pass < sort_passes(p.vocab); ++pass) {
    const SortPass sort{p.ids, from, p.tokens, pass * digit_bits};
    IdPosition* to = pairs + pass % 2 * p.tokens;
    launch("embedding_backward_count", count_digits_kernel<>, blocks, threads, 0, stream, sort, counts);
    launch("embedding_backward_offsets", offsets_kernel<>, 1, threads, 0, stream, counts, blocks);
    launch("embedding_backward_move", move_kernel<>, blocks, threads, 0, stream, sort, counts, to);
    from = to;
  }
  return from;
}

}  // namespace

template <Device D, class T>
void embedding_forward(Context<D> on, const EmbeddingForwardParams<T>& p) {
  if (p.tokens == 0 || p.dim == 0) return;
  if (aligned_rows(p.dim, widest<T>, p.table, p.y)) {
    launch_forward<widest<T>>(on.stream, p);
  } else {
    launch_forward<1>(on.stream, p);
  }
}

template <Device D, class T>
void embedding_backward(Context<D> on, const EmbeddingBackwardParams<T>& p) {
  if (p.tokens == 0 || p.dim == 0) return;
  auto* pairs = static_cast<IdPosition*>(p.workspace);
  const IdPosition* sorted = sort_tokens(on.stream, p, pairs, reinterpret_cast<int32_t*>(pairs + 2 * p.tokens));
  if (aligned_rows(p.dim, columns_at_once, p.dy, p.dtable)) {
    launch_sum<columns_at_once>(on.stream, p, sorted);
  } else {
    launch_sum<1>(on.stream, p, sorted);
  }
}

template void embedding_forward(Context<Cuda>, const EmbeddingForwardParams<float>&);
template void embedding_forward(Context<Cuda>, const EmbeddingForwardParams<bfloat16>&);
template void embedding_backward(Context<Cuda>, const EmbeddingBackwardParams<float>&);
template void embedding_backward(Context<Cuda>, const EmbeddingBackwardParams<bfloat16>&);

}  // namespace subspect::kernels
