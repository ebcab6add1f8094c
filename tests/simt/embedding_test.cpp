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

/// The gradient by both devices, of these ids.
template <class T>
void expect_embedding_backward(const std::vector<int32_t>& ids, int64_t vocab, int64_t dim) {
  const auto tokens = static_cast<int64_t>(ids.size());
  SCOPED_TRACE(std::to_string(tokens) + " tokens of " + std::to_string(vocab));
  const std::vector<T> dy = random_values<T>(tokens * dim, 1);
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

template <class T>
void expect_embedding_backward(int64_t tokens, int64_t vocab, int64_t dim) {
  expect_embedding_backward<T>(random_ids(tokens, vocab, 2), vocab, dim);
}

TYPED_TEST(SimtEmbedding, BackwardHasTheBitsOfTheCpu) {
  expect_embedding_backward<TypeParam>(1, 1, 1);
  expect_embedding_backward<TypeParam>(77, 20, 24);
  expect_embedding_backward<TypeParam>(300, 3, 131);
  expect_embedding_backward<TypeParam>(90, 30, 260);  // several tiles of aligned columns
}

TYPED_TEST(SimtEmbedding, BackwardSortsIdsOfOneTwoAndThreeDigits) {
  expect_embedding_backward<TypeParam>(700, 256, 5);
  expect_embedding_backward<TypeParam>(700, 511, 4);
  expect_embedding_backward<TypeParam>(700, 65536, 2);
  expect_embedding_backward<TypeParam>(257, 152064, 1);
}

TYPED_TEST(SimtEmbedding, BackwardTellsIdsApartByEachDigit) {
  std::vector<int32_t> ids;
  for (int i = 0; i < 260; ++i) {
    for (const int32_t id : {0x10203, 0x10302, 0x20103, 0x20301, 0x3, 0x203, 0x20003, 0x10203}) ids.push_back(id);
  }
  expect_embedding_backward<TypeParam>(ids, 0x20400, 1);
}

/// More tokens than a block sorts, so that offsets run over blocks; long runs of one id among rare ones.
TYPED_TEST(SimtEmbedding, BackwardKeepsTokenOrderAcrossBlocks) {
  expect_embedding_backward<TypeParam>(std::vector<int32_t>(4500, 2), 3, 1);
  expect_embedding_backward<TypeParam>(std::vector<int32_t>(50, 0), 300, 1);
  std::vector<int32_t> ids = random_ids(4700, 900, 5);
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i % 3 != 0) ids[i] = i % 2 == 0 ? 257 : 899;
  }
  expect_embedding_backward<TypeParam>(ids, 900, 3);
}

/// Runs that end before, at and behind the 32 tokens that a warp reads at a time, one after another.
TYPED_TEST(SimtEmbedding, BackwardSumsRunsOfEveryLength) {
  std::vector<int32_t> ids;
  const int lengths[] = {31, 1, 32, 33, 2, 3, 4, 5, 63, 64, 65, 1, 1, 96};
  int32_t id = 0;
  for (const int length : lengths) ids.insert(ids.end(), static_cast<size_t>(length), id++);
  expect_embedding_backward<TypeParam>(ids, id, 8);
  std::vector<int32_t> mixed(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) mixed[i] = ids[i * 101 % ids.size()];
  expect_embedding_backward<TypeParam>(mixed, id, 8);
}

TYPED_TEST(SimtEmbedding, BackwardKeepsNegativeZero) {
  using T = TypeParam;
  const DeviceBuffer<T> dy(std::vector<T>(4, from_float<T>(-0.0F)));
  const DeviceBuffer<int32_t> ids(std::vector<int32_t>{1});
  const DeviceBuffer<float> table(std::vector<float>(8, -0.0F));
  EmbeddingBackwardParams<T> p{dy.data(), ids.data(), table.data(), 1, 2, 4};
  const DeviceBuffer<std::byte> scratch(static_cast<size_t>(embedding_backward_workspace_bytes<Cuda>(p)));
  p.workspace = scratch.data();
  embedding_backward(gpu, p);
  expect_same(table, std::vector<float>(8, -0.0F));
}

/// Columns that would divide into wide accesses, if the rows began where these may.
TYPED_TEST(SimtEmbedding, BackwardTakesUnalignedRows) {
  using T = TypeParam;
  constexpr int64_t tokens = 40, vocab = 6, dim = 12;
  const std::vector<T> dy = random_values<T>(tokens * dim + 1, 1);
  const std::vector<int32_t> ids = random_ids(tokens, vocab, 2);
  set_schedule(1);
  for (const int64_t skip_dy : {0, 1}) {
    const int64_t skip_table = 1 - skip_dy;
    std::vector<float> expected(static_cast<size_t>(vocab * dim + 1));
    EmbeddingBackwardParams<T> p{dy.data() + skip_dy, ids.data(), expected.data() + skip_table, tokens, vocab, dim};
    const Workspace workspace(embedding_backward_workspace_bytes<Cpu>(p));
    p.workspace = workspace.get();
    embedding_backward(context(), p);
    const DeviceBuffer<T> d_dy(dy);
    const DeviceBuffer<int32_t> d_ids(ids);
    const DeviceBuffer<float> d_table(std::vector<float>(expected.size()));
    EmbeddingBackwardParams<T> q{d_dy.data() + skip_dy, d_ids.data(), d_table.data() + skip_table, tokens, vocab, dim};
    const DeviceBuffer<std::byte> scratch(static_cast<size_t>(embedding_backward_workspace_bytes<Cuda>(q)));
    q.workspace = scratch.data();
    embedding_backward(gpu, q);
    expect_same(d_table, expected);
  }
}

TYPED_TEST(SimtEmbedding, NoTokensLaunchNothing) {
  EXPECT_NO_THROW((embedding_forward<Cuda, TypeParam>(gpu, {nullptr, nullptr, nullptr, 0, 5, 8})));
  EXPECT_NO_THROW((embedding_backward<Cuda, TypeParam>(gpu, {nullptr, nullptr, nullptr, 0, 5, 8})));
}

}  // namespace
}  // namespace subspect::kernels::test
