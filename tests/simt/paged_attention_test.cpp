// The paged cache on CUDA against the CPU: appending, and attention of one new token per sequence.
#include "kernels/paged_attention.h"

#include <limits>
#include <numeric>

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

template <class T>
std::vector<T> nothing(int64_t count) {
  return std::vector<T>(static_cast<size_t>(count), from_float<T>(std::numeric_limits<float>::quiet_NaN()));
}

// ---- appending

SIMT_SUITE(SimtKvCacheAppend);

TYPED_TEST(SimtKvCacheAppend, EqualsCpu) {
  using T = TypeParam;
  // Not aligned, aligned, aligned but for the stride, more than one tile of threads.
  for (const auto& [kv_heads, head_dim, gap] :
       std::vector<std::tuple<int64_t, int64_t, int64_t>>{{1, 5, 0}, {2, 16, 8}, {2, 16, 1}, {9, 256, 0}}) {
    const std::vector<int32_t> slots = {7, -1, 0, 3, 8, -5, 2};
    const int64_t width = kv_heads * head_dim;
    const int64_t stride = 2 * width + gap;
    const std::vector<T> rows = random_values<T>(stride * 7, 1);
    std::vector<T> keys = random_values<T>(9 * width, 2);
    std::vector<T> values = random_values<T>(9 * width, 3);
    const std::vector<T> keys_before = keys;
    const std::vector<T> values_before = values;
    kv_cache_append<Cpu, T>(context(), {rows.data(), rows.data() + width, stride, stride, slots.data(), keys.data(),
                                        values.data(), 7, kv_heads, head_dim});
    this->for_each_schedule([&, kv = kv_heads, dim = head_dim] {
      const DeviceBuffer<T> d_rows(rows), d_keys(keys_before), d_values(values_before);
      const DeviceBuffer<int32_t> d_slots(slots);
      kv_cache_append<Cuda, T>(gpu, {d_rows.data(), d_rows.data() + width, stride, stride, d_slots.data(),
                                     d_keys.data(), d_values.data(), 7, kv, dim});
      expect_same(d_keys, keys);
      expect_same(d_values, values);
    });
  }
}

TYPED_TEST(SimtKvCacheAppend, NothingToDoLaunchesNothing) {
  using T = TypeParam;
  EXPECT_NO_THROW((kv_cache_append<Cuda, T>(gpu, {nullptr, nullptr, 16, 16, nullptr, nullptr, nullptr, 0, 2, 8})));
  EXPECT_NO_THROW((kv_cache_append<Cuda, T>(gpu, {nullptr, nullptr, 0, 0, nullptr, nullptr, nullptr, 3, 0, 8})));
}

TYPED_TEST(SimtKvCacheAppend, UnalignedPointersEqualCpu) {
  using T = TypeParam;
  const std::vector<int32_t> slots = {1, 0};
  const std::vector<T> rows = random_values<T>(2 * 32 + 1, 1);
  std::vector<T> keys(33);
  std::vector<T> values(33);
  const std::vector<T> before = keys;
  kv_cache_append<Cpu, T>(
      context(), {rows.data() + 1, rows.data() + 17, 32, 32, slots.data(), keys.data() + 1, values.data(), 2, 1, 16});
  this->for_each_schedule([&] {
    const DeviceBuffer<T> d_rows(rows), d_keys(before), d_values(before);
    const DeviceBuffer<int32_t> d_slots(slots);
    kv_cache_append<Cuda, T>(gpu, {d_rows.data() + 1, d_rows.data() + 17, 32, 32, d_slots.data(), d_keys.data() + 1,
                                   d_values.data(), 2, 1, 16});
    expect_same(d_keys, keys);
    expect_same(d_values, values);
  });
}

// ---- decoding

struct Sizes {
  std::vector<int32_t> lengths;
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 1;
  int64_t page_size = 1;
  int64_t window = 0;
  float scale = 0.3F;
};

