// Many matrices on the CPU: every basis is that of its matrix alone, and where eigenproblems are solved.
#include "runtime/linalg/bases.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "runtime/error.h"
#include "runtime/linalg/parallel.h"
#include "tests/runtime/linalg/oracle.h"

namespace subspect::runtime::linalg {
namespace {

TEST(Bases, AreThoseOfEachMatrixAlone) {
  const auto stream = Stream::open({}, 2);
  std::vector<LeftBasis> bases(5);
  const auto matrix = [&](size_t i) {
    return testing::to_tensor(*stream, testing::gaussian(20, 10 + static_cast<int64_t>(i), i + 1));
  };
  for_each_basis(
      *stream, bases.size(),
      [&](size_t i) {
        return i == 3 ? std::nullopt : std::optional(BasisRequest{matrix(i), "w", {.method = BasisMethod::gram}});
      },
      [&](size_t i, LeftBasis basis) { bases[i] = std::move(basis); });
  for (size_t i = 0; i < bases.size(); ++i) {
    const LeftBasis alone =
        i == 3 ? LeftBasis() : LeftBasis::compute(*stream, matrix(i), "w", {.method = BasisMethod::gram});
    EXPECT_EQ(bases[i].singular_values(), alone.singular_values());
    EXPECT_EQ(bases[i].residual(), alone.residual());
  }
}

TEST(Bases, RangesOnTheCpuAreItemsWithinTheBudget) {
  const auto stream = Stream::open({}, 3);
  std::vector<int> calls(7, 0);
  std::vector<int> after;
  for_each_range_within(
      *stream, calls.size(), 10, [](size_t i) { return i == 4 ? int64_t{50} : int64_t{4}; },
      [&](size_t begin, size_t end) {
        EXPECT_EQ(end, begin + 1);
        ++calls[begin];
      },
      [&] {
        int done = 0;
        for (const int count : calls) done += count;
        after.push_back(done);
      });
  EXPECT_EQ(calls, std::vector<int>(7, 1));
  EXPECT_EQ(after, (std::vector<int>{2, 4, 5, 7}));
}

TEST(Bases, LeadingGramVectorsAreThoseOfTheWholeDecomposition) {
  const auto stream = Stream::open({}, 1);
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{80, 120}, {120, 80}}) {
    const Tensor v = testing::to_tensor(*stream, testing::with_spectrum(rows, cols, testing::power_law(80, 0.6), 7));
    const LeftBasis all = LeftBasis::compute(*stream, v, "w", {.method = BasisMethod::gram});
    const LeftBasis leading = LeftBasis::compute(*stream, v, "w", {.method = BasisMethod::gram, .rank = 10});
    EXPECT_FALSE(all.truncated());
    ASSERT_TRUE(leading.truncated());
    ASSERT_EQ(leading.rank(), 10);
    EXPECT_EQ(leading.singular_values().size(), 10U);
    for (size_t i = 0; i < 10; ++i) EXPECT_NEAR(leading.singular_values()[i], all.singular_values()[i], 1e-9);
    EXPECT_NEAR(leading.next_singular_value(), all.singular_values()[10], 1e-9);
    EXPECT_LT(leading.residual(), 1e-7);
    EXPECT_LT(leading.orthogonality(), 1e-6);
    EXPECT_TRUE(leading.unique_at(10));
    const testing::Dense a = testing::to_dense(all.vectors(*stream, 10));
    const testing::Dense b = testing::to_dense(leading.vectors(*stream, 10));
    const auto projector = [](const testing::Dense& u) { return testing::product(testing::transpose(u), u); };
    EXPECT_LT(testing::largest_entry(testing::difference(projector(a), projector(b))), 1e-6);
  }
}

TEST(Bases, LeadingGramVectorsOfALowRankAreAllThereAre) {
  const auto stream = Stream::open({}, 1);
  const Tensor v = testing::to_tensor(*stream, testing::with_spectrum(80, 90, testing::power_law(3, 0.5), 7));
  const LeftBasis basis = LeftBasis::compute(*stream, v, "w", {.method = BasisMethod::gram, .rank = 10});
  EXPECT_FALSE(basis.truncated());
  EXPECT_EQ(basis.singular_values().size(), 80U);
  EXPECT_EQ(basis.next_singular_value(), 0.0);
  EXPECT_LT(basis.residual(), 1e-7);
}

TEST(Eigensolver, NamesReadBack) {
  for (const Eigensolver solver : {Eigensolver::automatic, Eigensolver::device, Eigensolver::host}) {
    EXPECT_EQ(parse_eigensolver(name(solver)), solver);
  }
  EXPECT_THROW(parse_eigensolver("gpu"), UsageError);
}

}  // namespace
}  // namespace subspect::runtime::linalg
