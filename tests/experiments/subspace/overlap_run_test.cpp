// Overlaps of updates, their groups and spectra against double-precision singular value decompositions.
#include "experiments/subspace/overlap_run.h"

#include <gmock/gmock.h>

#include <cmath>

#include "experiments/subspace/spectrum_table.h"
#include "runtime/error.h"
#include "runtime/linalg/spectrum.h"
#include "tests/experiments/subspace/subspace_fixture.h"

namespace subspect::experiments::subspace {
namespace {

using testing::Checkpoint;
using testing::Dense;
using testing::number;
namespace oracle = runtime::linalg::testing;

class OverlapRuns : public testing::SubspaceTest {
 protected:
  void SetUp() override {
    SubspaceTest::SetUp();
    reference_ = testing::random_checkpoint(1);
    useful_ = testing::plus(reference_, testing::random_checkpoint(2, 0.01));
    harmful_ = testing::plus(reference_, testing::random_checkpoint(3, 0.01));
    base_ = testing::plus(reference_, testing::random_checkpoint(4, 0.1));
  }

  void run(const std::string& name, const OverlapSettings& settings,
           std::shared_ptr<runtime::Stream> stream = nullptr) {
    const WeightSource reference = WeightSource::open("reference", save("reference", reference_));
    const std::vector<WeightSource> models = {WeightSource::open("useful", save("useful", useful_)),
                                              WeightSource::open("harmful", save("harmful", harmful_)),
                                              WeightSource::open("base", save("base", base_))};
    in_run(
        name,
        [&](RunContext& context) {
          OverlapRun(context, settings, reference, {&models[0], &models[1], &models[2]}).run();
        },
        std::move(stream));
  }

  Dense update(const Checkpoint& model, const std::string& tensor) const {
    return oracle::difference(model.at(tensor).dense, reference_.at(tensor).dense);
  }
  Dense stacked(const Checkpoint& model, const std::vector<std::string>& tensors) const {
    Dense stack(0, update(model, tensors.front()).cols);
    for (const std::string& tensor : tensors) {
      const Dense part = update(model, tensor);
      stack.values.insert(stack.values.end(), part.values.begin(), part.values.end());
      stack.rows += part.rows;
    }
    return stack;
  }

  static OverlapSettings all_pairs() {
    OverlapSettings settings;
    settings.pairs = {{0, 1}, {1, 2}};
    return settings;
  }

  /// The row's ranks, dimension and overlap equal those of dgesdd.
  static void expect_row(const Table& results, const NamedCells& key, const Dense& a, const Dense& b) {
    const oracle::Decomposition left = oracle::decompose(a);
    const oracle::Decomposition right = oracle::decompose(b);
    const double energy = key.back().second.number();
    const int64_t k_a = runtime::linalg::rank_at_energy(left.sigma, energy);
    const int64_t k_b = runtime::linalg::rank_at_energy(right.sigma, energy);
    EXPECT_EQ(number(results, key, "k_a"), static_cast<double>(k_a));
    EXPECT_EQ(number(results, key, "k_b"), static_cast<double>(k_b));
    EXPECT_EQ(number(results, key, "d"), static_cast<double>(a.rows));
    const Dense cross = oracle::product(oracle::transpose(oracle::leading(left.u, k_a)), oracle::leading(right.u, k_b));
    const double mso = std::pow(oracle::norm(cross), 2) / static_cast<double>(std::min(k_a, k_b));
    EXPECT_NEAR(number(results, key, "mso"), mso, 1e-6);
    EXPECT_DOUBLE_EQ(number(results, key, "mso_random"),
                     static_cast<double>(std::max(k_a, k_b)) / static_cast<double>(a.rows));
  }

