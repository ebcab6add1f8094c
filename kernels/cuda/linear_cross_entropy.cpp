// The fused head on CUDA: for each chunk of tokens the scores by cuBLASLt, loss and gradient in their place
// (cross_entropy.cu), and two products back. How many tokens count is known on the GPU only, and asking would stall the
// stream: so tokens that do not count are multiplied too, with gradients of zero.
#include "kernels/linear_cross_entropy.h"

#include <algorithm>
#include <cstddef>

#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/libraries.h"

namespace subspect::kernels {
namespace {

/// Every chunk reads and writes the whole gradient of the weight, 8 bytes for each of its elements, and multiplies each
/// with as many tokens as the chunk has: below a thousand tokens memory would be slower than arithmetic.
constexpr int64_t default_score_bytes = int64_t{1} << 30;
constexpr int64_t score_size = sizeof(float);
constexpr int64_t chunk_multiple = 128;  ///< rows of a tile in cuBLASLt's larger kernels

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

int64_t round_up(int64_t value, int64_t multiple) {
  return ceil_div(value, multiple) * multiple;
}

/// Chunks of equal size, so that there are few shapes to choose algorithms for.
int64_t chunk_tokens(int64_t tokens, int64_t row_bytes, int64_t score_bytes) {
  if (tokens == 0) return 0;
  const int64_t fitting = score_bytes / row_bytes / chunk_multiple * chunk_multiple;
  const int64_t chunks = ceil_div(tokens, std::max(fitting, chunk_multiple));
  return std::min(tokens, round_up(ceil_div(tokens, chunks), chunk_multiple));
}

/// The caller's workspace.
template <class T>
struct Workspace {
  int64_t stride = 0;       ///< scores from one row to the next
  int64_t chunk = 0;        ///< tokens
  float* log_p = nullptr;   ///< [tokens]
  float* scores = nullptr;  ///< [chunk, stride]
  int64_t bytes = 0;

  explicit Workspace(const LinearCrossEntropyParams<T>& p) : stride(round_up(p.vocab, gpu::score_row_multiple)) {
    const int64_t row_bytes = stride * score_size;
    chunk = chunk_tokens(p.tokens, row_bytes, p.score_bytes > 0 ? p.score_bytes : default_score_bytes);
    auto* base = static_cast<std::byte*>(p.workspace);
    const auto take = [&](int64_t size) {
      std::byte* result = base == nullptr ? nullptr : base + bytes;
      bytes += round_up(size, 256);
      return reinterpret_cast<float*>(result);
    };
    scores = take(chunk * row_bytes);
    log_p = take(p.tokens * score_size);
    if (p.log_probabilities != nullptr) log_p = p.log_probabilities;
  }
};

/// Both products of a chunk with the gradient of its scores, which lies where the scores lay.
template <class T>
void backward_chunk(Context<Cuda> on, const LinearCrossEntropyParams<T>& p, const Workspace<T>& w, int64_t first,
                    int64_t count) {
  gpu::Libraries& libraries = gpu::libraries_of(on, "linear_cross_entropy");
  const T* dscores = reinterpret_cast<const T*>(w.scores);
  const int64_t stride = w.stride * score_size / static_cast<int64_t>(sizeof(T));
  if (p.dweight != nullptr) {
    gpu::MatrixProduct<T, float> product{dscores, p.x + first * p.dim, p.dweight, p.vocab, p.dim, count};
    product.a_transposed = true;
    product.a_stride = stride;
    product.accumulate = true;
    libraries.multiply(on.stream, product);
  }
  if (p.dx == nullptr) return;
  gpu::MatrixProduct<T, T> product{dscores, p.weight, p.dx + first * p.dim, count, p.dim, p.vocab};
  product.a_stride = stride;
  libraries.multiply(on.stream, product);
}

template <class T>
void run_chunk(Context<Cuda> on, const LinearCrossEntropyParams<T>& p, const Workspace<T>& w, int64_t first,
               int64_t count) {
  gpu::MatrixProduct<T, float> product{p.x + first * p.dim, p.weight, w.scores, count, p.vocab, p.dim};
  product.b_transposed = true;
  product.c_stride = w.stride;
  gpu::libraries_of(on, "linear_cross_entropy").multiply(on.stream, product);
  const gpu::CrossEntropyRows rows{w.scores, p.targets + first, w.log_p + first, count,
                                   p.vocab,  w.stride,          p.gradient_scale};
  if (p.dx == nullptr && p.dweight == nullptr) {
    gpu::cross_entropy_forward(on.stream, rows);
    return;
  }
  gpu::cross_entropy_backward<T>(on.stream, rows);
  backward_chunk(on, p, w, first, count);
}

}  // namespace

template <Device D, class T>
int64_t linear_cross_entropy_workspace_bytes(const LinearCrossEntropyParams<T>& p) {
  return Workspace<T>(p).bytes;
}

template <Device D, class T>
void linear_cross_entropy(Context<D> on, const LinearCrossEntropyParams<T>& p) {
  const Workspace<T> w(p);
  for (int64_t first = 0; first < p.tokens; first += w.chunk) {
    run_chunk(on, p, w, first, std::min(w.chunk, p.tokens - first));
  }
  gpu::sum_losses(on.stream, {w.log_p, p.targets, p.loss_sum, p.target_count, p.tokens});
}

template int64_t linear_cross_entropy_workspace_bytes<Cuda>(const LinearCrossEntropyParams<float>&);
template int64_t linear_cross_entropy_workspace_bytes<Cuda>(const LinearCrossEntropyParams<bfloat16>&);
template void linear_cross_entropy(Context<Cuda>, const LinearCrossEntropyParams<float>&);
template void linear_cross_entropy(Context<Cuda>, const LinearCrossEntropyParams<bfloat16>&);

}  // namespace subspect::kernels
