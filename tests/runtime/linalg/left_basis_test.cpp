// LeftBasis against dgesdd in double precision, at the thresholds of the design (docs: measured maxima with a margin),
// on square, wide and tall matrices and on degenerate ones.
#include "runtime/linalg/left_basis.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "runtime/error.h"
#include "tests/runtime/linalg/oracle.h"

namespace subspect::runtime::linalg {
namespace {

using testing::Dense;

// The design's thresholds.
constexpr double orthogonality_limit = 1e-6;  // max |U^T U - I|
constexpr double residual_limit = 1e-6;       // |V V^T U - U S^2| / |V V^T U|
constexpr double trace = 1e-12;               // sum of squared singular values against ||V||^2
constexpr double sigma_limit = 1e-9;          // relative to sigma_1
constexpr double energy = 1e-6;               // kept energy against the truth
constexpr double projection_yaml = 1e-5;      // P_k D against the truth
constexpr double idempotence = 1e-5;          // P P D against P D
constexpr double pythagoras = 1e-7;           // |P D|^2 + |D - P D|^2 against |D|^2

enum class Spectrum { flat, power, steep, rank_three };

struct Case {
  std::string label;
  int64_t rows;
  int64_t cols;
  Spectrum spectrum;
  BasisMethod method;
};

std::vector<double> spectrum_of(const Case& c) {
  const int64_t side = std::min(c.rows, c.cols);
  switch (c.spectrum) {
    case Spectrum::power:
      return testing::power_law(side, 1.0);
    case Spectrum::steep: {
      std::vector<double> sigma(static_cast<size_t>(side));
      for (size_t i = 0; i < sigma.size(); ++i) {
        sigma[i] = std::pow(10.0, -4.0 * static_cast<double>(i) / static_cast<double>(side));
      }
      return sigma;
    }
    case Spectrum::rank_three:
      return {3.0, 2.0, 0.5};
    case Spectrum::flat:
      break;
  }
  std::vector<double> sigma(static_cast<size_t>(side));
  for (size_t i = 0; i < sigma.size(); ++i) sigma[i] = 2.0 - static_cast<double>(i) / static_cast<double>(side);
  return sigma;
}

class LeftBasisAccuracy : public ::testing::TestWithParam<Case> {
 protected:
  std::shared_ptr<Stream> stream_ = Stream::open({}, 2);
};

TEST_P(LeftBasisAccuracy, MatchesTheDoublePrecisionDecomposition) {
  const Case& c = GetParam();
  const Dense v = testing::with_spectrum(c.rows, c.cols, spectrum_of(c), 11);
  const Dense d = testing::gaussian(c.rows, c.cols, 12);
  const testing::Decomposition truth = testing::decompose(v);
  const LeftBasis basis = LeftBasis::compute(*stream_, testing::to_tensor(*stream_, v), c.label, {.method = c.method});
  ASSERT_EQ(basis.method(), c.method);

  // Rank and spectrum.
  double total = 0.0;
  for (size_t i = 0; i < truth.sigma.size(); ++i) {
    const double resolved = std::max(sigma_limit, c.method == BasisMethod::gram ? 3e-8 : 0.0);
    const bool above_noise = truth.sigma[i] > 1e-6 * truth.sigma[0];
    EXPECT_NEAR(basis.singular_values()[i], truth.sigma[i], (above_noise ? sigma_limit : resolved) * truth.sigma[0]);
    total += basis.singular_values()[i] * basis.singular_values()[i];
  }
  EXPECT_NEAR(total / basis.squared_norm(), 1.0, trace);
  EXPECT_NEAR(basis.squared_norm(), testing::norm(v) * testing::norm(v), 1e-12 * basis.squared_norm());

  // Vectors.
  const int64_t rank = basis.rank();
  ASSERT_GE(rank, c.spectrum == Spectrum::rank_three ? 3 : std::min(c.rows, c.cols));
  const Dense ut = testing::to_dense(basis.vectors(*stream_, rank));
  const Dense u = testing::transpose(ut);
  EXPECT_LT(testing::largest_entry(testing::difference(testing::product(ut, u), testing::identity(rank))),
            orthogonality_limit);
  const Dense image = testing::product(v, testing::product(testing::transpose(v), u));
  Dense scaled = u;
  for (int64_t i = 0; i < u.rows; ++i) {
    for (int64_t j = 0; j < rank; ++j) scaled(i, j) *= std::pow(basis.singular_values()[static_cast<size_t>(j)], 2);
  }
  EXPECT_LT(testing::norm(testing::difference(image, scaled)) / testing::norm(image), residual_limit);
  EXPECT_LT(basis.residual(), residual_limit);
  EXPECT_LT(basis.orthogonality(), orthogonality_limit);

  // Energies and projections of D at several ranks.
  const Coefficients coefficients = basis.coefficients(*stream_, testing::to_tensor(*stream_, d));
  const double norm_d = testing::norm(d);
  for (const double fraction : {0.01, 0.25, 0.5, 0.75, 0.99}) {
    const int64_t k = std::max<int64_t>(1, std::llround(fraction * static_cast<double>(std::min<int64_t>(rank, 3))));
    const Dense left = testing::leading(truth.u, k);
    const Dense projected = testing::product(left, testing::product(testing::transpose(left), d));
    double kept = 0.0;
    for (int64_t i = 0; i < k; ++i) kept += coefficients.row_energy[static_cast<size_t>(i)];
    EXPECT_NEAR(kept / std::pow(testing::norm(projected), 2), 1.0, energy);
  }
  if (c.spectrum == Spectrum::rank_three) return;
  for (const double fraction : {0.01, 0.25, 0.5, 0.75, 0.99}) {
    const int64_t k = std::max<int64_t>(1, std::llround(fraction * static_cast<double>(rank)));
    const Dense left = testing::leading(truth.u, k);
    const Dense projected = testing::product(left, testing::product(testing::transpose(left), d));
    Tensor p = Tensor::zeros(*stream_, {c.rows, c.cols}, DType::float32);
    add_projection(*stream_, basis.vectors(*stream_, k), coefficients.values.narrow(0, 0, k), 1.0, p);
    const Dense ours = testing::to_dense(p);
    EXPECT_LT(testing::norm(testing::difference(ours, projected)) / norm_d, projection_yaml) << "k = " << k;
    const double parallel = std::pow(testing::norm(ours), 2);
    const double orthogonal = std::pow(testing::norm(testing::difference(d, ours)), 2);
    EXPECT_NEAR((parallel + orthogonal) / (norm_d * norm_d), 1.0, pythagoras);
    double kept = 0.0;
    for (int64_t i = 0; i < k; ++i) kept += coefficients.row_energy[static_cast<size_t>(i)];
    EXPECT_NEAR(kept / std::pow(testing::norm(projected), 2), 1.0, energy);

    const Coefficients again = basis.coefficients(*stream_, p);
    Tensor twice = Tensor::zeros(*stream_, {c.rows, c.cols}, DType::float32);
    add_projection(*stream_, basis.vectors(*stream_, k), again.values.narrow(0, 0, k), 1.0, twice);
    EXPECT_LT(testing::norm(testing::difference(testing::to_dense(twice), ours)) / testing::norm(ours), idempotence);
  }
}

std::vector<Case> accuracy_cases() {
  const std::vector<std::tuple<std::string, int64_t, int64_t>> shapes = {
      {"square", 97, 97}, {"wide", 70, 301},     {"tall", 301, 70}, {"very_tall", 1500, 33},
      {"one_row", 1, 50}, {"one_column", 50, 1}, {"single", 1, 1}};
  const std::vector<std::pair<std::string, Spectrum>> spectra = {{"flat", Spectrum::flat},
                                                                 {"power", Spectrum::power},
                                                                 {"steep", Spectrum::steep},
                                                                 {"rank_three", Spectrum::rank_three}};
  std::vector<Case> cases;
  for (const auto& [shape, rows, cols] : shapes) {
    for (const auto& [label, spectrum] : spectra) {
      if (std::min(rows, cols) < 4 && spectrum != Spectrum::flat) continue;
      for (const BasisMethod method : {BasisMethod::gram, BasisMethod::exact}) {
        cases.push_back({shape + "_" + label + "_" + std::string(name(method)), rows, cols, spectrum, method});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Matrices, LeftBasisAccuracy, ::testing::ValuesIn(accuracy_cases()),
                         [](const auto& test_info) { return test_info.param.label; });

class LeftBasisEdges : public ::testing::TestWithParam<BasisMethod> {
 protected:
  LeftBasis compute(const Dense& v) const {
    return LeftBasis::compute(*stream_, testing::to_tensor(*stream_, v), "w", {.method = GetParam()});
  }
  std::shared_ptr<Stream> stream_ = Stream::open({}, 2);
};

INSTANTIATE_TEST_SUITE_P(Methods, LeftBasisEdges,
                         ::testing::Values(BasisMethod::automatic, BasisMethod::gram, BasisMethod::exact,
                                           BasisMethod::randomized),
                         [](const auto& test_info) { return std::string(name(test_info.param)); });

TEST_P(LeftBasisEdges, ZeroMatrixHasNoDirections) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{5, 9}, {9, 5}, {4, 4}}) {
    const LeftBasis basis = compute(Dense(rows, cols));
    EXPECT_EQ(basis.rank(), 0);
    EXPECT_EQ(basis.squared_norm(), 0.0);
    EXPECT_EQ(basis.residual(), 0.0);
    EXPECT_EQ(basis.singular_values(), std::vector<double>(static_cast<size_t>(std::min(rows, cols)), 0.0));
    EXPECT_EQ(basis.vectors(*stream_, 0).size(0), 0);
    EXPECT_TRUE(basis.coefficients(*stream_, testing::to_tensor(*stream_, testing::gaussian(rows, cols, 1)))
                    .row_energy.empty());
    EXPECT_EQ(rank_at_energy(basis.singular_values(), 0.5), 0);
  }
}

TEST_P(LeftBasisEdges, NanAndInfinityNameTheTensorAndPlace) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Dense v = testing::gaussian(6, 7, 3);
    v(4, 2) = bad;
    try {
      LeftBasis::compute(*stream_, testing::to_tensor(*stream_, v), "model.layers.3.mlp.up_proj.weight",
                         {.method = GetParam()});
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("model.layers.3.mlp.up_proj.weight"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find("[4, 2]"), std::string::npos);
    }
  }
}

