// Random bases, overlaps, principal angles, spectra and tiled products against plain double-precision loops.
#include <gtest/gtest.h>

#include <numbers>

#include "runtime/error.h"
#include "runtime/linalg/left_basis.h"
#include "runtime/linalg/overlap.h"
#include "runtime/linalg/products.h"
#include "runtime/linalg/random_basis.h"
#include "runtime/linalg/spectrum.h"
#include "tests/runtime/linalg/oracle.h"

namespace subspect::runtime::linalg {
namespace {

using testing::Dense;

double orthogonality_of(const Tensor& rows) {
  const Dense q = testing::to_dense(rows);
  return testing::largest_entry(
      testing::difference(testing::product(q, testing::transpose(q)), testing::identity(q.rows)));
}

TEST(RandomBasis, IsOrthonormalNestedAndReproducible) {
  const auto one = Stream::open({}, 1);
  const auto two = Stream::open({}, 2);
  for (const auto& [m, k] : {std::pair<int64_t, int64_t>{300, 40}, {150, 150}, {1, 1}, {700, 3}}) {
    const Tensor basis = random_basis(*one, m, k, Philox(9)).vectors;
    EXPECT_LT(orthogonality_of(basis), 1e-6);
    EXPECT_EQ(testing::to_dense(basis).values, testing::to_dense(random_basis(*two, m, k, Philox(9)).vectors).values);
    if (m > 1) {
      EXPECT_NE(testing::to_dense(basis).values,
                testing::to_dense(random_basis(*one, m, k, Philox(10)).vectors).values);
    }
    const int64_t prefix = (k + 1) / 2;
    const CrossOverlap overlap(*one, basis, random_basis(*one, m, prefix, Philox(9)).vectors);
    EXPECT_NEAR(overlap.mso(prefix, prefix), 1.0, 1e-6) << "the shorter basis spans the prefix of the longer";
  }
}

TEST(RandomBasis, KeepsTheExpectedShareOfAnIndependentMatrix) {
  const auto stream = Stream::open({}, 2);
  const int64_t m = 400;
  const Tensor d = testing::to_tensor(*stream, testing::gaussian(m, 200, 31));
  const Coefficients c = project_onto(*stream, random_basis(*stream, m, 300, Philox(5)).vectors, d);
  const double total = squared_norm(*stream, d);
  double kept = 0.0;
  for (int64_t k = 1; k <= 300; ++k) {
    kept += c.row_energy[static_cast<size_t>(k - 1)];
    // Each of the 200 columns is an independent draw: the standard deviation is below sqrt(2 k / 200) / m.
    const double sd = std::sqrt(2.0 * static_cast<double>(k) / 200.0) / static_cast<double>(m);
    EXPECT_NEAR(kept / total, static_cast<double>(k) / static_cast<double>(m), 5.0 * sd + 1e-3);
  }
}

TEST(RandomBasis, DependentRowsAreCompleted) {
  const auto stream = Stream::open({}, 1);
  Dense rows = testing::gaussian(5, 60, 2);
  for (int64_t j = 0; j < 60; ++j) rows(3, j) = rows(1, j);
  const Tensor q = testing::to_tensor(*stream, rows);
  EXPECT_LT(orthonormalize_rows(*stream, q), 1e-6);
  EXPECT_LT(orthogonality_of(q), 1e-6);
}

TEST(RandomBasis, KeepsThePrefixSpans) {
  const auto stream = Stream::open({}, 1);
  const Dense rows = testing::gaussian(6, 50, 3);
  const Tensor q = testing::to_tensor(*stream, rows);
  orthonormalize_rows(*stream, q);
  for (int64_t k = 1; k <= 6; ++k) {
    // The first k input rows, projected on the first k outputs, are themselves.
    const Dense ours = testing::to_dense(q.narrow(0, 0, k));
    Dense prefix(k, 50);
    std::copy_n(rows.values.begin(), k * 50, prefix.values.begin());
    const Dense back = testing::product(testing::product(prefix, testing::transpose(ours)), ours);
    EXPECT_LT(testing::norm(testing::difference(back, prefix)) / testing::norm(prefix), 1e-6);
  }
}

TEST(CrossOverlap, MatchesDirectProductsForEveryPairOfRanks) {
  const auto stream = Stream::open({}, 2);
  const Dense a = testing::decompose(testing::gaussian(30, 9, 1)).u;
  const Dense b = testing::decompose(testing::gaussian(30, 12, 2)).u;
  const CrossOverlap overlap(*stream, testing::to_tensor(*stream, testing::transpose(a)),
                             testing::to_tensor(*stream, testing::transpose(b)));
  for (int64_t i = 1; i <= 9; ++i) {
    for (int64_t j = 1; j <= 12; ++j) {
      const Dense cross = testing::product(testing::transpose(testing::leading(a, i)), testing::leading(b, j));
      const double truth = std::pow(testing::norm(cross), 2);
      EXPECT_NEAR(overlap.shared_energy(i, j), truth, 1e-6);
      EXPECT_NEAR(overlap.mso(i, j), truth / static_cast<double>(std::min(i, j)), 1e-6);
    }
  }
  EXPECT_EQ(overlap.shared_energy(0, 5), 0.0);
  EXPECT_THROW(overlap.mso(0, 5), Error);
  EXPECT_THROW(overlap.mso(1, 13), Error);
}

TEST(CrossOverlap, PrincipalAnglesOfKnownPlanes) {
  const auto stream = Stream::open({}, 1);
  const double angle = std::numbers::pi / 6;
  Dense a(2, 4);
  a(0, 0) = a(1, 1) = 1.0;
  Dense b(2, 4);  // shares e0; its second axis is e1 turned by the angle towards e2
  b(0, 0) = 1.0;
  b(1, 1) = std::cos(angle);
  b(1, 2) = std::sin(angle);
  const CrossOverlap overlap(*stream, testing::to_tensor(*stream, a), testing::to_tensor(*stream, b));
  const std::vector<double> cosines = overlap.principal_cosines(*stream, 2, 2);
  ASSERT_EQ(cosines.size(), 2U);
  EXPECT_NEAR(cosines[0], 1.0, 1e-7);
  EXPECT_NEAR(cosines[1], std::cos(angle), 1e-7);
  EXPECT_NEAR(overlap.mso(2, 2), (1.0 + std::cos(angle) * std::cos(angle)) / 2.0, 1e-7);
  EXPECT_TRUE(overlap.principal_cosines(*stream, 0, 2).empty());
}

TEST(CrossOverlap, MonteCarloMeanMatchesTheClosedFormBaseline) {
  const auto stream = Stream::open({}, 1);
  const int64_t d = 40;
  const int64_t k_a = 5;
  const int64_t k_b = 8;
  double sum = 0.0;
  constexpr int draws = 300;
  for (uint64_t draw = 0; draw < draws; ++draw) {
    const CrossOverlap overlap(*stream, random_basis(*stream, d, k_a, Philox(1, draw)).vectors,
                               random_basis(*stream, d, k_b, Philox(2, draw)).vectors);
    sum += overlap.mso(k_a, k_b);
  }
  EXPECT_NEAR(sum / draws, expected_random_mso(k_a, k_b, d), 0.01);
  EXPECT_DOUBLE_EQ(expected_random_mso(5, 8, 40), 0.2);
}

TEST(Spectrum, RanksAtEnergies) {
  const std::vector<double> sigma = {2.0, 1.0, 1.0, 0.0};  // energies 4, 1, 1 of 6
  EXPECT_EQ(rank_at_energy(sigma, 0.01), 1);
  EXPECT_EQ(rank_at_energy(sigma, 4.0 / 6.0), 1);
  EXPECT_EQ(rank_at_energy(sigma, 0.67), 2);
  EXPECT_EQ(rank_at_energy(sigma, 5.0 / 6.0), 2);
  EXPECT_EQ(rank_at_energy(sigma, 0.99), 3);
  EXPECT_EQ(rank_at_energy(sigma, 1.0), 3);
  EXPECT_EQ(rank_at_energy(std::vector<double>{0.0, 0.0}, 0.5), 0);
  EXPECT_EQ(rank_at_energy({}, 0.5), 0);
}

TEST(Spectrum, EffectiveAndStableRank) {
  const std::vector<double> sigma = {2.0, 1.0, 1.0, 0.0};
  const double entropy = -(4.0 / 6.0) * std::log(4.0 / 6.0) - 2.0 * (1.0 / 6.0) * std::log(1.0 / 6.0);
  EXPECT_NEAR(effective_rank(sigma), std::exp(entropy), 1e-12);
  EXPECT_DOUBLE_EQ(stable_rank(sigma), 1.5);
  EXPECT_EQ(effective_rank(std::vector<double>{0.0}), 0.0);
  EXPECT_EQ(stable_rank(std::vector<double>{0.0}), 0.0);
  const std::vector<double> share = cumulative_energy(sigma, 6.0);
  EXPECT_DOUBLE_EQ(share[0], 4.0 / 6.0);
  EXPECT_DOUBLE_EQ(share[3], 1.0);
  EXPECT_EQ(cumulative_energy(std::vector<double>{0.0}, 0.0)[0], 0.0);
}

TEST(Products, TilesAndBlocksMatchPlainLoops) {
  const auto stream = Stream::open({}, 2);
  // Larger than a tile (256 x 1024) and a block (1024), and no multiple of either.
  const Dense x = testing::gaussian(1301, 270, 1);
  const Dense y = testing::gaussian(1301, 35, 2);
  const Tensor tx = testing::to_tensor(*stream, x);
  const Tensor ty = testing::to_tensor(*stream, y);
  const FloatMatrix fx(tx.data<float>(), 1301, 270);
  const FloatMatrix fy(ty.data<float>(), 1301, 35);
  const Dense xt = testing::transpose(x);

  const auto expect_lower = [](const Dense& actual, const Dense& expected) {
    for (int64_t i = 0; i < actual.rows; ++i) {
      for (int64_t j = 0; j <= i; ++j) ASSERT_NEAR(actual(i, j), expected(i, j), 1e-10) << i << ", " << j;
    }
  };
  Dense gram(270, 270);
  gram_of_cols(*stream, fx, 0.5, gram.values.data());
  Dense truth = testing::product(xt, x);
  for (double& value : truth.values) value *= 0.25;
  expect_lower(gram, truth);

  const Tensor txt = testing::to_tensor(*stream, xt);
  gram_of_rows(*stream, FloatMatrix(txt.data<float>(), 270, 1301), 0.5, gram.values.data());
  expect_lower(gram, truth);

  Dense narrow_gram(35, 35);
  const Dense t = testing::gaussian(35, 270, 3);
  const Dense image = testing::product(t, xt);
  gram_of_product(*stream, DoubleMatrix(t.values.data(), 35, 270), Op::transpose, fx, 2.0, narrow_gram.values.data());
  truth = testing::product(image, testing::transpose(image));
  for (double& value : truth.values) value *= 4.0;
  for (int64_t i = 0; i < 35; ++i) EXPECT_NEAR(narrow_gram(i, i) / truth(i, i), 1.0, 1e-12);
  EXPECT_NEAR(narrow_gram(30, 2), truth(30, 2), 1e-6);

  Dense cross(270, 35);
  multiply_transposed_wide(*stream, fx, fy, MatrixRef<double>(cross.values.data(), 270, 35));
  EXPECT_LT(testing::largest_entry(testing::difference(cross, testing::product(xt, y))), 1e-10);

  Dense narrow(270, 35);
  multiply_narrow(*stream, Op::transpose, fx, DoubleMatrix(y.values.data(), 1301, 35),
                  MatrixRef<double>(narrow.values.data(), 270, 35));
  EXPECT_LT(testing::largest_entry(testing::difference(narrow, testing::product(xt, y))), 1e-10);

  Tensor product = Tensor::empty(*stream, {35, 1301}, DType::float32);
  multiply_by_rows(*stream, DoubleMatrix(testing::transpose(cross).values.data(), 35, 270), fx,
                   MatrixRef<float>(product.data<float>(), 35, 1301));
  const Dense expected = testing::product(testing::transpose(cross), xt);
  EXPECT_LT(testing::norm(testing::difference(testing::to_dense(product), expected)) / testing::norm(expected), 1e-7);

  Tensor single = Tensor::empty(*stream, {270, 35}, DType::float32);
  multiply(*stream, Op::transpose, fx, Op::none, fy, MatrixRef<float>(single.data<float>(), 270, 35));
  EXPECT_LT(testing::norm(testing::difference(testing::to_dense(single), testing::product(xt, y))) /
                testing::norm(testing::product(xt, y)),
            1e-6);
  EXPECT_NEAR(squared_norm(*stream, tx) / std::pow(testing::norm(x), 2), 1.0, 1e-12);
}

}  // namespace
}  // namespace subspect::runtime::linalg
