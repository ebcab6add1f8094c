// Generation: the paged cache, decode attention, products with few rows, and the choice of tokens.
#include "bench/simt/inputs.h"
#include "kernels/cuda/matvec.h"
#include "kernels/paged_attention.h"
#include "kernels/sampling.h"

namespace subspect::bench {
namespace {

using namespace kernels;

constexpr int64_t page_size = 16;
constexpr int64_t d = 128;
constexpr int64_t vocab = 32768;

CostSizes cache_sizes(int64_t tokens, int64_t kv_heads) {
  return {.rows = real(tokens), .kv_heads = real(kv_heads), .head_dim = real(d), .element = sizeof(bfloat16)};
}

void append(int64_t tokens, int64_t kv_heads) {
  const int64_t width = 2 * kv_heads * d;
  const auto kv = normal<bfloat16>(tokens * width, 1);
  const auto slots = counting<int32_t>(tokens, static_cast<int32_t>(tokens - 1), -1);
  const auto k_cache = unwritten<bfloat16>(tokens * kv_heads * d);
  const auto v_cache = unwritten<bfloat16>(tokens * kv_heads * d);
  kv_cache_append(gpu, KvCacheAppendParams<bfloat16>{kv.data(), kv.data() + kv_heads * d, width, width, slots.data(),
                                                     k_cache.data(), v_cache.data(), tokens, kv_heads, d});
}

struct DecodeShape {
  int64_t sequences;
  int64_t length;
  int64_t heads;
  int64_t kv_heads;
};

CostSizes decode_sizes(const DecodeShape& s, size_t element) {
  return {.rows = real(s.sequences),
          .heads = real(s.heads),
          .kv_heads = real(s.kv_heads),
          .head_dim = real(d),
          .pairs = real(s.sequences * s.length),
          .element = static_cast<double>(element)};
}

/// Pages lie in the cache in reverse.
template <class T>
void decode(const DecodeShape& s) {
  const int64_t pages = s.length / page_size;
  const auto q = normal<T>(s.sequences * s.heads * d, 1);
  const auto k = normal<T>(s.sequences * s.length * s.kv_heads * d, 2);
  const auto v = normal<T>(s.sequences * s.length * s.kv_heads * d, 3);
  const auto table = counting<int32_t>(s.sequences * pages, static_cast<int32_t>(s.sequences * pages - 1), -1);
  const DeviceBuffer<int32_t> lengths(
      std::vector<int32_t>(static_cast<size_t>(s.sequences), static_cast<int32_t>(s.length)));
  const auto out = unwritten<T>(s.sequences * s.heads * d);
  DecodeAttentionParams<T> p{.q = q.data(),
                             .q_stride = s.heads * d,
                             .k_cache = k.data(),
                             .v_cache = v.data(),
                             .page_table = table.data(),
                             .lengths = lengths.data(),
                             .out = out.data(),
                             .out_stride = s.heads * d,
                             .sequences = s.sequences,
                             .max_pages = pages,
                             .page_size = page_size,
                             .heads = s.heads,
                             .kv_heads = s.kv_heads,
                             .head_dim = d,
                             .scale = 0.1F};
  const auto workspace = unwritten<std::byte>(decode_attention_workspace_bytes<Cuda>(p));
  p.workspace = workspace.data();
  decode_attention(gpu, p);
}

CostSizes product_sizes(int64_t rows, int64_t in, int64_t out) {
  return {.rows = real(rows), .cols = real(in), .out = real(out), .element = sizeof(bfloat16)};
}

void product(int64_t rows, int64_t in, int64_t out) {
  const auto x = normal<bfloat16>(rows * in, 1);
  const auto weight = normal<bfloat16>(out * in, 2);
  const auto y = unwritten<bfloat16>(rows * out);
  gpu::matvec<bfloat16, bfloat16>(nullptr, {x.data(), weight.data(), nullptr, y.data(), rows, in, out});
}

CostSizes score_sizes(int64_t rows, int64_t out) {
  return {.rows = real(rows), .out = real(out), .element = sizeof(float)};
}

void greatest(int64_t rows) {
  const auto logits = normal<float>(rows * vocab, 1);
  const auto ids = unwritten<int32_t>(rows);
  argmax(gpu, logits.data(), ids.data(), rows, vocab);
}

void draw(int64_t rows, int64_t top_k, float top_p) {
  const auto logits = normal<float>(rows * vocab, 1, 3.0F);
  const DeviceBuffer<float> uniform(std::vector<float>(static_cast<size_t>(rows), 0.4F));
  const auto ids = unwritten<int32_t>(rows);
  SampleParams p{logits.data(), uniform.data(), ids.data(), rows, vocab, 0.8F, top_k, top_p, nullptr};
  const auto workspace = unwritten<std::byte>(sample_workspace_bytes<Cuda>(p));
  p.workspace = workspace.data();
  sample(gpu, p);
}

/// A number for each token, read and, once, written: single elements, each in a sector of its own.
KernelCost penalty_cost(const CostSizes& s) {
  return {12 * s.rows * s.cols, s.rows * s.cols};
}

void penalise(int64_t rows, int64_t tokens) {
  const auto logits = normal<float>(rows * vocab, 1);
  const auto ids = random_ids(rows * tokens, vocab, 2);
  const auto offsets = counting<int64_t>(rows + 1, 0, tokens);
  repetition_penalty(gpu, RepetitionPenaltyParams{logits.data(), ids.data(), offsets.data(), rows, vocab, 1.2F});
}

}  // namespace

std::vector<Case> generation_cases() {
  const std::string b16 = "bfloat16";
  const std::string f32 = "float32";
  const DecodeShape decoded{2, 1024, 14, 2};
  const DecodeShape all_decoded{64, 4096, 28, 4};
  return {
      registered("kv_cache_append", "", b16, cache_sizes(256, 4), cache_sizes(8192, 4), [] { append(256, 4); }),
      registered("decode_attention", "7 heads a key", b16, decode_sizes(decoded, 2), decode_sizes(all_decoded, 2),
                 [decoded] { decode<bfloat16>(decoded); }),
      registered("decode_attention", "7 heads a key", f32, decode_sizes(decoded, 4), decode_sizes(all_decoded, 4),
                 [decoded] { decode<float>(decoded); }),
      registered("linear_forward", "1 row", b16, product_sizes(1, 3584, 256), product_sizes(1, 3584, 18944),
                 [] { product(1, 3584, 256); }),
      registered("linear_forward", "8 rows", b16, product_sizes(8, 3584, 256), product_sizes(8, 3584, 18944),
                 [] { product(8, 3584, 256); }),
      registered("argmax", "", f32, score_sizes(8, vocab), score_sizes(64, 151936), [] { greatest(8); }),
      registered("sample", "all", f32, score_sizes(4, vocab), score_sizes(64, 151936), [] { draw(4, 0, 1.0F); }),
      registered("sample", "top 50, 0.9", f32, score_sizes(4, vocab), score_sizes(64, 151936),
                 [] { draw(4, 50, 0.9F); }),
      unregistered("repetition_penalty", f32, {.rows = 4, .cols = 1024}, {.rows = 64, .cols = 1024}, penalty_cost,
                   [] { penalise(4, 1024); }),
  };
}

}  // namespace subspect::bench
