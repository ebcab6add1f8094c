// Cells, comparisons and trends of a grid whose outcomes are known.
#include "experiments/subspace/projection_statistics.h"

#include <gmock/gmock.h>

#include <cmath>

#include "experiments/statistics/distributions.h"
#include "experiments/subspace/projection_run.h"
#include "runtime/error.h"
#include "tests/experiments/subspace/subspace_fixture.h"

namespace subspect::experiments::subspace {
namespace {

using ::testing::ElementsAre;
using testing::number;

/// `hits` of 40 prompts are right.
Score right_answers(int64_t hits) {
  Score score;
  score.metric = "exact_match_flexible";
  score.column = "gsm8k_flexible";
  score.outcomes.values.assign(40, 0.0);
  std::fill_n(score.outcomes.values.begin(), hits, 1.0);
  return score;
}

class ProjectionStatistics : public testing::SubspaceTest {
 protected:
  /// A row of results.csv and its outcomes.
  void add(OutcomeTable& outcomes, const ProjectionCell& cell, double energy, int64_t hits) {
    Table& table = *results_;
    table.append(joined(cell.key(), {{"energy_kept", energy}}));
    outcomes.add(cell.label(), {right_answers(hits)});
    table.write();
  }

  struct Point {
    ProjectionCell cell;
    double energy = 0;
    int64_t hits = 0;
  };
  const std::vector<Point> left_ = {{{"useful", "top_k", "same", 0.5, 0}, 0.5, 28},
                                    {{"useful", "random", "same", 0.5, 0}, 0.4, 6},
                                    {{"useful", "random", "same", 0.5, 1}, 0.6, 8}};

  /// aligned 4 of 40, useful 32; top_k and random (two draws) in between, random lower at the same energy.
  void make(int64_t resamples = 300) { make(left_, resamples); }

  void make(const std::vector<Point>& points, int64_t resamples) {
    in_run("run", [&](RunContext& context) {
      results_ = std::make_unique<Table>(
          context.dir.table({"model", "basis", "mode", "fraction", "draw", "energy_kept", "side"}));
      OutcomeTable outcomes(context.dir);
      const double nan = std::nan("");
      add(outcomes, {"aligned"}, nan, 4);
      add(outcomes, {"useful"}, 1.0, 32);
      for (const Point& point : points) add(outcomes, point.cell, point.energy, point.hits);
      IntervalConfig config;
      config.resamples = resamples;
      ScoreIntervals intervals(config);
      write_projection_statistics(context.dir, outcomes, intervals);
      results_.reset();
    });
  }

