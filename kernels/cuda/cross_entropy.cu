// Softmax, loss and gradient of rows of scores: one block per row. The first pass keeps in each thread a maximum and
// the sum of the exponentials below it ("Online normalizer calculation for softmax", Milakov and Gimelshein, 2018), so
// the scores are read once before the gradient and once for it.
#include "kernels/cuda/cross_entropy.h"

#include "kernels/cuda/reduce.cuh"

namespace subspect::kernels::gpu {
namespace {

constexpr int threads = 512;
constexpr int sum_threads = 1024;
constexpr int width = 4;  ///< scores that one load takes
constexpr int loads = 4;  ///< in flight for each thread
constexpr int64_t tile = static_cast<int64_t>(threads) * width * loads;
constexpr float lowest = -3.40282347e38F;  ///< below every score, and finite: no difference with it is NaN

/// This thread's scores of a tile, `lowest` beyond the row's end.
struct TileScores {
  Floats<width> part[loads];
};

/// Where load `i` of this thread begins.
GPU_DEVICE int64_t column(int64_t first, int i) {
  return first + (static_cast<int64_t>(i) * threads + threadIdx.x) * width;
}

GPU_DEVICE TileScores load_tile(const float* scores, int64_t first, int64_t vocab) {
  TileScores tile_scores;
  GPU_UNROLL
  for (int i = 0; i < loads; ++i) {
    const int64_t at = column(first, i);
    Floats<width> part{};
    if (at < vocab) part = load<width>(scores + at);  // rows are padded to whole loads
    GPU_UNROLL
    for (int j = 0; j < width; ++j) {
      tile_scores.part[i].value[j] = at + j < vocab ? part.value[j] : lowest;
    }
  }
  return tile_scores;
}

/// What the softmax of a row needs.
struct Normalizer {
  float maximum;
  float sum;  ///< of exp(score - maximum)
};

/// Of the scores that this thread sees. What it adds for padding while it has seen nothing else is scaled to 0 later.
GPU_DEVICE Normalizer scan_row(const float* scores, int64_t vocab) {
  Normalizer seen{lowest, 0};
  for (int64_t first = 0; first < vocab; first += tile) {
    const TileScores now = load_tile(scores, first, vocab);
    float maximum = seen.maximum;
    GPU_UNROLL
    for (int i = 0; i < loads * width; ++i) {
      const float score = now.part[i / width].value[i % width];
      maximum = score > maximum ? score : maximum;
    }
    float sum = seen.sum * fast_exp(seen.maximum - maximum);
    GPU_UNROLL
    for (int i = 0; i < loads * width; ++i) sum += fast_exp(now.part[i / width].value[i % width] - maximum);
    seen = {maximum, sum};
  }
  return seen;
}

/// Of the row, in every thread with the same bits.
GPU_DEVICE Normalizer block_normalizer(Normalizer seen) {
  const float maximum = block_max(seen.maximum);
  return {maximum, block_sum(seen.sum * fast_exp(seen.maximum - maximum))};
}

/// Writes the gradient over the scores. Of type float, each thread overwrites what it read. Narrower elements of a tile
/// end up below its middle, where other threads read: the barrier keeps them behind.
template <class T>
GPU_DEVICE void write_gradient(float* scores, int64_t vocab, int32_t target, Normalizer row, float scale) {
  T* gradient = reinterpret_cast<T*>(scores);
  const float factor = scale / row.sum;
  for (int64_t first = 0; first < vocab; first += tile) {
    TileScores now = load_tile(scores, first, vocab);
    if constexpr (sizeof(T) < sizeof(float)) barrier();
    GPU_UNROLL
    for (int i = 0; i < loads; ++i) {
      const int64_t at = column(first, i);
      Floats<width>& part = now.part[i];
      GPU_UNROLL
      for (int j = 0; j < width; ++j) {
        part.value[j] = fast_exp(part.value[j] - row.maximum) * factor - (at + j == target ? scale : 0.0F);
      }
      if (at < vocab) store(part, gradient + at);
    }
  }
}

template <class T>
GPU_DEVICE void clear_gradient(float* scores, int64_t vocab) {
  for (int64_t at = static_cast<int64_t>(threadIdx.x) * width; at < vocab; at += threads * width) {
    store(Floats<width>{}, reinterpret_cast<T*>(scores) + at);
  }
}

template <class T, bool Gradient>
GPU_KERNEL(threads)
cross_entropy_kernel(CrossEntropyRows p) {
  const int64_t row = blockIdx.x;
  float* scores = p.scores + row * p.stride;
  const int32_t target = p.targets[row];
  if (target < 0) {
    if (threadIdx.x == 0) p.log_probabilities[row] = 0;
    if constexpr (Gradient) clear_gradient<T>(scores, p.vocab);
    return;
  }
  const float target_score = threadIdx.x == 0 ? scores[target] : 0.0F;  // before it is overwritten
  const Normalizer whole = block_normalizer(scan_row(scores, p.vocab));
  if (threadIdx.x == 0) p.log_probabilities[row] = target_score - whole.maximum - natural_log(whole.sum);
  if constexpr (Gradient) write_gradient<T>(scores, p.vocab, target, whole, p.gradient_scale);
}

template <class Unused = void>
GPU_KERNEL(sum_threads)
sum_losses_kernel(LossSum p) {
  double loss = 0;
  int64_t count = 0;
  for (int64_t i = threadIdx.x; i < p.tokens; i += sum_threads) {
    if (p.targets[i] < 0) continue;
    loss -= static_cast<double>(p.log_probabilities[i]);
    ++count;
  }
  loss = block_sum(loss);
  count = block_sum(count);
  if (threadIdx.x != 0) return;
  *p.loss_sum = loss;
  if (p.target_count != nullptr) *p.target_count = count;
}

}  // namespace

void cross_entropy_forward(CUstream_st* stream, const CrossEntropyRows& p) {
  if (p.rows == 0) return;
  launch("cross_entropy_forward", cross_entropy_kernel<float, false>, p.rows, threads, 0, stream, p);
}

template <class T>
void cross_entropy_backward(CUstream_st* stream, const CrossEntropyRows& p) {
  if (p.rows == 0) return;
  launch("cross_entropy_backward", cross_entropy_kernel<T, true>, p.rows, threads, 0, stream, p);
}

void sum_losses(CUstream_st* stream, const LossSum& p) {
  launch("sum_losses", sum_losses_kernel<>, 1, sum_threads, 0, stream, p);
}

template void cross_entropy_backward<float>(CUstream_st*, const CrossEntropyRows&);
template void cross_entropy_backward<bfloat16>(CUstream_st*, const CrossEntropyRows&);

}  // namespace subspect::kernels::gpu
