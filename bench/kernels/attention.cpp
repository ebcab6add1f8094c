// Rotary embedding, attention over packed documents, and the paged cache of generation.
#include "kernels/attention.h"

#include <array>

#include "bench/kernels/bench.h"
#include "kernels/paged_attention.h"
#include "kernels/rotary.h"

namespace subspect::bench {
namespace {

using kernels::Context;

/// Packed query, key and value heads of `tokens` tokens in documents of one length.
struct Heads {
  int64_t tokens, heads, kv_heads, d, width, length;

  explicit Heads(const KernelBench& on, int64_t count)
      : tokens(count),
        heads(on.config.heads),
        kv_heads(on.config.kv_heads),
        d(on.config.head_dim),
        width(on.config.qkv_size()),
        length(std::min<int64_t>(count, 1024)) {}

  std::string shape() const {
    return fmt::format("rows={} heads={} kv_heads={} head_dim={} length={}", tokens, heads, kv_heads, d, length);
  }
  kernels::CostSizes sizes(const KernelBench& on) const {
    return {.rows = static_cast<double>(tokens),
            .heads = static_cast<double>(heads),
            .kv_heads = static_cast<double>(kv_heads),
            .head_dim = static_cast<double>(d),
            .pairs = static_cast<double>(tokens / length) * kernels::causal_pairs(static_cast<double>(length)),
            .element = static_cast<double>(on.element())};
  }
  int64_t key(int64_t kv_head) const { return (heads + kv_head) * d; }
  int64_t value(int64_t kv_head) const { return (heads + kv_heads + kv_head) * d; }
};

/// Positions of documents of one length.
std::vector<int32_t> positions_of(const Heads& h) {
  std::vector<int32_t> positions(static_cast<size_t>(h.tokens));
  for (size_t t = 0; t < positions.size(); ++t) positions[t] = static_cast<int32_t>(t % static_cast<size_t>(h.length));
  return positions;
}

/// One frequency for all pairs; the second half of a head is rotated with the first.
constexpr float frequency = 0.01F;

template <bool forward>
void rotary(const KernelBench& on) {
  const Heads h(on, on.rows_moving(2 * on.config.qkv_size() * on.element()));
  const Tensor x = on.normal({h.tokens, h.width}, 1);
  const Tensor y = on.empty({h.tokens, h.width});
  const std::vector<int32_t> host_positions = positions_of(h);
  const Tensor positions = on.upload(host_positions);
  const Tensor inv_freq = on.upload(std::vector<float>(static_cast<size_t>(h.d / 2), frequency));
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      const kernels::RotaryShape shape{.positions = positions.data<int32_t>(),
                                       .inv_freq = inv_freq.data<float>(),
                                       .tokens = h.tokens,
                                       .heads = h.heads,
                                       .kv_heads = h.kv_heads,
                                       .head_dim = h.d,
                                       .rotary_dim = h.d};
      if constexpr (forward) {
        kernels::rotary_forward<D, T>(context, {.shape = shape, .qkv = x.data<T>(), .out = y.data<T>()});
      } else {
        kernels::rotary_backward<D, T>(context, {.shape = shape, .dout = x.data<T>(), .dqkv = y.data<T>()});
      }
    });
  };
  const auto correct = [&] {
    const double angle = frequency * host_positions.back() * (forward ? 1.0 : -1.0);
    const Values in = on.row(x, h.tokens - 1);
    Values expected = in;  // values pass
    for (int64_t head = 0; head < h.heads + h.kv_heads; ++head) {
      for (int64_t c = 0; c < h.d / 2; ++c) {
        const auto low = static_cast<size_t>(head * h.d + c);
        const auto high = low + static_cast<size_t>(h.d / 2);
        expected[low] = in[low] * std::cos(angle) - in[high] * std::sin(angle);
        expected[high] = in[high] * std::cos(angle) + in[low] * std::sin(angle);
      }
    }
    return on.near(on.row(y, h.tokens - 1), expected);
  };
  on.measure(forward ? "rotary_forward" : "rotary_backward", h.shape(), h.sizes(on), run, correct);
}