  Checkpoint reference_, useful_, harmful_, base_;
};

TEST_F(OverlapRuns, TensorsMatchTheOracle) {
  run("run", all_pairs());
  const Table results = read("run");
  size_t rows = 0;
  for (const auto& item : reference_) {
    for (const double energy : OverlapSettings().energies) {
      const NamedCells group = {{"group", item.first}, {"granularity", "tensor"}};
      const auto key = [&](const char* pair) {
        NamedCells cells = {{"pair", pair}};
        cells.insert(cells.end(), group.begin(), group.end());
        cells.emplace_back("energy", energy);
        return cells;
      };
      expect_row(results, key("useful/harmful"), update(useful_, item.first), update(harmful_, item.first));
      expect_row(results, key("harmful/base"), update(harmful_, item.first), update(base_, item.first));
      rows += 2;
    }
  }
  EXPECT_EQ(results.columns(),
            (std::vector<std::string>{"pair", "group", "granularity", "energy", "k_a", "k_b", "d", "mso", "mso_random",
                                      "stacked", "side", "mso_random_mc", "mso_random_low", "mso_random_high"}));
  EXPECT_EQ(rows, results.size() - 2U * 2U * 3U * 11U) << "besides: two pairs, two layers of three stacks, 11 energies";
}

TEST_F(OverlapRuns, LayersStackTensorsWithTheSameColumns) {
  OverlapSettings settings = all_pairs();
  settings.granularity = {Granularity::layer};
  run("run", settings);
  const Table results = read("run");
  const std::string layer = "model.layers.1.";
  const std::vector<std::string> tensors = {layer + "mlp.up_proj.weight", layer + "self_attn.q_proj.weight"};
  for (const double energy : settings.energies) {
    const NamedCells key = {
        {"pair", "useful/harmful"}, {"group", "12 columns, layers.1"}, {"granularity", "layer"}, {"energy", energy}};
    expect_row(results, key, stacked(useful_, tensors), stacked(harmful_, tensors));
    EXPECT_EQ(results.cell(*results.find(key), "stacked").text(), "mlp.up_proj.weight + self_attn.q_proj.weight");
  }
  EXPECT_NE(results.find({{"group", "1 column, layers.0"}}), nullptr);
  EXPECT_NE(results.find({{"group", "20 columns, layers.0"}}), nullptr);
  EXPECT_EQ(results.find({{"group", "model.embed_tokens.weight"}}), nullptr);
}

TEST_F(OverlapRuns, SpectraAndRanksMatchTheOracle) {
  run("run", all_pairs());
  const Table spectra = read("run", "spectra");
  const Table groups = read("run", "groups");
  for (const auto& item : reference_) {
    const Dense difference = update(useful_, item.first);
    const std::vector<double> sigma = oracle::decompose(difference).sigma;
    const std::vector<double> cumulative =
        runtime::linalg::cumulative_energy(sigma, std::pow(oracle::norm(difference), 2));
    NamedCells key = {{"model", "useful"}, {"group", item.first}, {"granularity", "tensor"}};
    EXPECT_NEAR(number(groups, key, "effective_rank"), runtime::linalg::effective_rank(sigma), 1e-6);
    EXPECT_NEAR(number(groups, key, "stable_rank"), runtime::linalg::stable_rank(sigma), 1e-6);
    EXPECT_EQ(number(groups, key, "rank"), static_cast<double>(sigma.size()));
    for (size_t i = 0; i < sigma.size(); ++i) {
      key.resize(3);
      key.emplace_back("index", i + 1);
      EXPECT_NEAR(number(spectra, key, "singular_value"), sigma[i], 1e-9 * sigma[0]);
      EXPECT_NEAR(number(spectra, key, "energy_cumulative"), cumulative[i], 1e-9);
    }
  }
}

TEST_F(OverlapRuns, PrincipalAnglesAreWrittenWhenAskedFor) {
  OverlapSettings settings = all_pairs();
  settings.granularity = {Granularity::tensor};
  settings.tensors = {"*.down_proj.weight"};
  settings.energies = {0.5};
  settings.angle_energies = {0.5};
  settings.baseline_draws = 30;
  run("run", settings);
  const Table angles = read("run", "angles");
  const Table results = read("run");
  for (const Row& row : results.rows()) {
    double sum = 0.0;
    int64_t count = 0;
    for (const Row& angle : angles.rows()) {
      if (angles.cell(angle, "pair") != results.cell(row, "pair")) continue;
      if (angles.cell(angle, "group") != results.cell(row, "group")) continue;
      sum += std::pow(angles.cell(angle, "cosine").number(), 2);
      ++count;
    }
    EXPECT_EQ(count, std::min(results.cell(row, "k_a").number(), results.cell(row, "k_b").number()));
    EXPECT_NEAR(sum / static_cast<double>(count), results.cell(row, "mso").number(), 1e-6)
        << "MSO is the mean squared cosine";
  }
}

TEST_F(OverlapRuns, RandomAnglesAndTheIntervalOfTheBaselineAgreeWithItsMean) {
  OverlapSettings settings = all_pairs();
  settings.granularity = {Granularity::tensor};
  settings.tensors = {"*.down_proj.weight"};
  settings.energies = {0.5};
  settings.angle_energies = {0.5};
  settings.baseline_draws = 400;
  run("run", settings);
  const Table angles = read("run", "angles");
  const Table results = read("run");
  for (const Row& row : results.rows()) {
    const double low = results.cell(row, "mso_random_low").number(),
                 high = results.cell(row, "mso_random_high").number();
    const double expected = results.cell(row, "mso_random").number();
    EXPECT_LT(low, expected);
    EXPECT_GT(high, expected);
    // The interval is about four standard deviations wide, and the mean of 400 draws is within four of its own.
    EXPECT_NEAR(results.cell(row, "mso_random_mc").number(), expected, 4 * (high - low) / 3.9 / std::sqrt(400.0));
  }
  double before = 2.0;
  for (const Row& row : angles.rows()) {
    const double cosine = angles.cell(row, "cosine_random").number();
    EXPECT_LE(angles.cell(row, "cosine_random_low").number(), cosine);
    EXPECT_GE(angles.cell(row, "cosine_random_high").number(), cosine);
    if (angles.cell(row, "index").number() > 1.0) {
      EXPECT_LE(cosine, before) << "the angles are in order";
    }
    before = cosine;
  }
}

TEST_F(OverlapRuns, RightSideIsTheLeftSideOfTheTranspose) {
  OverlapSettings settings = all_pairs();
  settings.granularity = {Granularity::tensor};
  settings.sides = {Side::left, Side::right};
  settings.baseline_draws = 2;
  for (const auto method : {runtime::linalg::BasisMethod::automatic, runtime::linalg::BasisMethod::gram}) {
    settings.basis.method = method;
    const std::string run_name(runtime::linalg::name(method));
    run(run_name, settings);
    const Table results = read(run_name);
    EXPECT_EQ(results.size(), reference_.size() * 2 * 2 * settings.energies.size());
    for (const auto& item : reference_) {
      for (const double energy : settings.energies) {
        const auto key = [&](const char* side) {
          return NamedCells{{"pair", "useful/harmful"}, {"group", item.first}, {"side", side}, {"energy", energy}};
        };
        const Dense useful = update(useful_, item.first);
        const Dense harmful = update(harmful_, item.first);
        expect_row(results, key("left"), useful, harmful);
        expect_row(results, key("right"), oracle::transpose(useful), oracle::transpose(harmful));
      }
    }
  }
}

TEST_F(OverlapRuns, DrawnBaselineAgreesWithTheClosedForm) {
  OverlapSettings settings = all_pairs();
  settings.granularity = {Granularity::tensor};
  settings.tensors = {"*.down_proj.weight", "*.up_proj.weight"};
  settings.sides = {Side::left, Side::right};
  run("none", settings);
  const Table none = read("none");
  for (const Row& row : none.rows()) EXPECT_TRUE(none.cell(row, "mso_random_mc").empty());
  settings.baseline_draws = 300;
  run("drawn", settings);
  const Table results = read("drawn");
  for (const Row& row : results.rows()) {
    EXPECT_NEAR(results.cell(row, "mso_random_mc").number(), results.cell(row, "mso_random").number(), 0.03);
  }
  settings.seed = 1;
  run("other", settings);
  EXPECT_NE(read("other").to_csv(), results.to_csv());
}

TEST_F(OverlapRuns, UntouchedTensorHasNoOverlap) {
  const std::string tensor = "model.layers.0.mlp.down_proj.weight";
  useful_.at(tensor) = reference_.at(tensor);
  OverlapSettings settings = all_pairs();
  settings.sides = {Side::left, Side::right};
  settings.baseline_draws = 1;
  run("run", settings);
  const Table results = read("run");
  const Row* row = results.find({{"pair", "useful/harmful"}, {"group", tensor}});
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(results.cell(*row, "k_a").number(), 0.0);
  EXPECT_TRUE(results.cell(*row, "mso").empty());
  EXPECT_TRUE(results.cell(*row, "mso_random").empty());
  EXPECT_TRUE(results.cell(*row, "mso_random_mc").empty());
  EXPECT_FALSE(results.cell(*results.find({{"pair", "harmful/base"}, {"group", tensor}}), "mso").empty());
}

TEST_F(OverlapRuns, AModelOverlapsFullyWithItself) {
  OverlapSettings settings;
  settings.pairs = {{0, 0}};
  run("run", settings);
  const Table results = read("run");
  for (const Row& row : results.rows()) EXPECT_NEAR(results.cell(row, "mso").number(), 1.0, 1e-6);
}

TEST_F(OverlapRuns, ThreadsAndBatchesChangeNoBit) {
  OverlapSettings settings = all_pairs();
  settings.sides = {Side::left, Side::right};
  settings.baseline_draws = 3;
  run("one", settings, runtime::Stream::open({}, 1));
  settings.memory_budget = 1;
  run("three", settings, runtime::Stream::open({}, 3));
  for (const char* table : {"results", "spectra", "groups"}) {
    EXPECT_EQ(read("one", table).to_csv(), read("three", table).to_csv());
  }
}

TEST_F(OverlapRuns, ResumedRunAppendsOnlyWhatIsMissing) {
  OverlapSettings settings = all_pairs();
  settings.sides = {Side::left, Side::right};
  settings.baseline_draws = 3;
  run("whole", settings);
  run("parts", settings);
  // A process that was killed while it appended results, which come last of each group's rows.
  const std::filesystem::path journal = folder_ / "parts" / "state" / "results.rows.jsonl";
  ASSERT_TRUE(std::filesystem::exists(journal));
  std::filesystem::resize_file(journal, std::filesystem::file_size(journal) * 2 / 3);
  run("parts", settings);
  EXPECT_EQ(read("parts").to_csv(), read("whole").to_csv());
  EXPECT_EQ(read("parts", "groups").size(), read("whole", "groups").size());
  EXPECT_EQ(read("parts", "spectra").size(), read("whole", "spectra").size());
}

TEST_F(OverlapRuns, MismatchedShapesAreNamed) {
  harmful_.at("model.norm.weight") = testing::values_of({13}, 1);
  try {
    run("run", all_pairs());
    FAIL();
  } catch (const runtime::Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("model.norm.weight is [12] in reference and [13] in harmful"));
  }
}

TEST(SpacedIndices, CoverTheSpectrum) {
  EXPECT_EQ(spaced_indices(3, 64), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(spaced_indices(1000, 4), (std::vector<int64_t>{1, 10, 100, 1000}));
  EXPECT_TRUE(spaced_indices(5, 0).empty());
  const std::vector<int64_t> many = spaced_indices(4096, 64);
  EXPECT_EQ(many.front(), 1);
  EXPECT_EQ(many.back(), 4096);
  EXPECT_TRUE(std::is_sorted(many.begin(), many.end()));
  EXPECT_EQ(std::adjacent_find(many.begin(), many.end()), many.end());
}

TEST_F(OverlapRuns, SpectrumTableOfTheCommandLine) {
  const WeightSource a = WeightSource::open("A", save("a", reference_));
  const WeightSource b = WeightSource::open("B", save("b", base_));
  const Table table = spectrum_table(*stream_, a, b, {.globs = {"*.mlp.*"}, .energies = {0.5, 0.99}});
  EXPECT_EQ(table.size(), 4U);
  const std::string tensor = "model.layers.0.mlp.up_proj.weight";
  const oracle::Decomposition truth = oracle::decompose(update(base_, tensor));
  const NamedCells key = {{"tensor", tensor}};
  EXPECT_EQ(number(table, key, "rows"), 20.0);
  EXPECT_NEAR(number(table, key, "norm"), oracle::norm(update(base_, tensor)), 1e-9);
  EXPECT_NEAR(number(table, key, "relative_norm"),
              oracle::norm(update(base_, tensor)) / oracle::norm(reference_.at(tensor).dense), 1e-9);
  EXPECT_EQ(number(table, key, "k_0.5"), static_cast<double>(runtime::linalg::rank_at_energy(truth.sigma, 0.5)));
  EXPECT_EQ(number(table, key, "k_0.99"), static_cast<double>(runtime::linalg::rank_at_energy(truth.sigma, 0.99)));
  EXPECT_THROW(spectrum_table(*stream_, a, b, {.globs = {"nothing"}}), runtime::UsageError);
}

}  // namespace
}  // namespace subspect::experiments::subspace