TEST_P(LeftBasisEdges, RankDeficientMatrixIsCappedAtItsRank) {
  // Products of small integers are exact in float32, so that the rank is exactly 3.
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{80, 100}, {100, 80}}) {
    Dense a(rows, 3);
    Dense b(3, cols);
    for (size_t i = 0; i < a.values.size(); ++i) a.values[i] = static_cast<double>((i * 7 + i / 5) % 11) - 5.0;
    for (size_t i = 0; i < b.values.size(); ++i) b.values[i] = static_cast<double>((i * 5 + i / 3) % 13) - 6.0;
    const LeftBasis basis = compute(testing::product(a, b));
    EXPECT_EQ(basis.rank(), 3);
    EXPECT_EQ(basis.vectors(*stream_, 3).size(0), 3);
    EXPECT_THROW(basis.vectors(*stream_, 4), Error);
    EXPECT_LT(basis.orthogonality(), orthogonality_limit);
  }
}

TEST_P(LeftBasisEdges, IdentityIsFlaggedAsNotUnique) {
  const LeftBasis basis = compute(testing::identity(20));
  EXPECT_EQ(basis.rank(), 20);
  EXPECT_FALSE(basis.unique_at(1));
  EXPECT_FALSE(basis.unique_at(19));
  EXPECT_TRUE(basis.unique_at(20));
  EXPECT_NEAR(effective_rank(basis.singular_values()), 20.0, 1e-9);
  EXPECT_NEAR(stable_rank(basis.singular_values()), 20.0, 1e-9);
}

