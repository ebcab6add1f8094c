// Attention over packed documents against the definition in double, and its gradients against finite differences.
#include "kernels/attention.h"

#include <rapidcheck.h>

#include <numeric>

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

struct Sizes {
  std::vector<int32_t> lengths;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t head_dim = 8;
  int64_t window = 0;

  int64_t tokens() const { return std::accumulate(lengths.begin(), lengths.end(), int64_t{0}); }
  int64_t width() const { return (heads + 2 * kv_heads) * head_dim; }
};

/// Packed projections and everything computed from them.
template <class T>
struct Problem {
  Sizes sizes;
  std::vector<int32_t> cu_seqlens{0};
  std::vector<T> qkv, dout, out, dqkv;
  std::vector<float> logsumexp;

  explicit Problem(const Sizes& s, uint64_t seed = 1)
      : sizes(s),
        qkv(random_values<T>(s.tokens() * s.width(), seed)),
        dout(random_values<T>(s.tokens() * s.heads * s.head_dim, seed + 1)),
        out(dout.size()),
        dqkv(qkv.size()),
        logsumexp(static_cast<size_t>(s.heads * s.tokens())) {
    for (const int32_t length : s.lengths) cu_seqlens.push_back(cu_seqlens.back() + length);
  }

  AttentionShape shape() const {
    const int32_t longest = *std::max_element(sizes.lengths.begin(), sizes.lengths.end());
    return {cu_seqlens.data(), static_cast<int64_t>(sizes.lengths.size()),
            sizes.tokens(),    longest,
            sizes.heads,       sizes.kv_heads,
            sizes.head_dim,    1.0F / std::sqrt(static_cast<float>(sizes.head_dim)),
            sizes.window};
  }

  int64_t k_at() const { return sizes.heads * sizes.head_dim; }
  int64_t v_at() const { return (sizes.heads + sizes.kv_heads) * sizes.head_dim; }

  void forward(Context<Cpu> on) {
    AttentionForwardParams<T> p{shape(), qkv.data(), qkv.data() + k_at(), qkv.data() + v_at()};
    p.q_stride = p.k_stride = p.v_stride = sizes.width();
    p.out = out.data();
    p.out_stride = sizes.heads * sizes.head_dim;
    p.logsumexp = logsumexp.data();
    attention_forward(on, p);
  }

  void backward(Context<Cpu> on) {
    AttentionBackwardParams<T> p{shape(), qkv.data(), qkv.data() + k_at(), qkv.data() + v_at()};
    p.q_stride = p.k_stride = p.v_stride = p.dq_stride = p.dk_stride = p.dv_stride = sizes.width();
    p.out = out.data();
    p.dout = dout.data();
    p.out_stride = p.dout_stride = sizes.heads * sizes.head_dim;
    p.logsumexp = logsumexp.data();
    p.dq = dqkv.data();
    p.dk = dqkv.data() + k_at();
    p.dv = dqkv.data() + v_at();
    const Workspace workspace(attention_backward_workspace_bytes<Cpu>(p));
    p.workspace = workspace.get();
    attention_backward(on, p);
  }
};

/// One query of one head, from the definition; adds to out.
void naive_query(const Sizes& s, const Doubles& qkv, int64_t begin, int64_t query, int64_t head, double* out) {
  const int64_t kv = head / (s.heads / s.kv_heads);
  const double* q = qkv.data() + query * s.width() + head * s.head_dim;
  const int64_t first = s.window > 0 ? std::max(begin, query - s.window + 1) : begin;
  Doubles weights;
  double maximum = -1e300;
  for (int64_t j = first; j <= query; ++j) {
    const double* k = qkv.data() + j * s.width() + (s.heads + kv) * s.head_dim;
    const double score = std::inner_product(q, q + s.head_dim, k, 0.0) / std::sqrt(static_cast<double>(s.head_dim));
    weights.push_back(score);
    maximum = std::max(maximum, score);
  }
  double sum = 0;
  for (double& w : weights) sum += w = std::exp(w - maximum);
  for (int64_t j = first; j <= query; ++j) {
    const double* v = qkv.data() + j * s.width() + (s.heads + s.kv_heads + kv) * s.head_dim;
    for (int64_t c = 0; c < s.head_dim; ++c) out[c] += weights[static_cast<size_t>(j - first)] / sum * v[c];
  }
}