/// Positions that no query may see hold NaN, as do the rests of pages.
template <class T>
struct Problem {
  Sizes sizes;
  int64_t sequences = static_cast<int64_t>(sizes.lengths.size());
  int64_t max_pages = ceil_div(*std::max_element(sizes.lengths.begin(), sizes.lengths.end())) + 1;
  int64_t width = sizes.kv_heads * sizes.head_dim;
  int64_t q_stride = sizes.heads * sizes.head_dim + 8;
  int64_t out_stride = sizes.heads * sizes.head_dim + 3;
  std::vector<T> q = random_values<T>(sequences * q_stride, 1);
  std::vector<int32_t> page_table = pages();
  std::vector<T> keys = cache(2);
  std::vector<T> values = cache(3);

  int64_t ceil_div(int64_t length) const { return (length + sizes.page_size - 1) / sizes.page_size; }
  int64_t used_pages(size_t sequence) const { return ceil_div(sizes.lengths[sequence]); }

  /// Pages go to the sequences in turn, from the last page on; entries beyond a sequence's end point nowhere.
  std::vector<int32_t> pages() const {
    std::vector<int32_t> table(static_cast<size_t>(sequences * max_pages), -1);
    auto next = static_cast<int32_t>(all_pages());
    for (int64_t i = 0; i < max_pages; ++i) {
      for (size_t b = 0; b < sizes.lengths.size(); ++b) {
        if (i < used_pages(b)) table[b * static_cast<size_t>(max_pages) + static_cast<size_t>(i)] = --next;
      }
    }
    return table;
  }
  int64_t all_pages() const {
    int64_t count = 0;
    for (size_t b = 0; b < sizes.lengths.size(); ++b) count += used_pages(b);
    return count;
  }

  std::vector<T> cache(uint64_t seed) const {
    const std::vector<T> random = random_values<T>(all_pages() * sizes.page_size * width, seed);
    std::vector<T> result = nothing<T>(static_cast<int64_t>(random.size()));
    for (size_t b = 0; b < sizes.lengths.size(); ++b) {
      const int64_t length = sizes.lengths[b];
      for (int64_t t = sizes.window > 0 ? std::max<int64_t>(0, length - sizes.window) : 0; t < length; ++t) {
        const int64_t page = page_table[b * static_cast<size_t>(max_pages) + static_cast<size_t>(t / sizes.page_size)];
        const int64_t at = (page * sizes.page_size + t % sizes.page_size) * width;
        std::copy_n(random.begin() + at, width, result.begin() + at);
      }
    }
    return result;
  }

  DecodeAttentionParams<T> params(int64_t count) const {
    DecodeAttentionParams<T> p;
    p.q_stride = q_stride;
    p.out_stride = out_stride;
    p.sequences = count;
    p.max_pages = max_pages;
    p.page_size = sizes.page_size;
    p.heads = sizes.heads;
    p.kv_heads = sizes.kv_heads;
    p.head_dim = sizes.head_dim;
    p.scale = sizes.scale;
    p.window = sizes.window;
    return p;
  }

  /// What lies between the rows of the result stays as it was.
  std::vector<T> decode_on_cpu() const {
    std::vector<T> out(static_cast<size_t>(sequences * out_stride));
    DecodeAttentionParams<T> p = params(sequences);
    p.q = q.data();
    p.k_cache = keys.data();
    p.v_cache = values.data();
    p.page_table = page_table.data();
    p.lengths = sizes.lengths.data();
    p.out = out.data();
    const Workspace workspace(decode_attention_workspace_bytes<Cpu>(p));
    p.workspace = workspace.get();
    decode_attention(context(), p);
    return out;
  }

  /// Sequences from `first` on; `shift` elements before keys, values and queries keep them from 16-byte alignment.
  std::vector<T> decode_on_gpu(int64_t first, int64_t count, size_t shift = 0) const {
    const auto shifted = [&](const std::vector<T>& from) {
      std::vector<T> padded(shift);
      padded.insert(padded.end(), from.begin(), from.end());
      return padded;
    };
    const DeviceBuffer<T> d_q(shifted(q)), d_keys(shifted(keys)), d_values(shifted(values));
    const DeviceBuffer<int32_t> d_table(page_table), d_lengths(sizes.lengths);
    const DeviceBuffer<T> out(std::vector<T>(static_cast<size_t>(count * out_stride)));
    DecodeAttentionParams<T> p = params(count);
    p.q = d_q.data() + shift + first * q_stride;
    p.k_cache = d_keys.data() + shift;
    p.v_cache = d_values.data() + shift;
    p.page_table = d_table.data() + first * max_pages;
    p.lengths = d_lengths.data() + first;
    p.out = out.data();
    const DeviceBuffer<std::byte> workspace(static_cast<size_t>(decode_attention_workspace_bytes<Cuda>(p)));
    p.workspace = workspace.data();
    decode_attention(gpu, p);
    return out.values();
  }
};

