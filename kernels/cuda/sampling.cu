// Choosing tokens on CUDA, one block per row of scores; nothing goes to the host.
//
// Sampling never sorts. Top-k, top-p and the draw ask the same question: from the most likely token on, which is the
// first at which a running sum (of tokens, or of probability) reaches a number? A radix search answers it: histograms
// of 11 bits of the tokens' ranks at a time, in shared memory. Probabilities are integers there (exp(...) times a power
// of two so large that their sum just fits 64 bits), so sums are exact in any order and atomics keep them reproducible.
#include "kernels/sampling.h"

#include <cstdio>
#include <stdexcept>

#include "kernels/cuda/platform.h"
#include "kernels/cuda/reduce.cuh"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 512;
constexpr int penalty_threads = 256;
constexpr int penalty_words = 8192;
constexpr int64_t penalty_ids = int64_t{32} * penalty_words;  ///< of the vocabulary that one block takes
constexpr int digit_bits = 11;
constexpr int bins = 1 << digit_bits;
constexpr int thread_bins = bins / threads;
constexpr int64_t most_ids = int64_t{1} << (2 * digit_bits);
constexpr int list_size = 1024;  ///< tokens that may be kept in shared memory

// ---- repetition penalty

/// Block (row, tile of the vocabulary): of the threads that meet an id, the one that sets its bit first changes the
/// score; which one that is does not matter.
template <class Unused = void>
GPU_KERNEL(penalty_threads)
repetition_penalty_kernel(RepetitionPenaltyParams p, uint32_t tiles) {
  GPU_SHARED(uint32_t, seen, penalty_words);
  for (int i = static_cast<int>(threadIdx.x); i < penalty_words; i += penalty_threads) seen[i] = 0;
  barrier();
  const int64_t row = blockIdx.x / tiles;
  const int64_t first_id = blockIdx.x % tiles * penalty_ids;
  for (int64_t i = p.offsets[row] + threadIdx.x; i < p.offsets[row + 1]; i += penalty_threads) {
    const int64_t id = p.tokens[i] - first_id;
    if (id < 0 || id >= penalty_ids) continue;
    const uint32_t bit = 1U << (id % 32);
    if ((atomic_or(&seen[id / 32], bit) & bit) != 0) continue;
    float& score = p.logits[row * p.vocab + p.tokens[i]];
    score = score < 0 ? score * p.penalty : score / p.penalty;
  }
}

// ---- the order of tokens