TEST_P(LeftBasisEdges, OneHotMatrixHasOneUnitDirection) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{8, 30}, {30, 8}}) {
    Dense v(rows, cols);
    v(5, 3) = -4.0;
    const LeftBasis basis = compute(v);
    ASSERT_EQ(basis.rank(), 1);
    EXPECT_DOUBLE_EQ(basis.singular_values()[0], 4.0);
    const Dense u = testing::to_dense(basis.vectors(*stream_, 1));
    for (int64_t i = 0; i < rows; ++i) EXPECT_NEAR(std::abs(u(0, i)), i == 5 ? 1.0 : 0.0, 1e-7);
    EXPECT_TRUE(basis.unique_at(1));
  }
}

TEST_P(LeftBasisEdges, ZeroRowStaysOutOfTheSubspace) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{12, 40}, {40, 12}}) {
    Dense v = testing::gaussian(rows, cols, 4);
    for (int64_t j = 0; j < cols; ++j) v(7, j) = 0.0;
    const LeftBasis basis = compute(v);
    EXPECT_EQ(basis.rank(), std::min(rows - 1, cols));
    const Dense u = testing::to_dense(basis.vectors(*stream_, basis.rank()));
    for (int64_t i = 0; i < u.rows; ++i) EXPECT_NEAR(u(i, 7), 0.0, 1e-7);
  }
}

