// Attention on CUDA, run by the shim, against the CPU kernels: head dimensions that are compiled and that are filled
// up, groups of heads, windows, packed documents with ragged ends, rows that are not aligned.
#include "kernels/attention.h"

#include <numeric>
#include <optional>
#include <string>

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

struct Sizes {
  std::vector<int32_t> lengths;
  int64_t heads = 2;
  int64_t kv_heads = 1;
  int64_t head_dim = 64;
  int64_t window = 0;
  std::optional<float> scale{};  ///< 1 / sqrt(head_dim) unless given
  float magnitude = 1;           ///< of queries and keys
  int64_t padding = 0;           ///< elements after each row
  int64_t offset = 0;            ///< elements before the first row

  int64_t tokens() const { return std::accumulate(lengths.begin(), lengths.end(), int64_t{0}); }
  int64_t row() const { return (heads + 2 * kv_heads) * head_dim + padding; }
  int64_t out_row() const { return heads * head_dim + padding; }
  int64_t k_at() const { return offset + heads * head_dim; }
  int64_t v_at() const { return offset + (heads + kv_heads) * head_dim; }
  float factor() const { return scale.value_or(1.0F / std::sqrt(static_cast<float>(head_dim))); }
  std::string text() const {
    std::string s = "lengths";
    for (const int32_t length : lengths) s += " " + std::to_string(length);
    return s + ", heads " + std::to_string(heads) + "/" + std::to_string(kv_heads) + " x " + std::to_string(head_dim) +
           ", window " + std::to_string(window) + ", scale " + std::to_string(factor());
  }
};

/// What a rounding may change each result by: `fine` counts errors of float32, `coarse` those of weights and gradients
/// of scores that are rounded to the storage type before they are multiplied.
struct Magnitudes {
  Doubles fine;
  Doubles coarse;

  explicit Magnitudes(size_t count) : fine(count), coarse(count) {}
};

/// One case: its inputs, what the CPU computes from them, and the sizes of the terms that were added up.
template <class T>
struct Problem {
  Sizes sizes;
  std::vector<int32_t> cu_seqlens{0};
  std::vector<T> qkv, dout, out, dqkv;
  std::vector<float> logsumexp;
  Magnitudes out_terms, dqkv_terms;
  double largest_score = 0;  ///< of the sums of magnitudes

  explicit Problem(const Sizes& s)
      : sizes(s),
        qkv(random_values<T>(s.offset + s.tokens() * s.row(), 1)),
        dout(random_values<T>(s.offset + s.tokens() * s.out_row(), 2)),
        out(dout.size()),
        dqkv(qkv.size()),
        logsumexp(static_cast<size_t>(s.heads * s.tokens())),
        out_terms(out.size()),
        dqkv_terms(qkv.size()) {
    for (const int32_t length : s.lengths) cu_seqlens.push_back(cu_seqlens.back() + length);
    for (size_t i = 0; i < qkv.size(); ++i) {
      if ((static_cast<int64_t>(i) - s.offset) % s.row() < (s.heads + s.kv_heads) * s.head_dim) {
        qkv[i] = from_float<T>(s.magnitude * to_float(qkv[i]));
      }
    }
    forward(context(), cu_seqlens.data(), qkv.data(), out.data(), logsumexp.data());
    AttentionBackwardParams<T> b =
        backward_params(cu_seqlens.data(), qkv.data(), out.data(), dout.data(), logsumexp.data(), dqkv.data());
    const Workspace workspace(attention_backward_workspace_bytes<Cpu>(b));
    b.workspace = workspace.get();
    attention_backward(context(), b);
    add_up_terms();
  }

  AttentionShape shape(const int32_t* cu) const {
    int32_t longest = 0;
    for (const int32_t length : sizes.lengths) longest = std::max(longest, length);
    return {cu,
            static_cast<int64_t>(sizes.lengths.size()),
            sizes.tokens(),
            longest,
            sizes.heads,
            sizes.kv_heads,
            sizes.head_dim,
            sizes.factor(),
            sizes.window};
  }

