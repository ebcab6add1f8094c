// The paged cache and decoding, against the attention of whole documents.
#include "kernels/paged_attention.h"

#include "kernels/attention.h"
#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

/// Sequences whose keys and values lie in shuffled pages, the last position being the new token.
template <class T>
struct Problem {
  std::vector<int32_t> lengths;
  int64_t heads, kv_heads, head_dim, window, page_size;
  int64_t max_pages = 0;
  std::vector<int32_t> cu_seqlens{0};
  std::vector<int32_t> page_table;
  std::vector<T> qkv, k_cache, v_cache, out;

  Problem(std::vector<int32_t> l, int64_t h, int64_t g, int64_t d, int64_t w, int64_t page)
      : lengths(std::move(l)), heads(h), kv_heads(g), head_dim(d), window(w), page_size(page) {
    for (const int32_t length : lengths) {
      cu_seqlens.push_back(cu_seqlens.back() + length);
      max_pages = std::max(max_pages, (length + page - 1) / page);
    }
    qkv = random_values<T>(cu_seqlens.back() * width(), 1);
    const auto sequences = static_cast<int64_t>(lengths.size());
    const int64_t pages = sequences * max_pages + 3;
    page_table.assign(static_cast<size_t>(sequences * max_pages), -1);
    for (size_t i = 0; i < page_table.size(); ++i) {  // neighbours lie apart
      page_table[i] = static_cast<int32_t>(page_table.size() - i + 1);
    }
    k_cache.assign(static_cast<size_t>(pages * page * g * d), from_float<T>(NAN));
    v_cache = k_cache;
    out.resize(static_cast<size_t>(sequences * h * d));
  }

  int64_t width() const { return (heads + 2 * kv_heads) * head_dim; }

  void append(Context<Cpu> on) {
    std::vector<int32_t> slots;
    for (size_t sequence = 0; sequence < lengths.size(); ++sequence) {
      for (int64_t t = 0; t < lengths[sequence]; ++t) {
        const auto page = static_cast<int64_t>(sequence) * max_pages + t / page_size;
        slots.push_back(static_cast<int32_t>(page_table[static_cast<size_t>(page)] * page_size + t % page_size));
      }
    }
    kv_cache_append(on, KvCacheAppendParams<T>{
                            qkv.data() + heads * head_dim, qkv.data() + (heads + kv_heads) * head_dim, width(), width(),
                            slots.data(), k_cache.data(), v_cache.data(), cu_seqlens.back(), kv_heads, head_dim});
  }

  /// Decodes the sequences [first, first + count).
  std::vector<T> decode(Context<Cpu> on, size_t first, size_t count) {
    std::vector<T> q;
    for (size_t i = first; i < first + count; ++i) {
      const auto begin = qkv.begin() + (cu_seqlens[i + 1] - 1) * width();
      q.insert(q.end(), begin, begin + heads * head_dim);
    }
    std::vector<T> y(count * static_cast<size_t>(heads * head_dim));
    DecodeAttentionParams<T> p;
    p.q = q.data();
    p.q_stride = p.out_stride = heads * head_dim;
    p.k_cache = k_cache.data();
    p.v_cache = v_cache.data();
    p.page_table = page_table.data() + static_cast<int64_t>(first) * max_pages;
    p.lengths = lengths.data() + first;
    p.out = y.data();
    p.sequences = static_cast<int64_t>(count);
    p.max_pages = max_pages;
    p.page_size = page_size;
    p.heads = heads;
    p.kv_heads = kv_heads;
    p.head_dim = head_dim;
    p.scale = 0.3F;
    p.window = window;
    const Workspace workspace(decode_attention_workspace_bytes<Cpu>(p));
    p.workspace = workspace.get();
    decode_attention(on, p);
    return y;
  }

  /// The last rows of attention over whole documents, which has its own test.
  Doubles expected(Context<Cpu> on) const {
    std::vector<float> wide(qkv.size());
    for (size_t i = 0; i < qkv.size(); ++i) wide[i] = to_float(qkv[i]);
    std::vector<float> all(static_cast<size_t>(cu_seqlens.back() * heads * head_dim));
    AttentionForwardParams<float> p;
    p.shape = {cu_seqlens.data(),
               static_cast<int64_t>(lengths.size()),
               cu_seqlens.back(),
               0,
               heads,
               kv_heads,
               head_dim,
               0.3F,
               window};
    p.q = wide.data();
    p.k = wide.data() + heads * head_dim;
    p.v = wide.data() + (heads + kv_heads) * head_dim;
    p.q_stride = p.k_stride = p.v_stride = width();
    p.out = all.data();
    p.out_stride = heads * head_dim;
    attention_forward(on, p);
    Doubles result;
    for (size_t i = 0; i < lengths.size(); ++i) {
      for (int64_t j = 0; j < heads * head_dim; ++j) {
        result.push_back(static_cast<double>(all[static_cast<size_t>((cu_seqlens[i + 1] - 1) * heads * head_dim + j)]));
      }
    }
    return result;
  }
};

template <class T>
class PagedAttentionTest : public ::testing::Test {};
TYPED_TEST_SUITE(PagedAttentionTest, StorageTypes, StorageNames);

TYPED_TEST(PagedAttentionTest, DecodingEqualsTheLastRow) {
  for (const int64_t head_dim : {5, 32, 128}) {
    for (const int64_t window : {0, 1, 600}) {
      for (const int64_t page : {1, 48}) {
        Problem<TypeParam> p({1, 7, 64, 513, 1100}, 4, 2, head_dim, window, page);
        p.append(context());
        expect_close(p.decode(context(), 0, 5), p.expected(context()), 64);
      }
    }
  }
}

TYPED_TEST(PagedAttentionTest, SequencesDoNotDependOnEachOther) {
  Problem<TypeParam> p({700, 3, 1025}, 6, 2, 16, 0, 16);
  p.append(context());
  const auto all = p.decode(context(), 0, 3);
  for (size_t i = 0; i < 3; ++i) {
    const auto alone = p.decode(context(), i, 1);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), all.begin() + static_cast<std::ptrdiff_t>(i * alone.size()),
                           [](TypeParam a, TypeParam b) { return to_float(a) == to_float(b); }));
  }
}

TYPED_TEST(PagedAttentionTest, NegativeSlotsAreSkipped) {
  const auto kv = random_values<TypeParam>(3 * 4, 1);
  const std::vector<int32_t> slots = {2, -1, 0};
  std::vector<TypeParam> cache(3 * 2, from_float<TypeParam>(9.0F));
  auto values = cache;
  kv_cache_append(context(), KvCacheAppendParams<TypeParam>{kv.data(), kv.data() + 2, 4, 4, slots.data(), cache.data(),
                                                            values.data(), 3, 1, 2});
  for (size_t j = 0; j < 2; ++j) {
    EXPECT_EQ(to_float(cache[4 + j]), to_float(kv[j]));
    EXPECT_EQ(to_float(cache[j]), to_float(kv[8 + j]));
    EXPECT_EQ(to_float(values[j]), to_float(kv[10 + j]));
    EXPECT_EQ(to_float(cache[2 + j]), 9.0F);
    EXPECT_EQ(to_float(values[2 + j]), 9.0F);
  }
}

TYPED_TEST(PagedAttentionTest, ThreadsDoNotMatter) {
  Problem<TypeParam> p({300, 3, 2000}, 6, 2, 24, 0, 16);
  expect_same_for_all_teams([&](Context<Cpu> on) {
    p.append(on);
    return p.decode(on, 0, 3);
  });
}

}  // namespace
}  // namespace subspect::kernels::test
