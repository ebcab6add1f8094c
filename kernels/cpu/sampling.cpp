// Sampling on the CPU, one row per chunk. Scores are sorted only as far as the draw needs.
#include "kernels/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cpu/partition.h"
#include "kernels/cpu/scratch.h"
#include "kernels/thread_team.h"

namespace subspect::kernels {
namespace {

constexpr float lowest = -std::numeric_limits<float>::infinity();

/// The order of scores: NaN counts as the lowest.
float comparable(float score) {
  return std::isnan(score) ? lowest : score;
}

int32_t argmax_row(const float* scores, int64_t vocab) {
  float best = comparable(scores[0]);
  for (int64_t i = 1; i < vocab; ++i) best = scores[i] > best ? scores[i] : best;
  for (int64_t i = 0; i < vocab; ++i) {
    if (scores[i] == best) return static_cast<int32_t>(i);
  }
  return 0;  // nothing but NaN
}

/// Ids of one row from the most likely on, sorted lazily: a growing prefix of the order is made final.
class Ranking {
 public:
  Ranking(const float* scores, int32_t* ids, int64_t count) : scores_(scores), ids_(ids), count_(count) {
    std::iota(ids, ids + count, 0);
  }

  int32_t at(int64_t rank) {
    while (rank >= sorted_) extend();
    return ids_[rank];
  }

 private:
  void extend() {
    const auto before = [this](int32_t a, int32_t b) {
      const float x = comparable(scores_[a]);
      const float y = comparable(scores_[b]);
      return x != y ? x > y : a < b;
    };
    const int64_t target = std::min(count_, std::max<int64_t>(64, 4 * sorted_));
    if (target < count_) std::nth_element(ids_ + sorted_, ids_ + target, ids_ + count_, before);
    std::sort(ids_ + sorted_, ids_ + target, before);
    sorted_ = target;
  }

  const float* scores_;
  int32_t* ids_;
  int64_t count_;
  int64_t sorted_ = 0;
};

int32_t sample_row(const SampleParams& p, int64_t row) {
  const float* scores = p.logits + row * p.vocab;
  const int32_t best = argmax_row(scores, p.vocab);
  if (!std::isfinite(scores[best])) return best;
  cpu::Scratch scratch;
  Ranking ranking(scores, scratch.allocate<int32_t>(p.vocab), p.vocab);
  const double top = scores[best];
  const auto weight = [&](int32_t id) {
    return std::exp((static_cast<double>(comparable(scores[id])) - top) / static_cast<double>(p.temperature));
  };
  int64_t kept = p.top_k > 0 ? std::min(p.top_k, p.vocab) : p.vocab;
  double total = 0;
  if (kept < p.vocab) {
    for (int64_t i = 0; i < kept; ++i) total += weight(ranking.at(i));
  } else {
    for (int64_t i = 0; i < p.vocab; ++i) total += weight(static_cast<int32_t>(i));
  }
  if (p.top_p < 1.0F) {  // a token stays while those before it have less than top_p
    const double wanted = static_cast<double>(p.top_p) * total;
    double sum = 0;
    int64_t count = 0;
    while (count < kept && (count == 0 || sum < wanted)) sum += weight(ranking.at(count++));
    kept = count;
    total = sum;
  }
  const double target = static_cast<double>(p.uniform[row]) * total;
  double sum = 0;
  for (int64_t i = 0; i < kept; ++i) {
    const double w = weight(ranking.at(i));
    sum += w;
    if (sum > target && w > 0) return ranking.at(i);
  }
  return best;  // only by rounding of the last sums
}

}  // namespace

template <Device D>
void repetition_penalty(Context<D> on, const RepetitionPenaltyParams& p) {
  on.team->for_each_chunk(p.rows, [&](int64_t row) {
    float* scores = p.logits + row * p.vocab;
    const int64_t count = p.offsets[row + 1] - p.offsets[row];
    cpu::Scratch scratch;
    auto* ids = scratch.allocate<int32_t>(count);
    std::copy_n(p.tokens + p.offsets[row], count, ids);
    std::sort(ids, ids + count);
    const int32_t* last = std::unique(ids, ids + count);
    for (const int32_t* id = ids; id != last; ++id) {
      scores[*id] = scores[*id] < 0 ? scores[*id] * p.penalty : scores[*id] / p.penalty;
    }
  });
}

template <Device D>
void argmax(Context<D> on, const float* logits, int32_t* ids, int64_t rows, int64_t vocab) {
  on.team->for_each_chunk(rows, [&](int64_t row) { ids[row] = argmax_row(logits + row * vocab, vocab); });
}

template <Device D>
int64_t sample_workspace_bytes(const SampleParams&) {
  return 0;  // the CPU's threads have scratch memory
}

template <Device D>
void sample(Context<D> on, const SampleParams& p) {
  on.team->for_each_chunk(p.rows, [&](int64_t row) { p.ids[row] = sample_row(p, row); });
}

template void repetition_penalty(Context<Cpu>, const RepetitionPenaltyParams&);
template void argmax(Context<Cpu>, const float*, int32_t*, int64_t, int64_t);
template int64_t sample_workspace_bytes<Cpu>(const SampleParams&);
template void sample(Context<Cpu>, const SampleParams&);

}  // namespace subspect::kernels