/// Unsigned numbers in the order of scores: equal scores (zeros of both signs) have one number, NaN the lowest.
GPU_DEVICE uint32_t order_of(float score) {
  if (score != score) return 0;
  const uint32_t bits = score == 0 ? 0 : bits_of(score);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

GPU_DEVICE float score_of(uint32_t order) {
  return float_of((order & 0x80000000U) != 0 ? order & 0x7fffffffU : ~order);
}

/// Ranks order tokens by score, equal scores by id: the most likely token has the greatest rank.
struct Ranks {
  int id_bits;

  GPU_DEVICE uint64_t of(float score, uint32_t id) const {
    return static_cast<uint64_t>(order_of(score)) << id_bits | (last_id() - id);
  }
  GPU_DEVICE uint32_t last_id() const { return (1U << id_bits) - 1; }
  GPU_DEVICE uint32_t id(uint64_t rank) const { return last_id() - (static_cast<uint32_t>(rank) & last_id()); }
  GPU_DEVICE float score(uint64_t rank) const { return score_of(static_cast<uint32_t>(rank >> id_bits)); }
};

/// A whole row, or a list of some of its tokens.
struct Tokens {
  const float* scores;
  const uint32_t* ids;  ///< nullptr for a row, where the column is the id
  uint32_t count;
};

/// Calls `visit(score, id)` for this thread's tokens. Loads run ahead of the visits.
template <int N, class Visit>
GPU_DEVICE void for_each_token(const Tokens& tokens, const Visit& visit) {
  if (tokens.ids != nullptr) {
    for (uint32_t i = threadIdx.x; i < tokens.count; i += threads) visit(tokens.scores[i], tokens.ids[i]);
    return;
  }
  constexpr int ahead = 4;
  for (uint32_t base = threadIdx.x * N; base < tokens.count; base += threads * N * ahead) {
    Floats<N> packs[ahead];
    GPU_UNROLL
    for (int k = 0; k < ahead; ++k) {
      const uint32_t at = base + k * threads * N;
      if (at < tokens.count) packs[k] = load<N>(tokens.scores + at);
    }
    GPU_UNROLL
    for (int k = 0; k < ahead; ++k) {
      const uint32_t at = base + k * threads * N;
      if (at >= tokens.count) break;
      GPU_UNROLL
      for (int j = 0; j < N; ++j) visit(packs[k].value[j], at + j);
    }
  }
}

template <int N>
GPU_DEVICE uint64_t greatest_rank(const Tokens& tokens, const Ranks& ranks) {
  uint64_t greatest = 0;
  for_each_token<N>(tokens, [&](float score, uint32_t id) {
    const uint64_t rank = ranks.of(score, id);
    greatest = rank > greatest ? rank : greatest;
  });
  return block_max(greatest);
}

template <int N>
GPU_KERNEL(threads)
argmax_kernel(const float* logits, int32_t* ids, int64_t vocab) {
  const Ranks ranks{2 * digit_bits};
  const Tokens row{logits + blockIdx.x * vocab, nullptr, static_cast<uint32_t>(vocab)};
  const uint32_t id = ranks.id(greatest_rank<N>(row, ranks));
  if (threadIdx.x == 0) ids[blockIdx.x] = static_cast<int32_t>(id);
}

// ---- sampling

/// Probabilities as integers, relative to the greatest: `scale` stands for 1.
struct Weights {
  float top;
  float inverse_temperature;
  float scale;

  GPU_DEVICE uint64_t of(float score) const {
    const float exponent = (score - top) * inverse_temperature;
    return exponent > -64.0F ? static_cast<uint64_t>(exponential(exponent) * scale) : 0;  // else NaN or nothing
  }
};

struct Histogram {
  uint32_t* low;   ///< sums of weights, or numbers of tokens: lower halves
  uint32_t* high;  ///< upper halves
  uint32_t* ids;   ///< sums of ids

  GPU_DEVICE void clear(uint32_t bin) const {
    low[bin] = 0;
    high[bin] = 0;
    ids[bin] = 0;
  }
  GPU_DEVICE void add(uint32_t bin, uint64_t amount, uint32_t id) const {
    const auto lower = static_cast<uint32_t>(amount);
    const uint32_t carry = atomic_add(&low[bin], lower) + lower < lower ? 1 : 0;
    const uint32_t upper = static_cast<uint32_t>(amount >> 32) + carry;
    if (upper != 0) atomic_add(&high[bin], upper);
    atomic_add(&ids[bin], id);
  }
  GPU_DEVICE uint64_t sum(uint32_t bin) const { return static_cast<uint64_t>(high[bin]) << 32 | low[bin]; }
};

enum class Stage : int { top_k, top_p, draw };  ///< in this order

/// The sum to be reached, when that of all kept tokens is `total`.
GPU_DEVICE uint64_t needed_sum(Stage stage, const SampleParams& p, int64_t row, uint64_t total) {
  if (stage == Stage::top_k) return static_cast<uint64_t>(p.top_k);
  uint64_t needed = 0;
  if (stage == Stage::top_p) {  // at least top_p of the total, and at least one token
    const double wanted = static_cast<double>(p.top_p) * static_cast<double>(total);
    needed = static_cast<uint64_t>(wanted);
    if (static_cast<double>(needed) < wanted || needed == 0) ++needed;
  } else {  // more than this share of the total
    needed = static_cast<uint64_t>(static_cast<double>(p.uniform[row]) * static_cast<double>(total)) + 1;
  }
  return needed < total ? needed : total;
}

/// The bin in which the running sum reaches what is needed.
struct Found {
  uint32_t bin;
  uint32_t ids;     ///< sum of the bin's ids
  uint64_t before;  ///< running sum before the bin
  uint64_t sum;     ///< of the bin
};

/// What the threads of a search share.
struct Board {
  uint64_t total;  ///< sum of all bins of the first digit
  Found found;
};

/// Writes down the bin if it is one of this thread's, which hold the running sum from `begin` on. Bins are looked
/// through from the last to the first.
GPU_DEVICE void find_bin(const Histogram& histogram, uint64_t begin, uint64_t needed, Board* board) {
  const uint32_t last = bins - 1 - thread_bins * threadIdx.x;
  for (uint32_t i = 0; i < thread_bins; ++i) {
    const uint64_t sum = histogram.sum(last - i);
    if (begin < needed && needed <= begin + sum) board->found = {last - i, histogram.ids[last - i], begin, sum};
    begin += sum;
  }
}

GPU_DEVICE uint64_t sum_of_bins(const Histogram& histogram) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < thread_bins; ++i) sum += histogram.sum(bins - 1 - thread_bins * threadIdx.x - i);
  return sum;
}