  std::unique_ptr<Table> results_;
};

TEST_F(ProjectionStatistics, CellsAreMeansOverTheDrawsWithBothIntervals) {
  make();
  const Table cells = read("run", "cells");
  const NamedCells random = {{"model", "useful"}, {"basis", "random"}};
  EXPECT_EQ(number(cells, random, "draws"), 2);
  EXPECT_DOUBLE_EQ(number(cells, random, "energy_kept"), 0.5);
  const double t = statistics::student_quantile(0.975, 1);
  EXPECT_NEAR(number(cells, random, "energy_high"), 0.5 + t * std::sqrt(0.02 / 2.0), 1e-9);
  EXPECT_DOUBLE_EQ(number(cells, random, "exact_match_flexible"), 7.0 / 40.0);
  EXPECT_LT(number(cells, random, "exact_match_flexible_low"), 7.0 / 40.0);
  EXPECT_GT(number(cells, random, "exact_match_flexible_high"), 7.0 / 40.0);
  EXPECT_LT(number(cells, random, "exact_match_flexible_draws_low"), 0.0) << "two draws say little";
  EXPECT_TRUE(std::isnan(number(cells, {{"basis", "top_k"}}, "energy_low"))) << "one draw has no spread";
}

TEST_F(ProjectionStatistics, OtherSidesAreBasesOfTheirOwn) {
  in_run("sides", [&](RunContext& context) {
    results_ = std::make_unique<Table>(
        context.dir.table({"model", "basis", "mode", "fraction", "draw", "energy_kept", "side"}));
    OutcomeTable outcomes(context.dir);
    add(outcomes, {"aligned"}, std::nan(""), 4);
    add(outcomes, {"useful", "top_k", "same", 0.5, 0, "left"}, 0.5, 28);
    add(outcomes, {"useful", "top_k", "same", 0.5, 0, "right"}, 0.4, 12);
    ScoreIntervals intervals(IntervalConfig{});
    write_projection_statistics(context.dir, outcomes, intervals);
    results_.reset();
  });
  const Table cells = read("sides", "cells");
  EXPECT_DOUBLE_EQ(number(cells, {{"basis", "top_k"}}, "exact_match_flexible"), 28.0 / 40.0);
  EXPECT_DOUBLE_EQ(number(cells, {{"basis", "top_k/right"}}, "exact_match_flexible"), 12.0 / 40.0);
  const NamedCells pair = {{"family", "bases"}, {"basis", "top_k/right"}, {"against", "top_k"}};
  EXPECT_DOUBLE_EQ(number(read("sides", "comparisons"), pair, "difference"), -16.0 / 40.0);
}

TEST_F(ProjectionStatistics, ComparisonsArePairedAndCorrected) {
  make();
  const Table table = read("run", "comparisons");
  const NamedCells models = {{"family", "models"}, {"model", "useful"}, {"against", "aligned"}};
  EXPECT_DOUBLE_EQ(number(table, models, "difference"), 0.7);
  EXPECT_DOUBLE_EQ(number(table, models, "p"), 2.0 * std::pow(0.5, 28)) << "28 prompts gained, none lost";
  EXPECT_EQ(number(table, models, "n"), 40);
  const NamedCells bases = {{"family", "bases"}, {"basis", "random"}, {"against", "top_k"}};
  EXPECT_DOUBLE_EQ(number(table, bases, "difference"), -21.0 / 40.0);
  // Two cells against the aligned model: random gained 2 prompts in both draws and 2 in one, top_k 24.
  const NamedCells random = {{"family", "aligned"}, {"basis", "random"}};
  const NamedCells top_k = {{"family", "aligned"}, {"basis", "top_k"}};
  EXPECT_DOUBLE_EQ(number(table, random, "p"), 2.0 * std::pow(0.5, 4));
  EXPECT_DOUBLE_EQ(number(table, random, "p_holm"), 2.0 * std::pow(0.5, 4)) << "the larger p is not multiplied";
  EXPECT_DOUBLE_EQ(number(table, top_k, "p_holm"), 2.0 * 2.0 * std::pow(0.5, 24));
}

TEST_F(ProjectionStatistics, EqualEnergyComparesTheLinesThroughTheCells) {
  make();
  // Shares 0.1, 0.7 (at 0.5), 0.8 against 0.1, 0.175, 0.8: triangles of height 0.525 over [0, 1]. On the grid of 19
  // energies the mean of 1 - |2 e - 1| is 10 / 19.
  const NamedCells key = {{"family", "equal_energy"}, {"basis", "top_k"}, {"against", "random"}};
  EXPECT_NEAR(number(read("run", "comparisons"), key, "difference"), 0.525 * 10.0 / 19.0, 1e-9);
}

TEST_F(ProjectionStatistics, ConcordanceOfCurvesThatRiseIsOne) {
  make();
  const NamedCells key = {{"model", "useful"}, {"statistic", "concordance"}};
  EXPECT_EQ(number(read("run", "trends"), key, "value"), 1.0);
  EXPECT_GT(number(read("run", "trends"), key, "low"), 0.6);
  EXPECT_EQ(number(read("run", "trends"), key, "high"), 1.0);
}

TEST_F(ProjectionStatistics, ConcordanceIsOfEachSideAlone) {
  // On the right the cell with most energy is the worst: of the pairs of 4, 0, 32 hits two of three rise.
  std::vector<Point> points = left_;
  points.push_back({{"useful", "top_k", "same", 0.5, 0, "right"}, 0.5, 0});
  make(points, 300);
  const Table trends = read("run", "trends");
  EXPECT_EQ(trends.rows().size(), 2U);
  EXPECT_EQ(number(trends, {{"side", "left"}}, "value"), 1.0);
  EXPECT_DOUBLE_EQ(number(trends, {{"side", "right"}}, "value"), 2.0 / 3.0);
}

TEST_F(ProjectionStatistics, WithoutResamplesThereAreTestsAndNoIntervals) {
  make(0);
  const Table table = read("run", "comparisons");
  const NamedCells models = {{"family", "models"}, {"model", "useful"}};
  EXPECT_TRUE(std::isnan(number(table, models, "low")));
  EXPECT_DOUBLE_EQ(number(table, models, "p"), 2.0 * std::pow(0.5, 28));
}

TEST_F(ProjectionStatistics, OutcomesComeBackFromAnEarlierProcess) {
  Score score = right_answers(1);
  score.outcomes.values = {1.0, std::nan(""), 0.25, 5.0};
  score.outcomes.maximum = 5.0;
  Score count;
  count.metric = "score_1";
  Score ratio = score;
  ratio.metric = "perplexity";
  ratio.outcomes.weights = {1.0, 1.0, 1.0, 1.0};
  in_run("run", [&](RunContext& context) { OutcomeTable(context.dir).add("m", {score, count, ratio}); });
  in_run("run", [&](RunContext& context) {
    OutcomeTable outcomes(context.dir);
    outcomes.add("m", {right_answers(3)});  // known already
    EXPECT_THAT(outcomes.metrics(), ElementsAre("exact_match_flexible")) << "counts and ratios are not compared";
    const std::optional<Outcomes> read = outcomes.find("m", "exact_match_flexible");
    ASSERT_TRUE(read);
    ASSERT_EQ(read->values.size(), 4U);
    EXPECT_EQ(read->values[0], 1.0);
    EXPECT_TRUE(std::isnan(read->values[1]));
    EXPECT_EQ(read->values[2], 0.25);
    EXPECT_EQ(read->maximum, 5.0);
    EXPECT_FALSE(outcomes.find("other", "exact_match_flexible"));
  });
}

}  // namespace
}  // namespace subspect::experiments::subspace