TEST_P(LeftBasisEdges, ScaleChangesNothingButTheSpectrum) {
  const Dense v = testing::gaussian(24, 31, 5);
  const LeftBasis plain = compute(v);
  for (const int exponent : {-110, 100}) {
    Dense scaled = v;
    for (double& x : scaled.values) x = std::ldexp(x, exponent);
    const LeftBasis basis = compute(scaled);
    ASSERT_EQ(basis.rank(), plain.rank());
    const Dense a = testing::to_dense(plain.vectors(*stream_, 24));
    const Dense b = testing::to_dense(basis.vectors(*stream_, 24));
    EXPECT_EQ(a.values, b.values) << "a power of two must not change a bit";
    for (size_t i = 0; i < 24; ++i) {
      EXPECT_DOUBLE_EQ(basis.singular_values()[i], std::ldexp(plain.singular_values()[i], exponent));
    }
  }
}

TEST(LeftBasis, IllConditionedTallMatrixIsRepaired) {
  const auto stream = Stream::open({}, 2);
  std::vector<double> sigma(40);
  for (size_t i = 0; i < sigma.size(); ++i) sigma[i] = std::pow(10.0, -6.0 * static_cast<double>(i) / 39.0);
  const Dense v = testing::with_spectrum(700, 40, sigma, 21);
  const LeftBasis basis =
      LeftBasis::compute(*stream, testing::to_tensor(*stream, v), "w", {.method = BasisMethod::gram});
  ASSERT_EQ(basis.rank(), 40);
  const Dense ut = testing::to_dense(basis.vectors(*stream, 40));
  EXPECT_LT(
      testing::largest_entry(testing::difference(testing::product(ut, testing::transpose(ut)), testing::identity(40))),
      orthogonality_limit);
  EXPECT_LT(basis.orthogonality(), orthogonality_limit);
  EXPECT_LT(basis.residual(), residual_limit);
}

