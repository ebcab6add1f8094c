// The fused head on the CPU. Tokens that do not count are left out before anything is multiplied: supervised
// fine-tuning masks most of them.
#include "kernels/linear_cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear_cross_entropy.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

/// Returns log softmax(scores)[target]. If `gradient`, scores becomes gradient_scale times the gradient of
/// -log softmax(scores)[target].
float softmax_row(float* scores, int64_t vocab, int32_t target, bool gradient, float gradient_scale) {
  const FloatTag df;
  Float top = hn::Set(df, scores[0]);
  for_each_vector(vocab / float_lanes() * float_lanes(),
                  [&](int64_t i, auto part) HWY_ATTR { top = hn::Max(top, load(scores + i, part)); });
  float maximum = max_lanes(top);
  for (int64_t i = vocab / float_lanes() * float_lanes(); i < vocab; ++i) maximum = std::max(maximum, scores[i]);
  const float target_score = scores[target];
  const Float shift = hn::Set(df, maximum);
  const Float lowest = hn::Set(df, -110.0F);
  Float total = hn::Zero(df);
  float tail = 0;
  for_each_vector(vocab, [&](int64_t i, auto part) HWY_ATTR {
    const Float e = hn::Exp(df, hn::Max(hn::Sub(load(scores + i, part), shift), lowest));
    store(e, scores + i, part);
    if constexpr (std::is_same_v<decltype(part), Whole>) {
      total = hn::Add(total, e);
    } else {
      for (int64_t j = i; j < vocab; ++j) tail += scores[j];
    }
  });
  const float sum = sum_lanes(total) + tail;
  if (gradient) {
    const Float factor = hn::Set(df, gradient_scale / sum);
    for_each_vector(vocab, [&](int64_t i, auto part)
                               HWY_ATTR { store(hn::Mul(load(scores + i, part), factor), scores + i, part); });
    scores[target] -= gradient_scale;
  }
  return target_score - maximum - std::log(sum);
}

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {
namespace cpu {
namespace {

HWY_EXPORT(softmax_row);

constexpr int64_t default_score_bytes = int64_t{32} << 20;

/// Tokens of a chunk: never fewer than 64 tokens nor more than 1024.
int64_t chunk_tokens(int64_t tokens, int64_t vocab, int64_t score_bytes) {
  const int64_t fitting = (score_bytes > 0 ? score_bytes : default_score_bytes) / 4 / std::max<int64_t>(1, vocab);
  return std::min(tokens, std::clamp<int64_t>(fitting / 64 * 64, 64, 1024));
}

/// The caller's workspace: indices of the tokens that count, then buffers of one chunk.
template <class T>
struct Workspace {
  int64_t chunk = 0;
  int64_t* counted = nullptr;  ///< [tokens]
  float* log_p = nullptr;      ///< [tokens], of counted tokens
  float* scores = nullptr;     ///< [chunk, vocab]
  T* x = nullptr;              ///< [chunk, dim]
  T* dx = nullptr;             ///< [chunk, dim]
  T* scores_t = nullptr;       ///< [chunk, vocab] in T, when T is not float
  int64_t bytes = 0;

  explicit Workspace(const LinearCrossEntropyParams<T>& p) : chunk(chunk_tokens(p.tokens, p.vocab, p.score_bytes)) {
    auto* base = static_cast<std::byte*>(p.workspace);
    const auto take = [&](int64_t size) {
      std::byte* result = base == nullptr ? nullptr : base + bytes;
      bytes += round_up(size, 64);
      return static_cast<void*>(result);
    };
    const int64_t element = sizeof(T);
    counted = static_cast<int64_t*>(take(p.tokens * 8));
    log_p = static_cast<float*>(take(p.tokens * 4));
    scores = static_cast<float*>(take(chunk * p.vocab * 4));
    x = static_cast<T*>(take(chunk * p.dim * element));
    dx = static_cast<T*>(take(chunk * p.dim * element));
    if (element != 4) scores_t = static_cast<T*>(take(chunk * p.vocab * element));
  }
};

/// Scores of a chunk become log probabilities of the targets and gradients of the scores.
template <class T>
void soften(ThreadTeam& team, const LinearCrossEntropyParams<T>& p, const Workspace<T>& w, int64_t first,
            int64_t count) {
  const bool gradients = p.dx != nullptr || p.dweight != nullptr;
  team.for_each_range(count, row_grain(4 * p.vocab), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* scores = w.scores + i * p.vocab;
      const int32_t target = p.targets[w.counted[first + i]];
      w.log_p[first + i] = HWY_DYNAMIC_DISPATCH(softmax_row)(scores, p.vocab, target, gradients, p.gradient_scale);
      if constexpr (!std::is_same_v<T, float>) {
        if (gradients) convert_range(scores, w.scores_t + i * p.vocab, p.vocab);
      }
    }
  });
}

template <class T>
void backward_chunk(ThreadTeam& team, const LinearCrossEntropyParams<T>& p, const Workspace<T>& w, int64_t first,
                    int64_t count) {
  const T* dscores = nullptr;
  if constexpr (std::is_same_v<T, float>) {
    dscores = w.scores;
  } else {
    dscores = w.scores_t;
  }
  if (p.dweight != nullptr) {
    MatrixProduct<T, float> product{dscores, w.x, p.dweight, p.vocab, p.dim, count};
    product.a_transposed = true;
    product.accumulate = true;
    multiply(team, product);
  }
  if (p.dx == nullptr) return;
  multiply(team, MatrixProduct<T, T>{dscores, p.weight, w.dx, count, p.dim, p.vocab});
  team.for_each_range(count, row_grain(p.dim), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(p.dx + w.counted[first + i] * p.dim, w.dx + i * p.dim, static_cast<size_t>(p.dim) * sizeof(T));
    }
  });
}