  template <class Context>
  void forward(Context on, const int32_t* cu, const T* x, T* y, float* lse) const {
    AttentionForwardParams<T> p{shape(cu), x + sizes.offset, x + sizes.k_at(), x + sizes.v_at()};
    p.q_stride = p.k_stride = p.v_stride = sizes.row();
    p.out = y + sizes.offset;
    p.out_stride = sizes.out_row();
    p.logsumexp = lse;
    attention_forward(on, p);
  }

  AttentionBackwardParams<T> backward_params(const int32_t* cu, const T* x, const T* y, const T* dy, const float* lse,
                                             T* dx) const {
    AttentionBackwardParams<T> p{shape(cu), x + sizes.offset, x + sizes.k_at(), x + sizes.v_at()};
    p.q_stride = p.k_stride = p.v_stride = p.dq_stride = p.dk_stride = p.dv_stride = sizes.row();
    p.out = y + sizes.offset;
    p.dout = dy + sizes.offset;
    p.out_stride = p.dout_stride = sizes.out_row();
    p.logsumexp = lse;
    p.dq = dx + sizes.offset;
    p.dk = dx + sizes.k_at();
    p.dv = dx + sizes.v_at();
    return p;
  }

  /// Adds the magnitudes of the terms of all sums that query `t` of one head takes part in.
  void add_query(const Doubles& x, const Doubles& y, const Doubles& dy, int64_t begin, int64_t t, int64_t head) {
    const int64_t d = sizes.head_dim;
    const int64_t kv = head / (sizes.heads / sizes.kv_heads) * d;
    const auto q = static_cast<size_t>(sizes.offset + t * sizes.row() + head * d);
    const auto o = static_cast<size_t>(sizes.offset + t * sizes.out_row() + head * d);
    const double scale = static_cast<double>(sizes.factor());
    const double lse = static_cast<double>(logsumexp[static_cast<size_t>(head * sizes.tokens() + t)]);
    double delta = 0;
    double delta_terms = 0;
    for (size_t c = 0; c < static_cast<size_t>(d); ++c) {
      delta += y[o + c] * dy[o + c];
      delta_terms += std::abs(y[o + c] * dy[o + c]);
    }
    const int64_t first = sizes.window > 0 ? std::max(begin, t - sizes.window + 1) : begin;
    for (int64_t j = first; j <= t; ++j) {
      const auto k = static_cast<size_t>(sizes.k_at() + j * sizes.row() + kv);
      const auto v = static_cast<size_t>(sizes.v_at() + j * sizes.row() + kv);
      double score = 0, score_terms = 0, product = 0, product_terms = 0;
      for (size_t c = 0; c < static_cast<size_t>(d); ++c) {
        score += scale * x[q + c] * x[k + c];
        score_terms += std::abs(scale * x[q + c] * x[k + c]);
        product += dy[o + c] * x[v + c];
        product_terms += std::abs(dy[o + c] * x[v + c]);
      }
      largest_score = std::max(largest_score, score_terms);
      const double p = std::exp(std::min(score - lse, 0.0));
      const double ds = std::abs(scale * p * (product - delta));
      const double ds_terms = std::abs(scale * p) * (product_terms + delta_terms);
      for (size_t c = 0; c < static_cast<size_t>(d); ++c) {
        add(out_terms, o + c, p * std::abs(x[v + c]), p * std::abs(x[v + c]));
        add(dqkv_terms, v + c, p * std::abs(dy[o + c]), p * std::abs(dy[o + c]));
        add(dqkv_terms, q + c, ds_terms * std::abs(x[k + c]), ds * std::abs(x[k + c]));
        add(dqkv_terms, k + c, ds_terms * std::abs(x[q + c]), ds * std::abs(x[q + c]));
      }
    }
  }

  static void add(Magnitudes& to, size_t at, double fine, double coarse) {
    to.fine[at] += fine;
    to.coarse[at] += coarse;
  }

  void add_up_terms() {
    const Doubles x = widen(qkv);
    const Doubles y = widen(out);
    const Doubles dy = widen(dout);
    for (size_t document = 0; document + 1 < cu_seqlens.size(); ++document) {
      for (int64_t t = cu_seqlens[document]; t < cu_seqlens[document + 1]; ++t) {
        for (int64_t head = 0; head < sizes.heads; ++head) add_query(x, y, dy, cu_seqlens[document], t, head);
      }
    }
  }

