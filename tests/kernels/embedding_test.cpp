// Embedding lookup and its scatter-add.
#include "kernels/embedding.h"

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

template <class T>
class EmbeddingTest : public ::testing::Test {};
TYPED_TEST_SUITE(EmbeddingTest, StorageTypes, StorageNames);

template <class T>
std::vector<float> gradient(Context<Cpu> on, const std::vector<T>& dy, const std::vector<int32_t>& ids, int64_t vocab,
                            int64_t dim, float start) {
  std::vector<float> dtable(static_cast<size_t>(vocab * dim), start);
  EmbeddingBackwardParams<T> p{dy.data(), ids.data(), dtable.data(), static_cast<int64_t>(ids.size()), vocab, dim};
  const Workspace workspace(embedding_backward_workspace_bytes<Cpu>(p));
  p.workspace = workspace.get();
  embedding_backward(on, p);
  return dtable;
}

TYPED_TEST(EmbeddingTest, ForwardCopiesRows) {
  for (const int64_t dim : {1, 7, 64}) {
    const auto table = random_values<TypeParam>(13 * dim, 1);
    const auto ids = random_ids(41, 13, 2);
    std::vector<TypeParam> y(static_cast<size_t>(41 * dim));
    embedding_forward(context(), EmbeddingForwardParams<TypeParam>{table.data(), ids.data(), y.data(), 41, 13, dim});
    for (int64_t t = 0; t < 41; ++t) {
      for (int64_t j = 0; j < dim; ++j) {
        EXPECT_EQ(to_float(y[static_cast<size_t>(t * dim + j)]),
                  to_float(table[static_cast<size_t>(ids[static_cast<size_t>(t)] * dim + j)]));
      }
    }
  }
}

TYPED_TEST(EmbeddingTest, BackwardAddsToTheRows) {
  for (const int64_t tokens : {1, 5, 2003}) {
    for (const int64_t vocab : {1, 3, 301}) {
      const int64_t dim = 19;
      const auto dy = random_values<TypeParam>(tokens * dim, 3);
      const auto ids = random_ids(tokens, vocab, 4);
      Doubles expected(static_cast<size_t>(vocab * dim), 0.5);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t j = 0; j < dim; ++j) {
          expected[static_cast<size_t>(ids[static_cast<size_t>(t)] * dim + j)] +=
              static_cast<double>(to_float(dy[static_cast<size_t>(t * dim + j)]));
        }
      }
      expect_close(gradient(context(), dy, ids, vocab, dim, 0.5F), expected, 64);
    }
  }
}

TYPED_TEST(EmbeddingTest, ThreadsDoNotMatter) {
  const auto dy = random_values<TypeParam>(3001 * 33, 5);
  const auto ids = random_ids(3001, 17, 6);
  expect_same_for_all_teams([&](Context<Cpu> on) { return gradient(on, dy, ids, 17, 33, 0.0F); });
}

}  // namespace
}  // namespace subspect::kernels::test
