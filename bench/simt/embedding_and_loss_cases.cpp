// The embedding, the rows of tokens that count, and the loss over a vocabulary: Qwen2.5's sizes.
#include "bench/simt/inputs.h"
#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/token_rows.h"
#include "kernels/embedding.h"

namespace subspect::bench {
namespace {

using namespace kernels;

constexpr CUstream_st* stream = nullptr;
constexpr int64_t dim = 896;
constexpr int64_t vocab = 32768;

CostSizes matrix(int64_t rows, int64_t cols, size_t element) {
  return {.rows = real(rows), .cols = real(cols), .element = static_cast<double>(element)};
}

/// Every token another id: then no row of the table is read or written twice.
void embed(int64_t tokens) {
  const auto table = normal<bfloat16>(tokens * dim, 1);
  const auto ids = counting<int32_t>(tokens, static_cast<int32_t>(tokens - 1), -1);
  const auto y = unwritten<bfloat16>(tokens * dim);
  embedding_forward(gpu, EmbeddingForwardParams<bfloat16>{table.data(), ids.data(), y.data(), tokens, tokens, dim});
}

void embed_backward(int64_t tokens) {
  const auto dy = normal<bfloat16>(tokens * dim, 1);
  const auto ids = counting<int32_t>(tokens, static_cast<int32_t>(tokens - 1), -1);
  const auto dtable = zeros<float>(tokens * dim);
  EmbeddingBackwardParams<bfloat16> p{dy.data(), ids.data(), dtable.data(), tokens, tokens, dim};
  const auto workspace = unwritten<std::byte>(embedding_backward_workspace_bytes<Cuda>(p));
  p.workspace = workspace.data();
  embedding_backward(gpu, p);
}

KernelCost forward_cost(const CostSizes& s) {
  return {4 * s.rows * s.out, 4 * s.rows * s.out};
}
/// The gradient takes the place of the scores; a row does not stay in registers, but in a cache.
KernelCost backward_cost(const CostSizes& s) {
  return {(4 + s.element) * s.rows * s.out, 6 * s.rows * s.out};
}

CostSizes score_sizes(int64_t rows, int64_t out) {
  return {.rows = real(rows), .out = real(out), .element = sizeof(bfloat16)};
}

void cross_entropy(int64_t rows, bool backward) {
  const auto scores = normal<float>(rows * vocab, 1);
  const auto targets = random_ids(rows, vocab, 2);
  const auto log_p = unwritten<float>(rows);
  const gpu::CrossEntropyRows p{scores.data(), targets.data(), log_p.data(), rows, vocab, vocab, 1.0F};
  if (backward) {
    gpu::cross_entropy_backward<bfloat16>(stream, p);
  } else {
    gpu::cross_entropy_forward(stream, p);
  }
}

KernelCost token_cost(const CostSizes& s) {
  return {8 * s.rows, s.rows};
}

void sum_of_losses(int64_t tokens) {
  const auto log_p = normal<float>(tokens, 1);
  const auto targets = random_ids(tokens, vocab, 2);
  const auto loss = unwritten<double>(1);
  const auto count = unwritten<int64_t>(1);
  gpu::sum_losses(stream, {log_p.data(), targets.data(), loss.data(), count.data(), tokens});
}

void index_tokens(int64_t tokens) {
  const auto targets = random_ids(tokens, vocab, 2);
  const auto indices = unwritten<int32_t>(tokens);
  gpu::index_counted(stream, targets.data(), tokens, indices.data(), tokens);
}

void gather_token_targets(int64_t tokens) {
  const auto targets = random_ids(tokens, vocab, 2);
  const auto indices = counting<int32_t>(tokens);
  const auto gathered = unwritten<int32_t>(tokens);
  gpu::gather_targets(stream, targets.data(), indices.data(), gathered.data(), tokens);
}
KernelCost gather_targets_cost(const CostSizes& s) {
  return {12 * s.rows, 0};
}

KernelCost move_cost(const CostSizes& s) {
  return {2 * s.rows * s.cols * s.element, 0};
}
KernelCost clear_cost(const CostSizes& s) {
  return {s.rows * s.cols * s.element, 0};
}

enum class Move { gather, scatter, clear };

/// Every second of 2 `count` tokens counts; for clearing, none of them.
void move_rows(int64_t count, Move move) {
  const auto all = normal<bfloat16>(2 * count * dim, 1);
  const auto rows = normal<bfloat16>(count * dim, 2);
  const auto indices = counting<int32_t>(count, 0, 2);
  const auto targets = counting<int32_t>(count, -1, 0);
  switch (move) {
    case Move::gather:
      return gpu::gather_rows(stream, all.data(), indices.data(), rows.data(), count, dim);
    case Move::scatter:
      return gpu::scatter_rows(stream, rows.data(), indices.data(), all.data(), count, dim);
    case Move::clear:
      return gpu::clear_ignored_rows(stream, targets.data(), rows.data(), count, dim);
  }
}

}  // namespace

std::vector<Case> embedding_and_loss_cases() {
  const std::string b16 = "bfloat16";
  const std::string f32 = "float32";
  const CostSizes few = matrix(512, dim, sizeof(bfloat16));
  const CostSizes all = matrix(8192, dim, sizeof(bfloat16));
  const CostSizes tokens = matrix(8192, 1, sizeof(float));
  return {
      registered("embedding_forward", "", b16, few, all, [] { embed(512); }),
      registered("embedding_backward", "", b16, few, all, [] { embed_backward(512); }),
      unregistered("cross_entropy_forward", f32, score_sizes(8, vocab), score_sizes(2048, 151936), forward_cost,
                   [] { cross_entropy(8, false); }),
      unregistered("cross_entropy_backward", b16, score_sizes(8, vocab), score_sizes(2048, 151936), backward_cost,
                   [] { cross_entropy(8, true); }),
      unregistered("sum_losses", f32, tokens, tokens, token_cost, [] { sum_of_losses(8192); }),
      unregistered("index_counted", f32, tokens, tokens, token_cost, [] { index_tokens(8192); }),
      unregistered("gather_targets", f32, tokens, tokens, gather_targets_cost, [] { gather_token_targets(8192); }),
      unregistered("gather_rows", b16, few, all, move_cost, [] { move_rows(512, Move::gather); }),
      unregistered("scatter_rows", b16, few, all, move_cost, [] { move_rows(512, Move::scatter); }),
      unregistered("clear_ignored_rows", b16, few, all, clear_cost, [] { move_rows(512, Move::clear); }),
  };
}

}  // namespace subspect::bench