/// What one search works on.
struct Search {
  Stage stage;
  Tokens tokens;
  uint64_t kept;  ///< least rank that counts
  Ranks ranks;
  Weights weights;

  GPU_DEVICE uint64_t amount(float score) const { return stage == Stage::top_k ? 1 : weights.of(score); }
};

/// Counts the kept tokens whose ranks begin with `prefix` by the digit that follows, at `shift`.
template <int N>
GPU_DEVICE void count_digit(const Search& search, uint64_t prefix, int shift, int width, const Histogram& histogram) {
  for (uint32_t bin = threadIdx.x; bin < bins; bin += threads) histogram.clear(bin);
  barrier();
  for_each_token<N>(search.tokens, [&](float score, uint32_t id) {
    const uint64_t rank = search.ranks.of(score, id);
    if (rank < search.kept || rank >> (shift + width) != prefix) return;
    const uint64_t amount = search.amount(score);
    if (amount != 0) histogram.add(static_cast<uint32_t>(rank >> shift) & ((1U << width) - 1), amount, id);
  });
  barrier();
}

/// The rank of the first kept token, from the most likely on, at which the running sum reaches what the stage needs:
/// the bits of its score, 11, 11 and 10 at a time, then, where several tokens have that score, the bits of its id.
template <int N>
GPU_DEVICE uint64_t find_crossing(const SampleParams& p, const Search& search, const Histogram& histogram,
                                  Board* board) {
  const int id_bits = search.ranks.id_bits;
  const int all_bits = id_bits + 32;
  uint64_t prefix = 0;
  uint64_t before = 0;
  uint64_t needed = 0;
  for (int shift = all_bits; shift > 0;) {
    const int width = shift == id_bits + digit_bits - 1 ? digit_bits - 1 : digit_bits;
    shift -= width;
    count_digit<N>(search, prefix, shift, width, histogram);
    const uint64_t sum = sum_of_bins(histogram);
    const uint64_t begin = before + block_exclusive_sum(sum);
    if (shift == all_bits - digit_bits) {
      if (threadIdx.x == threads - 1) board->total = begin + sum;
      barrier();
      needed = needed_sum(search.stage, p, blockIdx.x, board->total);
    }
    find_bin(histogram, begin, needed, board);
    barrier();
    const Found& found = board->found;
    prefix = prefix << width | found.bin;
    before = found.before;
    if (shift == id_bits) {
      const uint64_t rank = prefix << id_bits;
      const bool single = found.sum == search.amount(search.ranks.score(rank));
      if (single) return rank | (search.ranks.last_id() - found.ids);
    }
  }
  return prefix;
}

/// The kept tokens, in any order. There are at most list_size.
template <int N>
GPU_DEVICE Tokens list_kept(const Search& search, float* scores, uint32_t* ids, uint32_t* count) {
  if (threadIdx.x == 0) *count = 0;
  barrier();
  for_each_token<N>(search.tokens, [&](float score, uint32_t id) {
    if (search.ranks.of(score, id) < search.kept) return;
    const uint32_t at = atomic_add(count, 1U);
    scores[at] = score;
    ids[at] = id;
  });
  barrier();
  return {scores, ids, *count};
}