template <class T>
void run_chunk(ThreadTeam& team, const LinearCrossEntropyParams<T>& p, const Workspace<T>& w, int64_t first,
               int64_t count) {
  team.for_each_range(count, row_grain(p.dim), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(w.x + i * p.dim, p.x + w.counted[first + i] * p.dim, static_cast<size_t>(p.dim) * sizeof(T));
    }
  });
  MatrixProduct<T, float> product{w.x, p.weight, w.scores, count, p.vocab, p.dim};
  product.b_transposed = true;
  multiply(team, product);
  soften(team, p, w, first, count);
  if (p.dx != nullptr || p.dweight != nullptr) backward_chunk(team, p, w, first, count);
}

/// Outputs of the tokens that do not count.
template <class T>
void clear_ignored(ThreadTeam& team, const LinearCrossEntropyParams<T>& p) {
  team.for_each_range(p.tokens, row_grain(p.dim), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      if (p.targets[t] >= 0) continue;
      if (p.dx != nullptr) std::memset(static_cast<void*>(p.dx + t * p.dim), 0, static_cast<size_t>(p.dim) * sizeof(T));
      if (p.log_probabilities != nullptr) p.log_probabilities[t] = 0;
    }
  });
}

}  // namespace
}  // namespace cpu

template <Device D, class T>
int64_t linear_cross_entropy_workspace_bytes(const LinearCrossEntropyParams<T>& p) {
  return cpu::Workspace<T>(p).bytes;
}

template <Device D, class T>
void linear_cross_entropy(Context<D> on, const LinearCrossEntropyParams<T>& p) {
  const cpu::Workspace<T> w(p);
  int64_t counted = 0;
  for (int64_t t = 0; t < p.tokens; ++t) {
    if (p.targets[t] >= 0) w.counted[counted++] = t;
  }
  cpu::clear_ignored(*on.team, p);
  for (int64_t first = 0; first < counted; first += w.chunk) {
    cpu::run_chunk(*on.team, p, w, first, std::min(w.chunk, counted - first));
  }
  double loss = 0;
  for (int64_t i = 0; i < counted; ++i) loss -= static_cast<double>(w.log_p[i]);
  *p.loss_sum = loss;
  if (p.target_count != nullptr) *p.target_count = counted;
  if (p.log_probabilities != nullptr) {
    for (int64_t i = 0; i < counted; ++i) p.log_probabilities[w.counted[i]] = w.log_p[i];
  }
}

template int64_t linear_cross_entropy_workspace_bytes<Cpu>(const LinearCrossEntropyParams<float>&);
template int64_t linear_cross_entropy_workspace_bytes<Cpu>(const LinearCrossEntropyParams<bfloat16>&);
template void linear_cross_entropy(Context<Cpu>, const LinearCrossEntropyParams<float>&);
template void linear_cross_entropy(Context<Cpu>, const LinearCrossEntropyParams<bfloat16>&);

}  // namespace subspect::kernels
#endif