Doubles naive(const Sizes& s, const Doubles& qkv) {
  Doubles out(static_cast<size_t>(s.tokens() * s.heads * s.head_dim));
  int64_t begin = 0;
  for (const int32_t length : s.lengths) {
    for (int64_t t = begin; t < begin + length; ++t) {
      for (int64_t head = 0; head < s.heads; ++head) {
        naive_query(s, qkv, begin, t, head, out.data() + (t * s.heads + head) * s.head_dim);
      }
    }
    begin += length;
  }
  return out;
}

template <class T>
class AttentionTest : public ::testing::Test {};
TYPED_TEST_SUITE(AttentionTest, StorageTypes, StorageNames);

TYPED_TEST(AttentionTest, ForwardEqualsDefinition) {
  for (const int64_t head_dim : {1, 8, 13, 32, 40, 64, 96, 128, 256}) {
    for (const int64_t window : {0, 1, 17}) {
      Problem<TypeParam> p({{1, 5, 67, 130, 64, 3}, 4, 2, head_dim, window});
      p.forward(context());
      expect_close(p.out, naive(p.sizes, widen(p.qkv)), 64);
    }
  }
}

TYPED_TEST(AttentionTest, HeadGroupings) {
  for (const auto& [heads, kv_heads] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 3}, {6, 2}, {7, 1}}) {
    Problem<TypeParam> p({{19, 70}, heads, kv_heads, 16, 0});
    p.forward(context());
    expect_close(p.out, naive(p.sizes, widen(p.qkv)), 64);
  }
}

TYPED_TEST(AttentionTest, GradientsEqualFiniteDifferences) {
  for (const int64_t window : {0, 3}) {
    for (const int64_t head_dim : {3, 8}) {
      Problem<TypeParam> p({{1, 9, 5}, 4, 2, head_dim, window});
      p.forward(context());
      p.backward(context());
      const Doubles expected =
          numeric_gradient([&](const Doubles& at) { return inner(naive(p.sizes, at), p.dout); }, widen(p.qkv));
      // bfloat16 gradients also carry the rounding of `out`, from which delta is computed.
      expect_norm_close(p.dqkv, expected, 4 * epsilon<TypeParam> + 1e-6);
    }
  }
}

TYPED_TEST(AttentionTest, GradientsOfLongDocumentsHaveTheRightSlopes) {
  for (const int64_t window : {0, 100}) {
    Problem<TypeParam> p({{513, 130, 601}, 2, 1, 16, window});
    p.forward(context());
    p.backward(context());
    const Doubles at = widen(p.qkv);
    const ScalarFunction f = [&](const Doubles& x) { return inner(naive(p.sizes, x), p.dout); };
    for (const int64_t part : {0, 1, 2}) {  // queries, keys, values
      Doubles direction = widen(random_values<float>(static_cast<int64_t>(at.size()), 9));
      for (size_t i = 0; i < direction.size(); ++i) {
        const int64_t head = static_cast<int64_t>(i) % p.sizes.width() / p.sizes.head_dim;
        if (std::max<int64_t>(0, head - 1) != part) direction[i] = 0;
      }
      const double size = std::sqrt(inner(p.dqkv, p.dqkv));
      EXPECT_NEAR(inner(p.dqkv, direction), numeric_slope(f, at, direction), (2 * epsilon<TypeParam> + 1e-5) * size);
    }
  }
}

TYPED_TEST(AttentionTest, LongAndShortDocumentsHaveTheSameGradients) {
  // A document of 520 tokens takes the path in two passes; its first 500, with no gradient from the rest, the other.
  Problem<TypeParam> whole({{520}, 4, 2, 24, 0});
  std::fill(whole.dout.begin() + 500 * 4 * 24, whole.dout.end(), TypeParam{});
  whole.forward(context());
  whole.backward(context());
  Problem<TypeParam> part({{500}, 4, 2, 24, 0});
  part.forward(context());
  part.backward(context());
  whole.dqkv.resize(part.dqkv.size());
  expect_norm_close(part.dqkv, widen(whole.dqkv), 2 * epsilon<TypeParam>);
}

TYPED_TEST(AttentionTest, ThreadsDoNotMatter) {
  expect_same_for_all_teams([](Context<Cpu> on) {
    Problem<TypeParam> p({{100, 1, 577, 33}, 4, 2, 40, 0});
    p.forward(on);
    p.backward(on);
    return joined(p.out, p.logsumexp, p.dqkv);
  });
}