/// `count` numbers of a row of heads, from `at`.
std::span<const double> part(const Values& values, int64_t at, int64_t count) {
  return std::span(values).subspan(static_cast<size_t>(at), static_cast<size_t>(count));
}

double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// Softmax of the scaled scores of one query with consecutive keys.
/// @param keys rows of `width` numbers; the keys begin at `at` of each
Values probabilities(std::span<const double> query, const Values& keys, int64_t width, int64_t at, double scale) {
  Values p;
  for (int64_t j = 0; j < static_cast<int64_t>(keys.size()) / width; ++j) {
    p.push_back(scale * dot(query, part(keys, j * width + at, static_cast<int64_t>(query.size()))));
  }
  const double largest = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& value : p) sum += value = std::exp(value - largest);
  for (double& value : p) value /= sum;
  return p;
}

/// The tensors of attention, forward and backward.
struct Attention {
  const KernelBench& on;
  Heads h;
  double scale;
  Tensor qkv, out, dout, dqkv, logsumexp, cu_seqlens, scratch;

  explicit Attention(const KernelBench& bench)
      : on(bench),
        h(bench, bench.tokens),
        scale(1 / std::sqrt(static_cast<double>(h.d))),
        qkv(on.normal({h.tokens, h.width}, 1)),
        out(on.empty({h.tokens, h.heads * h.d})),
        dout(on.normal({h.tokens, h.heads * h.d}, 2)),
        dqkv(on.empty({h.tokens, h.width})),
        logsumexp(on.floats({h.heads, h.tokens})) {
    std::vector<int32_t> ends;
    for (int64_t t = 0; t <= h.tokens; t += h.length) ends.push_back(static_cast<int32_t>(t));
    cu_seqlens = on.upload(ends);
  }

  kernels::AttentionShape shape() const {
    return {.cu_seqlens = cu_seqlens.data<int32_t>(),
            .documents = cu_seqlens.numel() - 1,
            .tokens = h.tokens,
            .max_len = h.length,
            .heads = h.heads,
            .kv_heads = h.kv_heads,
            .head_dim = h.d,
            .scale = static_cast<float>(scale)};
  }

  void forward() {
    on.launch([&]<class D, class T>(Context<D> context) {
      const T* q = qkv.data<T>();
      kernels::attention_forward<D, T>(context, {.shape = shape(),
                                                 .q = q,
                                                 .k = q + h.key(0),
                                                 .v = q + h.value(0),
                                                 .q_stride = h.width,
                                                 .k_stride = h.width,
                                                 .v_stride = h.width,
                                                 .out = out.data<T>(),
                                                 .out_stride = h.heads * h.d,
                                                 .logsumexp = logsumexp.data<float>()});
    });
  }

  void backward() {
    on.launch([&]<class D, class T>(Context<D> context) {
      const T* q = qkv.data<T>();
      T* dq = dqkv.data<T>();
      kernels::AttentionBackwardParams<T> p{.shape = shape(),
                                            .q = q,
                                            .k = q + h.key(0),
                                            .v = q + h.value(0),
                                            .q_stride = h.width,
                                            .k_stride = h.width,
                                            .v_stride = h.width,
                                            .out = out.data<T>(),
                                            .dout = dout.data<T>(),
                                            .out_stride = h.heads * h.d,
                                            .dout_stride = h.heads * h.d,
                                            .logsumexp = logsumexp.data<float>(),
                                            .dq = dq,
                                            .dk = dq + h.key(0),
                                            .dv = dq + h.value(0),
                                            .dq_stride = h.width,
                                            .dk_stride = h.width,
                                            .dv_stride = h.width};
      if (!scratch.defined()) scratch = on.scratch(kernels::attention_backward_workspace_bytes<D, T>(p));
      p.workspace = scratch.raw();
      kernels::attention_backward<D, T>(context, p);
    });
  }