  /// Scores of size s have errors of s float32 epsilons, which the exponential turns into relative ones. Weights are
  /// rounded to T before the second product, and both sides round their results to T: half an epsilon each.
  void expect_within(const std::vector<T>& actual, const std::vector<T>& expected, const Magnitudes& terms, int64_t row,
                     int64_t used) const {
    ASSERT_EQ(actual.size(), expected.size());
    const double rounding = sizeof(T) == 2 ? epsilon<T> / 2 : 0;
    const double growth = 8 + 4 * largest_score;
    int failures = 0;
    for (size_t i = 0; i < actual.size() && failures < 3; ++i) {
      const double value = static_cast<double>(to_float(actual[i]));
      const int64_t col = (static_cast<int64_t>(i) - sizes.offset) % row;
      if (col < 0 || col >= used) {
        if (!std::isnan(value)) ADD_FAILURE() << "element " << i << ", between rows, was written", ++failures;
        continue;
      }
      const double wanted = static_cast<double>(to_float(expected[i]));
      const double tolerance =
          rounding * (2 * std::abs(wanted) + terms.coarse[i]) + growth * epsilon<float> * terms.fine[i] + 1e-30;
      if (std::abs(value - wanted) <= tolerance) continue;
      ADD_FAILURE() << "element " << i << ": " << value << " instead of " << wanted << ", tolerance " << tolerance;
      ++failures;
    }
  }

  std::vector<float> expect_forward() const {
    const DeviceBuffer<int32_t> d_cu(cu_seqlens);
    const DeviceBuffer<T> d_qkv(qkv), d_out(out.size());
    const DeviceBuffer<float> d_lse(logsumexp.size());
    forward(gpu, d_cu.data(), d_qkv.data(), d_out.data(), d_lse.data());
    expect_within(d_out.values(), out, out_terms, sizes.out_row(), sizes.heads * sizes.head_dim);
    const std::vector<float> lse = d_lse.values();
    for (size_t i = 0; i < lse.size(); ++i) {
      EXPECT_NEAR(lse[i], logsumexp[i], static_cast<float>((8 + 4 * largest_score) * epsilon<float>)) << "row " << i;
    }
    return joined(d_out.values(), lse);
  }

