// How the fused head on CUDA cuts its work into chunks, and the memory that a chunk needs. Plain C++: memory is also
// planned where there is no GPU.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/cross_entropy.h"
#include "kernels/linear_cross_entropy.h"

namespace subspect::kernels::gpu {

/// Every chunk reads and writes the whole gradient of the weight, 8 bytes for each of its elements, and multiplies each
/// with as many tokens as the chunk has: below a thousand tokens memory would be slower than arithmetic.
inline constexpr int64_t default_score_bytes = int64_t{1} << 30;
inline constexpr int64_t score_size = sizeof(float);
inline constexpr int64_t chunk_multiple = 128;  ///< rows of a tile in cuBLASLt's larger kernels

constexpr int64_t round_up_to(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Chunks of equal size, so that there are few shapes to choose algorithms for.
inline int64_t chunk_tokens(int64_t tokens, int64_t row_bytes, int64_t score_bytes) {
  if (tokens == 0) return 0;
  const int64_t fitting = score_bytes / row_bytes / chunk_multiple * chunk_multiple;
  const int64_t most = std::max(fitting, chunk_multiple);
  const int64_t chunks = (tokens + most - 1) / most;
  return std::min(tokens, round_up_to((tokens + chunks - 1) / chunks, chunk_multiple));
}

/// The caller's workspace, and what follows from the sizes.
template <class T>
struct HeadWorkspace {
  bool gathered = false;         ///< only the tokens that count are multiplied
  int64_t multiplied = 0;        ///< tokens
  int64_t stride = 0;            ///< scores from one row to the next
  int64_t chunk = 0;             ///< tokens
  float* scores = nullptr;       ///< [chunk, stride]
  float* log_p = nullptr;        ///< [tokens]
  int32_t* indices = nullptr;    ///< [multiplied]; this and what follows only when gathered
  T* x = nullptr;                ///< [chunk, dim]
  T* dx = nullptr;               ///< [chunk, dim]
  int32_t* targets = nullptr;    ///< [chunk]
  float* chunk_log_p = nullptr;  ///< [chunk]
  int64_t bytes = 0;

  explicit HeadWorkspace(const LinearCrossEntropyParams<T>& p)
      : gathered(p.counted_tokens >= 0 && p.counted_tokens < p.tokens),
        multiplied(gathered ? p.counted_tokens : p.tokens),
        stride(round_up_to(p.vocab, score_row_multiple)) {
    chunk = chunk_tokens(multiplied, stride * score_size, p.score_bytes > 0 ? p.score_bytes : default_score_bytes);
    take(p, scores, chunk * stride);
    take(p, log_p, p.tokens);
    if (p.log_probabilities != nullptr) log_p = p.log_probabilities;
    if (!gathered) return;
    take(p, indices, multiplied);
    take(p, x, chunk * p.dim);
    take(p, dx, chunk * p.dim);
    take(p, targets, chunk);
    take(p, chunk_log_p, chunk);
  }

 private:
  template <class Element>
  void take(const LinearCrossEntropyParams<T>& p, Element*& buffer, int64_t count) {
    if (p.workspace != nullptr) buffer = reinterpret_cast<Element*>(static_cast<std::byte*>(p.workspace) + bytes);
    bytes += round_up_to(count * static_cast<int64_t>(sizeof(Element)), 256);
  }
};

}  // namespace subspect::kernels::gpu