  /// Rows of the last document, whose last query sees all of it.
  Values document(const Tensor& matrix) const { return on.rows(matrix, h.tokens - h.length, h.length); }

  bool forward_is_correct() const {
    const Values rows = document(qkv);
    const int64_t last = (h.length - 1) * h.width;
    const Values p = probabilities(part(rows, last, h.d), rows, h.width, h.key(0), scale);
    Values expected(static_cast<size_t>(h.d));
    for (size_t j = 0; j < p.size(); ++j) {
      const auto v = part(rows, static_cast<int64_t>(j) * h.width + h.value(0), h.d);
      for (size_t c = 0; c < expected.size(); ++c) expected[c] += p[j] * v[c];
    }
    const Values actual = on.row(out, h.tokens - 1);
    return on.near(part(actual, 0, h.d), expected);
  }

  /// The last query's gradient, and that of the last key, which no other query sees: p_j (dp_j - sum p dp) each.
  bool backward_is_correct() const {
    const Values rows = document(qkv);
    const Values d_out = on.row(dout, h.tokens - 1);
    const int64_t last = (h.length - 1) * h.width;
    Values dq(static_cast<size_t>(h.d));
    Values dk(static_cast<size_t>(h.d));
    for (int64_t head = 0; head < h.heads / h.kv_heads; ++head) {
      const auto query = part(rows, last + head * h.d, h.d);
      const Values p = probabilities(query, rows, h.width, h.key(0), scale);
      Values dp;
      for (int64_t j = 0; j < h.length; ++j) {
        dp.push_back(dot(part(d_out, head * h.d, h.d), part(rows, j * h.width + h.value(0), h.d)));
      }
      const double mean = inner(p, dp);
      for (size_t j = 0; head == 0 && j < p.size(); ++j) {
        const auto k = part(rows, static_cast<int64_t>(j) * h.width + h.key(0), h.d);
        for (size_t c = 0; c < dq.size(); ++c) dq[c] += scale * p[j] * (dp[j] - mean) * k[c];
      }
      for (size_t c = 0; c < dk.size(); ++c) dk[c] += scale * p.back() * (dp.back() - mean) * query[c];
    }
    const Values actual = on.row(dqkv, h.tokens - 1);
    return on.near(part(actual, 0, h.d), dq) && on.near(part(actual, h.key(0), h.d), dk);
  }
};

void attention_forward(const KernelBench& on) {
  Attention a(on);
  on.measure(
      "attention_forward", a.h.shape(), a.h.sizes(on), [&] { a.forward(); }, [&] { return a.forward_is_correct(); });
}

void attention_backward(const KernelBench& on) {
  Attention a(on);
  a.forward();
  on.measure(
      "attention_backward", a.h.shape(), a.h.sizes(on), [&] { a.backward(); }, [&] { return a.backward_is_correct(); });
}

void kv_cache_append(const KernelBench& on) {
  const Heads h(on, on.rows_moving(4 * on.config.kv_size() * on.element()));
  const Tensor qkv = on.normal({h.tokens, h.width}, 1);
  const Tensor keys = on.empty({h.tokens, h.kv_heads * h.d});
  const Tensor values = on.empty({h.tokens, h.kv_heads * h.d});
  std::vector<int32_t> slots(static_cast<size_t>(h.tokens));
  std::iota(slots.rbegin(), slots.rend(), 0);
  const Tensor device_slots = on.upload(slots);
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::kv_cache_append<D, T>(context, {.k = qkv.data<T>() + h.key(0),
                                               .v = qkv.data<T>() + h.value(0),
                                               .k_stride = h.width,
                                               .v_stride = h.width,
                                               .slots = device_slots.data<int32_t>(),
                                               .k_cache = keys.data<T>(),
                                               .v_cache = values.data<T>(),
                                               .tokens = h.tokens,
                                               .kv_heads = h.kv_heads,
                                               .head_dim = h.d});
    });
  };
  const auto correct = [&] {
    const Values first = on.row(qkv, 0);
    const int64_t width = h.kv_heads * h.d;
    return std::ranges::equal(on.row(keys, h.tokens - 1), part(first, h.key(0), width)) &&
           std::ranges::equal(on.row(values, h.tokens - 1), part(first, h.value(0), width));
  };
  on.measure("kv_cache_append", h.shape(), h.sizes(on), run, correct);
}