SIMT_SUITE(SimtDecodeAttention);

// Splits of one position, whole and ragged ones; groups of 1, 7 and 9 heads; head dimensions of every kernel.
const std::vector<Sizes> all_sizes = {
    {{1, 128, 129, 300}, 2, 1, 5, 16},   {{1, 7, 260}, 4, 2, 16, 48},       {{130, 31, 40}, 7, 1, 64, 16},
    {{33, 200}, 9, 1, 80, 16},           {{97, 257}, 4, 2, 128, 16},        {{300, 66}, 2, 1, 192, 7},
    {{129, 1}, 3, 1, 256, 16},           {{300, 5}, 2, 2, 8, 16, 100},      {{300, 128, 129}, 2, 1, 64, 16, 128},
    {{290, 390, 3}, 2, 1, 13, 16, 130},  {{260, 200}, 2, 2, 72, 1, 1},      {{520}, 1, 1, 200, 16, 257},
    {{200, 100, 2}, 8, 1, 64, 16, 0, 4}, {{200, 100, 2}, 2, 1, 6, 3, 0, 9},
};

TYPED_TEST(SimtDecodeAttention, EqualsCpu) {
  using T = TypeParam;
  for (const Sizes& sizes : all_sizes) {
    SCOPED_TRACE("head_dim " + std::to_string(sizes.head_dim) + ", heads " + std::to_string(sizes.heads));
    const Problem<T> problem{sizes};
    const std::vector<T> expected = problem.decode_on_cpu();
    const double growth = sizes.scale > 1 ? 1024 : 128;
    for (const uint64_t seed : {1, 2, 3}) {
      set_schedule(seed, seed == 3 ? 61 : 0);
      expect_close(problem.decode_on_gpu(0, problem.sequences), widen(expected), growth);
    }
  }
}

/// Not in 16-byte packs, and so in bfloat16 not on tensor cores.
TYPED_TEST(SimtDecodeAttention, UnalignedPointersEqualCpu) {
  using T = TypeParam;
  const Problem<T> problem{{{1, 128, 200}, 8, 2, 64, 16}};
  const std::vector<T> expected = problem.decode_on_cpu();
  this->for_each_schedule([&] { expect_close(problem.decode_on_gpu(0, 3, 1), widen(expected), 128); });
}

/// More splits than the combining kernel has threads.
TYPED_TEST(SimtDecodeAttention, LongSequencesEqualCpu) {
  using T = TypeParam;
  for (const int64_t head_dim : {2, 8}) {
    const Problem<T> problem{{{16700, 90}, 1, 1, head_dim, 16, 0, 1.0F}};
    set_schedule(1);
    expect_close(problem.decode_on_gpu(0, 2), widen(problem.decode_on_cpu()), 512);
  }
}

TYPED_TEST(SimtDecodeAttention, SequencesDoNotDependOnEachOther) {
  using T = TypeParam;
  for (const int64_t head_dim : {16, 6}) {
    const Problem<T> problem{{{300, 3, 129}, 6, 2, head_dim, 16}};
    set_schedule(1);
    const std::vector<T> all = problem.decode_on_gpu(0, 3);
    for (int64_t i = 0; i < 3; ++i) {
      const auto begin = all.begin() + i * problem.out_stride;
      EXPECT_TRUE(same_bits(problem.decode_on_gpu(i, 1), std::vector<T>(begin, begin + problem.out_stride)));
    }
  }
}

TYPED_TEST(SimtDecodeAttention, NothingToDoLaunchesNothing) {
  using T = TypeParam;
  EXPECT_NO_THROW((kv_cache_append<Cuda, T>(gpu, {})));
  EXPECT_NO_THROW((decode_attention<Cuda, T>(gpu, {})));
}

}  // namespace
}  // namespace subspect::kernels::test
