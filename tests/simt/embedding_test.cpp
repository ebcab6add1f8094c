// The embedding kernels, run by the shim, against the CPU kernels.
#include "kernels/embedding.h"

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

SIMT_SUITE(SimtEmbedding);

TYPED_TEST(SimtEmbedding, ForwardEqualsCpu) {
  using T = TypeParam;
  for (const int64_t dim : {1, 24, 131}) {
    const std::vector<T> table = random_values<T>(50 * dim, 1);
    const std::vector<int32_t> ids = random_ids(77, 50, 2);
    std::vector<T> y(static_cast<size_t>(77 * dim));
    embedding_forward<Cpu, T>(context(), {table.data(), ids.data(), y.data(), 77, 50, dim});
    this->for_each_schedule([&] {
      const DeviceBuffer<T> d_table(table), d_y(y.size());
      const DeviceBuffer<int32_t> d_ids(ids);
      embedding_forward<Cuda, T>(gpu, {d_table.data(), d_ids.data(), d_y.data(), 77, 50, dim});
      expect_same(d_y, y);
    });
  }
}

template <class T>
void expect_embedding_backward(int64_t tokens, int64_t vocab, int64_t dim) {
  SCOPED_TRACE(std::to_string(tokens) + " tokens of " + std::to_string(vocab));
  const std::vector<T> dy = random_values<T>(tokens * dim, 1);
  const std::vector<int32_t> ids = random_ids(tokens, vocab, 2);
  const std::vector<float> before = random_values<float>(vocab * dim, 3);
  std::vector<float> expected = before;
  EmbeddingBackwardParams<T> p{dy.data(), ids.data(), expected.data(), tokens, vocab, dim};
  const Workspace workspace(embedding_backward_workspace_bytes<Cpu>(p));
  p.workspace = workspace.get();
  embedding_backward(context(), p);
  for (const uint64_t seed : {1, 2, 3}) {
    set_schedule(seed, seed == 3 ? 101 : 0);
    const DeviceBuffer<T> d_dy(dy);
    const DeviceBuffer<int32_t> d_ids(ids);
    const DeviceBuffer<float> d_table(before);
    EmbeddingBackwardParams<T> q{d_dy.data(), d_ids.data(), d_table.data(), tokens, vocab, dim};
    const DeviceBuffer<std::byte> scratch(static_cast<size_t>(embedding_backward_workspace_bytes<Cuda>(q)));
    q.workspace = scratch.data();
    embedding_backward(gpu, q);
    expect_same(d_table, expected);
  }
}

TYPED_TEST(SimtEmbedding, BackwardHasTheBitsOfTheCpu) {
  expect_embedding_backward<TypeParam>(1, 1, 1);
  expect_embedding_backward<TypeParam>(77, 20, 24);
  expect_embedding_backward<TypeParam>(300, 3, 131);
}

TYPED_TEST(SimtEmbedding, BackwardLinksTokensAcrossBlocks) {
  expect_embedding_backward<TypeParam>(700, 500, 5);
  expect_embedding_backward<TypeParam>(512, 1, 3);
  expect_embedding_backward<TypeParam>(257, 100000, 2);
}

}  // namespace
}  // namespace subspect::kernels::test