/// 64 sequences of 1024 cached tokens each, in pages of 16.
void decode_attention(const KernelBench& on) {
  constexpr int64_t page_size = 16;
  const int64_t sequences = on.session.quick() ? 2 : 64;
  const int64_t length = on.session.quick() ? 32 : 1024;
  const Heads h(on, sequences);
  const int64_t kv_width = h.kv_heads * h.d;
  const int64_t pages = length / page_size;
  const double scale = 1 / std::sqrt(static_cast<double>(h.d));
  const Tensor q = on.normal({sequences, h.heads * h.d}, 1);
  const Tensor keys = on.normal({sequences * length, kv_width}, 2);
  const Tensor values = on.normal({sequences * length, kv_width}, 3);
  const Tensor out = on.empty({sequences, h.heads * h.d});
  std::vector<int32_t> table(static_cast<size_t>(sequences * pages));
  std::iota(table.begin(), table.end(), 0);
  const Tensor page_table = on.upload(table);
  const Tensor lengths = on.upload(std::vector<int32_t>(static_cast<size_t>(sequences), static_cast<int32_t>(length)));
  Tensor scratch;
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::DecodeAttentionParams<T> p{.q = q.data<T>(),
                                          .q_stride = h.heads * h.d,
                                          .k_cache = keys.data<T>(),
                                          .v_cache = values.data<T>(),
                                          .page_table = page_table.data<int32_t>(),
                                          .lengths = lengths.data<int32_t>(),
                                          .out = out.data<T>(),
                                          .out_stride = h.heads * h.d,
                                          .sequences = sequences,
                                          .max_pages = pages,
                                          .page_size = page_size,
                                          .heads = h.heads,
                                          .kv_heads = h.kv_heads,
                                          .head_dim = h.d,
                                          .scale = static_cast<float>(scale)};
      if (!scratch.defined()) scratch = on.scratch(kernels::decode_attention_workspace_bytes<D, T>(p));
      p.workspace = scratch.raw();
      kernels::decode_attention<D, T>(context, p);
    });
  };
  const auto correct = [&] {
    const Values query = on.row(q, sequences - 1);
    const Values p =
        probabilities(part(query, 0, h.d), on.rows(keys, (sequences - 1) * length, length), kv_width, 0, scale);
    const Values v = on.rows(values, (sequences - 1) * length, length);
    Values expected(static_cast<size_t>(h.d));
    for (size_t j = 0; j < p.size(); ++j) {
      for (size_t c = 0; c < expected.size(); ++c) expected[c] += p[j] * v[j * static_cast<size_t>(kv_width) + c];
    }
    const Values actual = on.row(out, sequences - 1);
    return on.near(part(actual, 0, h.d), expected);
  };
  kernels::CostSizes sizes = h.sizes(on);
  sizes.pairs = static_cast<double>(sequences * length);
  on.measure(
      "decode_attention",
      fmt::format("rows={} heads={} kv_heads={} head_dim={} length={}", sequences, h.heads, h.kv_heads, h.d, length),
      sizes, run, correct);
}

constexpr std::array cases = {
    KernelCase{"rotary_forward", rotary<true>},         KernelCase{"rotary_backward", rotary<false>},
    KernelCase{"attention_forward", attention_forward}, KernelCase{"attention_backward", attention_backward},
    KernelCase{"kv_cache_append", kv_cache_append},     KernelCase{"decode_attention", decode_attention},
};

}  // namespace

std::span<const KernelCase> attention_cases() {
  return cases;
}

}  // namespace subspect::bench
