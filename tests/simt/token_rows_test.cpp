// Gathering the tokens that count and scattering their rows, against the definitions.
#include "kernels/cuda/token_rows.h"

#include "kernels/linear_cross_entropy.h"
#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

/// Three of seven tokens count; the first or the last among them, or not, with the number of tokens.
std::vector<int32_t> make_targets(int64_t tokens) {
  std::vector<int32_t> targets(static_cast<size_t>(tokens));
  for (size_t t = 0; t < targets.size(); ++t) {
    targets[t] = t % 7 == 0 || t % 7 == 3 || t % 7 == 4 ? static_cast<int32_t>(t % 5) : (t % 2 == 0 ? -1 : -100);
  }
  return targets;
}

std::vector<int32_t> counted(const std::vector<int32_t>& targets) {
  std::vector<int32_t> indices;
  for (size_t t = 0; t < targets.size(); ++t) {
    if (targets[t] >= 0) indices.push_back(static_cast<int32_t>(t));
  }
  return indices;
}

class SimtTokenIndices : public SimtCase {};

std::vector<int32_t> indices_on_gpu(const std::vector<int32_t>& targets, size_t wanted) {
  const DeviceBuffer<int32_t> d_targets(targets), indices(wanted);
  kernels::gpu::index_counted(nullptr, d_targets.data(), static_cast<int64_t>(targets.size()), indices.data(),
                              static_cast<int64_t>(wanted));
  return indices.values();
}

TEST_F(SimtTokenIndices, AreThoseThatCountInOrder) {
  for (const int64_t tokens : {1, 2, 6, 1024, 1025, 2600}) {
    const std::vector<int32_t> targets = make_targets(tokens);
    const std::vector<int32_t> expected = counted(targets);
    for_each_schedule([&] { EXPECT_EQ(indices_on_gpu(targets, expected.size()), expected); });
  }
}

TEST_F(SimtTokenIndices, WrongNumbersStayWithinTheBuffer) {
  const std::vector<int32_t> targets = make_targets(1500);
  std::vector<int32_t> expected = counted(targets);
  set_schedule(1);
  for (const size_t missing : {1, 100}) {
    const std::vector<int32_t> fewer(expected.begin(), expected.end() - static_cast<int64_t>(missing));
    EXPECT_EQ(indices_on_gpu(targets, fewer.size()), fewer);
  }
  const size_t count = expected.size();
  expected.resize(count + 1100, -1);
  EXPECT_EQ(indices_on_gpu(targets, expected.size()), expected);
  EXPECT_NO_THROW(kernels::gpu::index_counted(nullptr, nullptr, 0, nullptr, 0));
}

TEST_F(SimtTokenIndices, GatherTargets) {
  for (const int64_t tokens : {3, 300, 1000}) {
    const std::vector<int32_t> targets = make_targets(tokens);
    std::vector<int32_t> indices = counted(targets);
    std::vector<int32_t> expected;
    for (const int32_t index : indices) expected.push_back(targets[static_cast<size_t>(index)]);
    indices.push_back(-1);
    expected.push_back(-1);
    for_each_schedule([&] {
      const DeviceBuffer<int32_t> d_targets(targets), d_indices(indices), gathered(indices.size());
      kernels::gpu::gather_targets(nullptr, d_targets.data(), d_indices.data(), gathered.data(),
                                   static_cast<int64_t>(indices.size()));
      expect_same(gathered, expected);
    });
  }
}

SIMT_SUITE(SimtTokenRows);

/// Columns: of one tile and several, of whole loads and not; buffers that begin between loads.
template <class T>
struct RowsCase {
  int64_t tokens;
  int64_t cols;
  int64_t offset = 0;
  std::vector<int32_t> targets = make_targets(tokens);
  std::vector<int32_t> indices = counted(targets);
  std::vector<T> all = random_values<T>(tokens * cols + offset, 1);

  RowsCase(int64_t t, int64_t c, int64_t o = 0) : tokens(t), cols(c), offset(o) { indices.push_back(-1); }

  auto count() const { return static_cast<int64_t>(indices.size()); }

  void expect_gathered() const {
    std::vector<T> expected(static_cast<size_t>(count() * cols));
    for (int64_t i = 0; i + 1 < count(); ++i) {
      const int64_t from = indices[static_cast<size_t>(i)] * cols + offset;
      std::copy(all.begin() + from, all.begin() + from + cols, expected.begin() + i * cols);
    }
    const DeviceBuffer<T> d_all(all), rows(expected.size());
    const DeviceBuffer<int32_t> d_indices(indices);
    kernels::gpu::gather_rows<T>(nullptr, d_all.data() + offset, d_indices.data(), rows.data(), count(), cols);
    expect_same(rows, expected);
  }

  void expect_scattered() const {
    const std::vector<T> rows = random_values<T>(count() * cols, 2);
    std::vector<T> expected = all;
    for (int64_t i = 0; i + 1 < count(); ++i) {
      std::copy(rows.begin() + i * cols, rows.begin() + (i + 1) * cols,
                expected.begin() + indices[static_cast<size_t>(i)] * cols + offset);
    }
    const DeviceBuffer<T> d_all(all), d_rows(rows);
    const DeviceBuffer<int32_t> d_indices(indices);
    kernels::gpu::scatter_rows<T>(nullptr, d_rows.data(), d_indices.data(), d_all.data() + offset, count(), cols);
    expect_same(d_all, expected);
  }

  void expect_cleared() const {
    std::vector<T> expected = all;
    for (int64_t t = 0; t < tokens; ++t) {
      if (targets[static_cast<size_t>(t)] >= 0) continue;
      std::fill_n(expected.begin() + t * cols + offset, cols, T{});
    }
    const DeviceBuffer<T> d_all(all);
    const DeviceBuffer<int32_t> d_targets(targets);
    kernels::gpu::clear_ignored_rows<T>(nullptr, d_targets.data(), d_all.data() + offset, tokens, cols);
    expect_same(d_all, expected);
  }
};

TYPED_TEST(SimtTokenRows, EqualDefinitions) {
  for (const auto& c : {RowsCase<TypeParam>(1, 1), RowsCase<TypeParam>(9, 8), RowsCase<TypeParam>(8, 131),
                        RowsCase<TypeParam>(10, 1032), RowsCase<TypeParam>(6, 16, 1)}) {
    SCOPED_TRACE(std::to_string(c.tokens) + " x " + std::to_string(c.cols));
    this->for_each_schedule([&] {
      c.expect_gathered();
      c.expect_scattered();
      c.expect_cleared();
    });
  }
}

TYPED_TEST(SimtTokenRows, NothingToDoLaunchesNothing) {
  using T = TypeParam;
  EXPECT_NO_THROW(kernels::gpu::gather_rows<T>(nullptr, nullptr, nullptr, nullptr, 0, 3));
  EXPECT_NO_THROW(kernels::gpu::scatter_rows<T>(nullptr, nullptr, nullptr, nullptr, 0, 3));
  EXPECT_NO_THROW(kernels::gpu::clear_ignored_rows<T>(nullptr, nullptr, nullptr, 3, 0));
  EXPECT_NO_THROW(kernels::gpu::gather_targets(nullptr, nullptr, nullptr, nullptr, 0));
}

}  // namespace
}  // namespace subspect::kernels::test