TYPED_TEST(AttentionTest, LogsumexpNormalisesTheScores) {
  Problem<TypeParam> p({{1, 90}, 2, 2, 8, 0});
  p.forward(context());
  const Doubles qkv = widen(p.qkv);
  const int64_t query = 60;
  double sum = 0;
  for (int64_t j = 1; j <= query; ++j) {
    const double* q = qkv.data() + query * p.sizes.width() + 8;
    sum += std::exp(std::inner_product(q, q + 8, qkv.data() + j * p.sizes.width() + 3 * 8, 0.0) / std::sqrt(8.0));
  }
  EXPECT_NEAR(static_cast<double>(p.logsumexp[static_cast<size_t>(p.sizes.tokens() + query)]), std::log(sum), 1e-5);
}

// What happens in one document, NaN included, changes no bit of another's results.
TEST(AttentionPacking, DocumentsNeverSeeEachOther) {
  const bool holds = rc::check("documents are independent", [] {
    const auto count = *rc::gen::inRange<size_t>(2, 5);
    Sizes sizes;
    sizes.lengths = *rc::gen::container<std::vector<int32_t>>(count, rc::gen::inRange<int32_t>(1, 90));
    sizes.window = *rc::gen::element<int64_t>(0, 1, 20);
    const auto chosen = *rc::gen::inRange<size_t>(0, count);
    Problem<float> p(sizes);
    p.forward(context());
    p.backward(context());
    Problem<float> poisoned(sizes);
    const auto begin = static_cast<size_t>(p.cu_seqlens[chosen]);
    const auto end = static_cast<size_t>(p.cu_seqlens[chosen + 1]);
    const auto width = static_cast<size_t>(sizes.width());
    for (size_t i = 0; i < poisoned.qkv.size(); ++i) {
      if (i / width < begin || i / width >= end) poisoned.qkv[i] = NAN;
    }
    poisoned.forward(context());
    poisoned.backward(context());
    const auto out_width = static_cast<size_t>(sizes.heads * sizes.head_dim);
    for (size_t i = begin * out_width; i < end * out_width; ++i) RC_ASSERT(p.out[i] == poisoned.out[i]);
    for (size_t i = begin * width; i < end * width; ++i) RC_ASSERT(p.dqkv[i] == poisoned.dqkv[i]);
  });
  EXPECT_TRUE(holds);
}

TEST(AttentionPacking, PackedEqualsOneByOne) {
  Problem<float> packed({{70, 3, 128, 515}, 4, 2, 32, 0});
  packed.forward(context());
  packed.backward(context());
  for (size_t document = 0; document < packed.sizes.lengths.size(); ++document) {
    Problem<float> alone({{packed.sizes.lengths[document]}, 4, 2, 32, 0});
    const auto begin = static_cast<size_t>(packed.cu_seqlens[document]);
    const size_t width = static_cast<size_t>(alone.sizes.width());
    const size_t out_width = 4 * 32;
    std::copy_n(packed.qkv.begin() + static_cast<std::ptrdiff_t>(begin * width), alone.qkv.size(), alone.qkv.begin());
    std::copy_n(packed.dout.begin() + static_cast<std::ptrdiff_t>(begin * out_width), alone.dout.size(),
                alone.dout.begin());
    alone.forward(context());
    alone.backward(context());
    EXPECT_TRUE(std::equal(alone.out.begin(), alone.out.end(),
                           packed.out.begin() + static_cast<std::ptrdiff_t>(begin * out_width)));
    EXPECT_TRUE(std::equal(alone.dqkv.begin(), alone.dqkv.end(),
                           packed.dqkv.begin() + static_cast<std::ptrdiff_t>(begin * width)));
  }
}

TEST(AttentionRange, HugeScoresStayFinite) {
  Problem<float> p({{80}, 2, 2, 8, 0});
  for (float& x : p.qkv) x *= 1e4F;
  p.forward(context());
  p.backward(context());
  for (const float x : p.out) EXPECT_TRUE(std::isfinite(x));
  for (const float x : p.dqkv) EXPECT_TRUE(std::isfinite(x));
}

}  // namespace
}  // namespace subspect::kernels::test