template <int N>
GPU_KERNEL(threads)
sample_kernel(SampleParams p, Ranks ranks, float inverse_temperature, float scale) {
  GPU_SHARED(uint32_t, low, bins);
  GPU_SHARED(uint32_t, high, bins);
  GPU_SHARED(uint32_t, id_sums, bins);
  GPU_SHARED(Board, board, 1);
  GPU_SHARED(float, list_scores, list_size);
  GPU_SHARED(uint32_t, list_ids, list_size);
  GPU_SHARED(uint32_t, list_count, 1);
  const Histogram histogram{low, high, id_sums};
  const Tokens row{p.logits + blockIdx.x * p.vocab, nullptr, static_cast<uint32_t>(p.vocab)};
  const uint64_t best = greatest_rank<N>(row, ranks);
  const float top = ranks.score(best);
  Search search{Stage::top_k, row, 0, ranks, {top, inverse_temperature, scale}};
  if (top - top != 0) {  // not finite: nothing to weigh
    if (threadIdx.x == 0) p.ids[blockIdx.x] = static_cast<int32_t>(ranks.id(best));
    return;
  }
  for (int i = 0; i < 3; ++i) {
    const auto stage = static_cast<Stage>(i);
    if (stage == Stage::top_k && (p.top_k <= 0 || p.top_k >= p.vocab)) continue;
    if (stage == Stage::top_p && p.top_p >= 1) continue;
    search.stage = stage;
    search.kept = find_crossing<N>(p, search, histogram, board);
    if (stage == Stage::top_k && p.top_k <= list_size) {
      search.tokens = list_kept<N>(search, list_scores, list_ids, list_count);
    }
  }
  if (threadIdx.x == 0) p.ids[blockIdx.x] = static_cast<int32_t>(ranks.id(search.kept));
}

/// Bits of the numbers below `count`.
int bits_below(int64_t count) {
  int bits = 0;
  while (int64_t{1} << bits < count) ++bits;
  return bits;
}

void check_vocabulary(const char* kernel, int64_t vocab) {
  if (vocab <= most_ids) return;
  char text[160];  // no std::string: the shim's runtime uses it too (docs/kernels.md)
  std::snprintf(text, sizeof(text), "%s: at most %lld tokens are supported on CUDA. Received %lld.", kernel,
                static_cast<long long>(most_ids), static_cast<long long>(vocab));
  throw std::runtime_error(text);
}

template <int N>
void launch_sample(CUstream_st* stream, const SampleParams& p) {
  const Ranks ranks{p.vocab <= bins ? digit_bits : 2 * digit_bits};
  const auto scale = static_cast<float>(int64_t{1} << (62 - bits_below(p.vocab)));
  launch("sample", sample_kernel<N>, p.rows, threads, 0, stream, p, ranks, 1.0F / p.temperature, scale);
}

}  // namespace

template <Device D>
void repetition_penalty(Context<D> on, const RepetitionPenaltyParams& p) {
  if (p.rows == 0 || p.vocab == 0) return;
  const auto tiles = static_cast<uint32_t>(ceil_div(p.vocab, penalty_ids));
  launch("repetition_penalty", repetition_penalty_kernel<>, p.rows * tiles, penalty_threads, 0, on.stream, p, tiles);
}

template <Device D>
void argmax(Context<D> on, const float* logits, int32_t* ids, int64_t rows, int64_t vocab) {
  if (rows == 0) return;
  check_vocabulary("argmax", vocab);
  if (aligned_rows(vocab, widest<float>, logits)) {
    launch("argmax", argmax_kernel<widest<float>>, rows, threads, 0, on.stream, logits, ids, vocab);
  } else {
    launch("argmax", argmax_kernel<1>, rows, threads, 0, on.stream, logits, ids, vocab);
  }
}

template <Device D>
int64_t sample_workspace_bytes(const SampleParams&) {
  return 0;  // a block has all it needs in shared memory
}

template <Device D>
void sample(Context<D> on, const SampleParams& p) {
  if (p.rows == 0) return;
  check_vocabulary("sample", p.vocab);
  if (aligned_rows(p.vocab, widest<float>, p.logits)) {
    launch_sample<widest<float>>(on.stream, p);
  } else {
    launch_sample<1>(on.stream, p);
  }
}

template void repetition_penalty(Context<Cuda>, const RepetitionPenaltyParams&);
template void argmax(Context<Cuda>, const float*, int32_t*, int64_t, int64_t);
template int64_t sample_workspace_bytes<Cuda>(const SampleParams&);
template void sample(Context<Cuda>, const SampleParams&);

}  // namespace subspect::kernels