  std::vector<float> expect_backward() const {
    const DeviceBuffer<int32_t> d_cu(cu_seqlens);
    const DeviceBuffer<T> d_qkv(qkv), d_out(out), d_dout(dout), d_dqkv(qkv.size());
    const DeviceBuffer<float> d_lse(logsumexp);
    AttentionBackwardParams<T> p =
        backward_params(d_cu.data(), d_qkv.data(), d_out.data(), d_dout.data(), d_lse.data(), d_dqkv.data());
    const DeviceBuffer<std::byte> workspace(static_cast<size_t>(attention_backward_workspace_bytes<Cuda>(p)));
    p.workspace = workspace.data();
    attention_backward(gpu, p);
    expect_within(d_dqkv.values(), dqkv, dqkv_terms, sizes.row(), (sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim);
    return joined(d_dqkv.values());
  }
};

SIMT_SUITE(SimtAttention);

template <class T>
void expect_equals_cpu(const Sizes& sizes, uint64_t seed = 1, int yield_period = 0) {
  SCOPED_TRACE(sizes.text());
  const Problem<T> problem(sizes);
  set_schedule(seed, yield_period);
  problem.expect_forward();
  problem.expect_backward();
}

/// Tiles of float32 have half as many rows at most, so that shorter documents fill several.
template <class T>
constexpr int32_t several_tiles = sizeof(T) == 2 ? 140 : 75;

TYPED_TEST(SimtAttention, CompiledHeadDimensions) {
  for (const int64_t head_dim : {64, 80, 96, 128, 256}) {
    expect_equals_cpu<TypeParam>({{several_tiles<TypeParam>, 1, 34}, 2, 1, head_dim}, static_cast<uint64_t>(head_dim));
  }
}

TYPED_TEST(SimtAttention, HeadDimensionsThatAreFilledUp) {
  for (const int64_t head_dim : {1, 8, 13, 40, 65, 72, 88, 104, 136}) {
    expect_equals_cpu<TypeParam>({{70, 3}, 1, 1, head_dim}, static_cast<uint64_t>(head_dim));
  }
}

TYPED_TEST(SimtAttention, SeveralTilesOfSeveralDocuments) {
  expect_equals_cpu<TypeParam>({{0, 129, 64, 0, 0, 2 * several_tiles<TypeParam>, 1, 128, 0}, 1, 1, 32});
}

TYPED_TEST(SimtAttention, ManyShortDocuments) {
  Sizes sizes{{}, 2, 1, 16};
  for (int i = 0; i < 45; ++i) sizes.lengths.push_back(i * 7 % 6);
  expect_equals_cpu<TypeParam>(sizes);
}

TYPED_TEST(SimtAttention, GroupsOfHeads) {
  // 32 positions end where a tile of queries ends, and the next head begins.
  for (const auto& [heads, kv_heads] : std::vector<std::pair<int64_t, int64_t>>{{3, 3}, {6, 2}, {5, 1}}) {
    expect_equals_cpu<TypeParam>({{70, 32}, heads, kv_heads, 24});
  }
}

TYPED_TEST(SimtAttention, Windows) {
  // With 34 a tile's first key is the last query of a warp; with 95 its last key is next to the first query, and the
  // first key just out of sight of the last.
  for (const int64_t window : {1, 17, 34, 95, 270, 400}) {
    expect_equals_cpu<TypeParam>({{2 * several_tiles<TypeParam>, 40}, 1, 1, 16, window}, static_cast<uint64_t>(window));
  }
}

TYPED_TEST(SimtAttention, UnalignedRows) {
  Sizes odd_stride{{80, 33}, 2, 1, 64};
  odd_stride.padding = 3;
  expect_equals_cpu<TypeParam>(odd_stride);
  Sizes odd_pointer{{80, 33}, 2, 1, 64};
  odd_pointer.offset = 1;
  expect_equals_cpu<TypeParam>(odd_pointer);
  Sizes aligned_padding{{80, 33}, 2, 1, 64};
  aligned_padding.padding = 16;
  aligned_padding.offset = 8;
  expect_equals_cpu<TypeParam>(aligned_padding);
}

TYPED_TEST(SimtAttention, LargeScores) {
  for (const float magnitude : {4.0F, 30.0F}) {
    Sizes sizes{{140, 5}, 2, 1, 64};
    sizes.magnitude = magnitude;
    expect_equals_cpu<TypeParam>(sizes);
  }
}

TYPED_TEST(SimtAttention, NegativeAndZeroScales) {
  for (const float scale : {-0.7F, 0.0F}) {
    Sizes sizes{{90, 3}, 2, 1, 40};
    sizes.scale = scale;
    expect_equals_cpu<TypeParam>(sizes);
  }
}

TYPED_TEST(SimtAttention, SameBitsInEveryOrder) {
  const Problem<TypeParam> problem({{several_tiles<TypeParam>, 0, 21}, 2, 1, 64, 70});
  std::vector<float> first;
  this->for_each_schedule([&] {
    std::vector<float> results = problem.expect_forward();
    const std::vector<float> gradients = problem.expect_backward();
    results.insert(results.end(), gradients.begin(), gradients.end());
    if (first.empty()) first = results;
    EXPECT_TRUE(same_bits(results, first));
  });
}

TYPED_TEST(SimtAttention, LogsumexpIsOptional) {
  using T = TypeParam;
  const Problem<T> p({{50}, 1, 1, 64});
  set_schedule(1);
  const DeviceBuffer<int32_t> d_cu(p.cu_seqlens);
  const DeviceBuffer<T> d_qkv(p.qkv), d_out(p.out.size());
  p.forward(gpu, d_cu.data(), d_qkv.data(), d_out.data(), nullptr);
  p.expect_within(d_out.values(), p.out, p.out_terms, p.sizes.out_row(), 64);
}

TYPED_TEST(SimtAttention, NothingToDoLaunchesNothing) {
  using T = TypeParam;
  AttentionShape shape;
  shape.heads = shape.kv_heads = 2;
  shape.head_dim = 64;
  EXPECT_NO_THROW((attention_forward<Cuda, T>(gpu, {shape})));
  EXPECT_NO_THROW((attention_backward<Cuda, T>(gpu, {shape})));
  EXPECT_EQ((attention_backward_workspace_bytes<Cuda, T>({shape})), 0);
}

}  // namespace
}  // namespace subspect::kernels::test