TEST(LeftBasis, TransposedHasTheRightSingularVectors) {
  const auto stream = Stream::open({}, 2);
  const auto sigma = testing::power_law(20, 1.0);
  std::vector<double> steep(20);  // a tall gram basis repairs its vectors and forgets the float64 ones
  for (size_t i = 0; i < steep.size(); ++i) steep[i] = std::pow(10.0, -0.3 * static_cast<double>(i));
  for (const BasisMethod method : {BasisMethod::gram, BasisMethod::exact}) {
    for (const auto& spectrum : {sigma, steep}) {
      for (const auto& [rows, cols] : std::vector<std::pair<int64_t, int64_t>>{{40, 20}, {20, 40}, {20, 20}}) {
        const testing::Dense v = testing::with_spectrum(rows, cols, spectrum, 7);
        const auto left = LeftBasis::compute(*stream, testing::to_tensor(*stream, v), "v", {.method = method});
        const LeftBasis right = left.transposed(*stream, "v", {.method = method});
        EXPECT_EQ(right.rows(), cols);
        EXPECT_EQ(right.cols(), rows);
        EXPECT_LT(right.residual(), residual_limit);
        EXPECT_LT(right.orthogonality(), orthogonality_limit);
        const testing::Decomposition truth = testing::decompose(testing::transpose(v));
        const auto projector = [](const testing::Dense& u) { return testing::product(u, testing::transpose(u)); };
        for (const int64_t k : {1, 5, 10}) {
          EXPECT_NEAR(right.singular_values()[static_cast<size_t>(k)], truth.sigma[static_cast<size_t>(k)],
                      sigma_limit);
          const testing::Dense u = testing::transpose(testing::to_dense(right.vectors(*stream, k)));
          EXPECT_LT(testing::largest_entry(testing::difference(projector(u), projector(testing::leading(truth.u, k)))),
                    projection_yaml);
        }
      }
    }
  }
  EXPECT_EQ(LeftBasis::compute(*stream, testing::to_tensor(*stream, testing::Dense(5, 3)), "zero")
                .transposed(*stream, "zero")
                .rank(),
            0);
  EXPECT_THROW(LeftBasis().transposed(*stream, "none"), Error);
}

TEST(LeftBasis, ThreadsChangeNoBit) {
  const auto one = Stream::open({}, 1);
  const auto three = Stream::open({}, 3);
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{300, 1100}, {1100, 300}}) {
    const Dense v = testing::gaussian(rows, cols, 6);
    const Dense d = testing::gaussian(rows, cols, 7);
    const auto run = [&](Stream& stream) {
      const LeftBasis basis =
          LeftBasis::compute(stream, testing::to_tensor(stream, v), "w", {.method = BasisMethod::gram});
      std::vector<double> all = testing::to_dense(basis.vectors(stream, 200)).values;
      const Coefficients c = basis.coefficients(stream, testing::to_tensor(stream, d));
      all.insert(all.end(), c.row_energy.begin(), c.row_energy.end());
      all.insert(all.end(), basis.singular_values().begin(), basis.singular_values().end());
      all.push_back(basis.residual());
      return all;
    };
    EXPECT_EQ(run(*one), run(*three));
  }
}

TEST(LeftBasis, AutomaticChoosesBySize) {
  const auto stream = Stream::open({}, 1);
  const auto method_of = [&](int64_t rows, int64_t cols) {
    return LeftBasis::compute(*stream, testing::to_tensor(*stream, testing::gaussian(rows, cols, 8)), "w").method();
  };
  EXPECT_EQ(method_of(64, 200), BasisMethod::exact);
  EXPECT_EQ(method_of(200, 65), BasisMethod::gram);
}

TEST(LeftBasis, RejectsWhatIsNoFloat32Matrix) {
  const auto stream = Stream::open({}, 1);
  EXPECT_THROW(LeftBasis::compute(*stream, Tensor::zeros(*stream, {4}, DType::float32), "w"), Error);
  EXPECT_THROW(LeftBasis::compute(*stream, Tensor::zeros(*stream, {4, 4}, DType::bfloat16), "w"), Error);
  const LeftBasis basis = LeftBasis::compute(*stream, testing::to_tensor(*stream, testing::gaussian(4, 5, 1)), "w");
  EXPECT_THROW(basis.coefficients(*stream, Tensor::zeros(*stream, {5, 4}, DType::float32)), Error);
}

TEST(BasisMethod, NamesReadBack) {
  for (const BasisMethod method :
       {BasisMethod::automatic, BasisMethod::gram, BasisMethod::exact, BasisMethod::randomized}) {
    EXPECT_EQ(parse_basis_method(name(method)), method);
  }
  EXPECT_THROW(parse_basis_method("svd"), UsageError);
}

}  // namespace
}  // namespace subspect::runtime::linalg
