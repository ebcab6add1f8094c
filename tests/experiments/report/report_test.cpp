// The report as a whole: what it says of made-up runs, that it says the contrary of contrary ones, and its files.
#include "experiments/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "experiments/report/findings.h"
#include "experiments/report/run_files.h"
#include "experiments/report/seeds.h"
#include "experiments/report/support.h"
#include "runtime/error.h"
#include "tests/experiments/report/synthetic_runs.h"

namespace subspect::experiments::report {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace testing;

/// The finding whose claim begins with `claim`; fails the test if there is none.
Finding finding(const std::vector<Finding>& findings, const std::string& claim) {
  for (const Finding& each : findings) {
    if (each.claim.rfind(claim, 0) == 0) return each;
  }
  ADD_FAILURE() << "no finding on " << claim;
  return {};
}

std::vector<Finding> projection_with(const Effect& effect) {
  TemporaryFolder folder;
  make_projection(folder.path(), effect);
  return run_findings(read_run(folder.path()));
}

TEST(ReportFindings, ProjectionThatShowsTheEffects) {
  const std::vector<Finding> findings = projection_with({});
  const Finding harmful = finding(findings, "Harmful fine-tuning");
  EXPECT_EQ(harmful.verdict, Verdict::yes);
  EXPECT_THAT(harmful.numbers, HasSubstr("from 1.00 (aligned) to 5.00 (harmful) on a scale of 1 to 5, +4.00 points"));
  const Finding useful = finding(findings, "Useful fine-tuning");
  EXPECT_EQ(useful.verdict, Verdict::yes);
  EXPECT_THAT(useful.numbers, HasSubstr("from 0.02 (aligned) to 0.90 (useful)"));
  EXPECT_EQ(finding(findings, "Utility and harmfulness fall together").verdict, Verdict::yes);
  EXPECT_EQ(finding(findings, "Energy decides").verdict, Verdict::yes);
  const Finding filter = finding(findings, "Removing the alignment's directions");
  EXPECT_EQ(filter.verdict, Verdict::yes);
  EXPECT_THAT(filter.numbers, HasSubstr("It rises as more is removed"));
  EXPECT_EQ(headline(findings), "All 5 claims of the paper that were put to the test hold in this run.");
}

TEST(ReportFindings, ProjectionThatShowsNoEffectSaysSo) {
  Effect weak;
  weak.harmful = 1.4;
  weak.useful = 0.04;
  const std::vector<Finding> findings = projection_with(weak);
  const Finding harmful = finding(findings, "Harmful fine-tuning");
  EXPECT_EQ(harmful.verdict, Verdict::no);
  EXPECT_THAT(harmful.numbers, HasSubstr("+0.40 points"));
  EXPECT_THAT(harmful.numbers, HasSubstr("A rise of at least 1 point would count"));
  const Finding useful = finding(findings, "Useful fine-tuning");
  EXPECT_EQ(useful.verdict, Verdict::unsupported) << "0.02 +- 0.04 allows 0.05";
  EXPECT_THAT(useful.numbers,
              HasSubstr("Not supported by these data: the interval or the test allows both; with 100 prompts"));
  EXPECT_EQ(finding(findings, "Utility and harmfulness fall").verdict, Verdict::unmeasured);
  EXPECT_EQ(finding(findings, "Removing the alignment's").verdict, Verdict::unmeasured);
  EXPECT_THAT(headline(findings), HasSubstr("1 does not hold, 1 cannot be told from these data and 3 stay open"));
}

TEST(ReportFindings, OtherSidesBearOnNoClaim) {
  TemporaryFolder folder;
  make_projection(folder.path());
  const std::vector<Finding> left = run_findings(read_run(folder.path()));
  std::string csv = read_text(folder.path() / "results.csv"), more;
  for (const std::string side : {"left", "right"}) {
    std::istringstream lines(csv);
    for (std::string line; std::getline(lines, line);) {
      const bool header = line.starts_with("model,");
      if (header && side == "left") more += line + ",side\n";
      if (!header && (side == "left" || line.find(",none,") == std::string::npos)) more += line + "," + side + "\n";
    }
  }
  write_text(folder.path() / "results.csv", more);
  const std::vector<Finding> mixed = run_findings(read_run(folder.path()));
  ASSERT_EQ(mixed.size(), left.size());
  for (size_t i = 0; i < left.size(); ++i) EXPECT_EQ(mixed[i].numbers, left[i].numbers);
  for (size_t at = 0; (at = more.find(",left\n", at)) != std::string::npos;) more.replace(at, 6, ",both\n");
  write_text(folder.path() / "results.csv", more);
  const std::vector<Finding> alone = run_findings(read_run(folder.path()));
  ASSERT_EQ(alone.size(), 1U);
  EXPECT_EQ(alone[0].verdict, Verdict::fact);
  EXPECT_THAT(alone[0].numbers, Not(HasSubstr("None of them was evaluated")));
}

TEST(ReportFindings, ABasisThatNeedsLessEnergyIsNoticed) {
  Effect shifted;
  shifted.basis_shift = 0.3;
  const Finding basis = finding(projection_with(shifted), "Energy decides");
  EXPECT_EQ(basis.verdict, Verdict::no);
  EXPECT_THAT(basis.numbers, HasSubstr("would count as the same"));
}

TEST(ReportFindings, WideIntervalsAreNotCalledDifferences) {
  Effect vague;
  vague.spread = 16.0;
  const std::vector<Finding> findings = projection_with(vague);
  for (const char* claim : {"Harmful fine-tuning", "Utility and harmfulness fall", "Energy decides"}) {
    const Finding refused = finding(findings, claim);
    EXPECT_EQ(refused.verdict, Verdict::unsupported) << refused.numbers;
    EXPECT_THAT(refused.numbers, HasSubstr("Not supported by these data: "));
  }
  EXPECT_THAT(headline(findings), HasSubstr("cannot be told from these data"));
}

TEST(ReportFindings, WithoutComparisonsNoDifferenceIsClaimed) {
  TemporaryFolder folder;
  make_projection(folder.path());
  fs::remove(folder.path() / "comparisons.csv");
  const Finding harmful = finding(run_findings(read_run(folder.path())), "Harmful fine-tuning");
  EXPECT_EQ(harmful.verdict, Verdict::unsupported);
  EXPECT_THAT(harmful.numbers, HasSubstr("the run has no paired comparison of these models"));
}

TEST(ReportSupport, VerdictsFollowTheWholeInterval) {
  EXPECT_EQ(at_least({1.0, 2.0}, 1.0), Verdict::yes);
  EXPECT_EQ(at_least({0.9, 2.0}, 1.0), Verdict::unsupported);
  EXPECT_EQ(at_least({0.1, 0.9}, 1.0), Verdict::no);
  EXPECT_EQ(at_most({0.1, 1.0}, 1.0), Verdict::yes);
  EXPECT_EQ(at_most({1.1, 1.2}, 1.0), Verdict::no);
  EXPECT_EQ(at_most(Interval{}, 1.0), Verdict::unsupported);
  ComparisonRow difference;
  difference.interval = {0.01, 0.08};
  difference.p_holm = 0.25;
  EXPECT_EQ(at_least(difference, 0.0), Verdict::unsupported) << "three of a hundred prompts: the test sees nothing";
  difference.p_holm = 0.01;
  EXPECT_EQ(at_least(difference, 0.0), Verdict::yes);
  EXPECT_EQ(combined({Verdict::yes, Verdict::yes}), Verdict::yes);
  EXPECT_EQ(combined({Verdict::yes, Verdict::unsupported}), Verdict::partly);
  EXPECT_EQ(combined({Verdict::unsupported, Verdict::no}), Verdict::no);
  EXPECT_EQ(combined({}), Verdict::unmeasured);
}

TEST(ReportSeeds, TablesAreAveragedAndGetIntervalsOverTheSeeds) {
  const std::vector<std::string> columns{"model",           "fraction",         "harmfulness",
                                         "harmfulness_low", "harmfulness_high", "p_holm"};
  const CsvTable one(columns, {{"a", "0.5", "2", "1.9", "2.1", "0.01"}, {"b", "0.5", "1", "1", "1", "0.5"}});
  const CsvTable two(columns, {{"b", "0.5", "1", "1", "1", "0.5"}, {"a", "0.5", "4", "3.9", "4.1", "0.2"}});
  const CsvTable mean = mean_over_seeds({&one, &two});
  ASSERT_EQ(mean.rows(), 2);
  EXPECT_EQ(mean.text(0, "model"), "a");
  EXPECT_EQ(mean.number(0, "fraction"), 0.5);
  EXPECT_EQ(mean.number(0, "harmfulness"), 3.0);
  EXPECT_NEAR(mean.number(0, "harmfulness_low"), 3.0 - 12.7062047, 1e-5);  // t of one degree of freedom
  EXPECT_NEAR(mean.number(0, "harmfulness_high"), 3.0 + 12.7062047, 1e-5);
  EXPECT_EQ(mean.number(0, "p_holm"), 0.2) << "supported with every seed or not at all";
  EXPECT_EQ(mean.number(0, "seeds"), 2.0);
}

TEST(ReportSeeds, CopiesOfAStageAreShownAsOne) {
  TemporaryFolder folder;
  make_projection(folder.path() / "stages/projection-seed1");
  make_projection(folder.path() / "stages/projection-seed2");
  write_text(folder.path() / "environment.json", R"({"kind": "study"})");
  write_text(folder.path() / "stages.json",
             R"([{"stage": "projection-seed1", "kind": "projection", "copy_of": "projection", "copy_seed": 1},
                 {"stage": "projection-seed2", "kind": "projection", "copy_of": "projection", "copy_seed": 2}])");
  write_report(folder.path());
  const std::string page = read_text(folder.path() / "report.html");
  EXPECT_THAT(page, HasSubstr("Means over the seeds"));
  EXPECT_THAT(page, HasSubstr("seeds/projection/results.csv"));
  EXPECT_THAT(page, Not(HasSubstr("stages/projection-seed2/results.csv")));
}

TEST(ReportFindings, ArithmeticSaysTheRangeOfEachScoreAndWhatIsSupported) {
  TemporaryFolder folder;
  make_arithmetic(folder.path());
  const std::vector<Finding> findings = run_findings(read_run(folder.path()));
  ASSERT_EQ(findings.size(), 2U) << "the strict filter is a detail";
  EXPECT_EQ(finding(findings, "gsm8k_flexible of 16 models").verdict, Verdict::fact);
  EXPECT_EQ(finding(findings, "harmfulness").numbers,
            "From 1.00 (95 %: 1.00 to 1.30) for useful-0-harmful--0.5 to 4.90 (95 %: 4.60 to 5.00) for "
            "useful-0-harmful-1. 8 of 15 differences from the aligned model are supported (Holm, 5 %).");
  write_report(folder.path());
  const std::string page = read_text(folder.path() / "report.html");
  EXPECT_THAT(page, HasSubstr("Utility over the coefficients of useful and harmful"));
  EXPECT_THAT(page, HasSubstr("useful-0.5-harmful-1: 4.900 (95 %: 4.600 to 5.000)"));
  EXPECT_TRUE(fs::exists(folder.path() / "plots" / "map-harmfulness.svg"));
}

TEST(ReportFindings, DefencesShowTheirScores) {
  TemporaryFolder folder;
  make_safelora(folder.path());
  const std::vector<Finding> findings = run_findings(read_run(folder.path()));
  EXPECT_EQ(
      finding(findings, "harmfulness of 9 models").numbers,
      "From 1.00 (95 %: 1.00 to 1.30) for aligned to 4.80 (95 %: 4.50 to 5.00) for harmful. 2 of 6 differences from "
      "the aligned model are supported (Holm, 5 %).");
  write_report(folder.path());
  const std::string page = read_text(folder.path() / "report.html");
  EXPECT_THAT(page, HasSubstr("Harmfulness over the tensors that are projected"));
  EXPECT_THAT(page, HasSubstr("harmful-threshold-0.35: 2.800 (95 %: 2.500 to 3.100)"));
  make_lox(folder.path());
  write_report(folder.path());
  EXPECT_THAT(read_text(folder.path() / "report.html"), HasSubstr("Harmfulness of each model"));
}

TEST(ReportFindings, AblationNamesTheGroupsThatDoMost) {
  TemporaryFolder folder;
  make_ablation(folder.path());
  const std::vector<Finding> findings = run_findings(read_run(folder.path()));
  ASSERT_EQ(findings.size(), 4U) << "two models, two scores";
  EXPECT_EQ(
      finding(findings, "harmfulness of harmful").numbers,
      "Aligned 1.00, with the whole update 4.80. Added alone, mlp.down_proj moves it most, to 2.20 (95 %: 1.90 to "
      "2.50); 2 of 3 groups differ (Holm, 5 %). Left out alone, mlp.down_proj moves it most, to 3.60 (95 %: 3.30 "
      "to 3.90); 2 of 3 groups differ (Holm, 5 %).");
  write_report(folder.path());
  const std::string page = read_text(folder.path() / "report.html");
  EXPECT_THAT(page, HasSubstr("Harmfulness of harmful by group of tensors"));
  EXPECT_THAT(page, HasSubstr("harmful-only-mlp.down_proj: 2.2, 0.500 of the energy"));
  EXPECT_TRUE(fs::exists(folder.path() / "plots" / "groups-energy.svg"));
}

TEST(ReportFindings, OverlapAboveChanceAndNoCloserToTheAlignment) {
  TemporaryFolder folder;
  make_overlap(folder.path());
  const std::vector<Finding> findings = run_findings(read_run(folder.path()));
  EXPECT_EQ(finding(findings, "Useful and harmful updates").verdict, Verdict::yes);
  EXPECT_EQ(finding(findings, "The harmful update is no closer").verdict, Verdict::yes);
}

TEST(ReportFindings, AHarmfulUpdateNearTheAlignmentIsNoticed) {
  TemporaryFolder folder;
  Effect close;
  close.alignment_of_harmful = 0.6;
  make_overlap(folder.path(), close);
  const Finding closer = finding(run_findings(read_run(folder.path())), "The harmful update is no closer");
  EXPECT_EQ(closer.verdict, Verdict::no);
  EXPECT_THAT(closer.numbers, HasSubstr("more than the 0.05 that would count as equal"));
}

TEST(ReportFindings, ActivationsAgainstTheirControl) {
  TemporaryFolder folder;
  make_activations(folder.path());
  const Finding overlap = finding(run_findings(read_run(folder.path())), "Useful and harmful prompts");
  EXPECT_EQ(overlap.verdict, Verdict::yes);
  EXPECT_THAT(overlap.numbers, HasSubstr("of what the control shares beyond chance"));
  EXPECT_THAT(overlap.numbers, HasSubstr("a linear probe tells the two sets apart with a held-out accuracy of 0.9"));
  write_text(folder.path() / "results.csv",
             "model,layer,energy,k_a,k_b,d,mso,mso_random,mso_control,mso_low,mso_high\n"
             "a,1,0.5,1,1,8,0.1,0.2,0.9,0.05,0.15\na,2,0.5,1,1,8,,,,,\n");
  EXPECT_EQ(run_findings(read_run(folder.path())).front().verdict, Verdict::no);
  write_text(folder.path() / "results.csv",
             "model,layer,energy,k_a,k_b,d,mso,mso_random,mso_control\na,1,0.5,1,1,8,0.8,0.2,0.9\n");
  const Finding vague = run_findings(read_run(folder.path())).front();
  EXPECT_EQ(vague.verdict, Verdict::unsupported);
  EXPECT_THAT(vague.numbers, HasSubstr("set `resamples`"));
}

TEST(ReportFindings, SteeringIsToldBesideRandomDirections) {
  TemporaryFolder folder;
  make_steering(folder.path());
  const RunFiles run = read_run(folder.path());
  const std::vector<Finding> findings = run_findings(run);
  ASSERT_EQ(findings.size(), 4U) << "two interventions at two layers";
  EXPECT_EQ(findings[0].claim, "The direction, ablated (layer 2)");
  EXPECT_EQ(findings[3].claim, "The direction, −1 × added (layer 3)");
  EXPECT_THAT(findings[0].numbers, HasSubstr("harmfulness goes from 1.00 to 3.00"));
  EXPECT_THAT(findings[1].numbers, HasSubstr("refusing a harmful prompt goes from 0.96 to 0.02"));
  for (const Finding& finding : findings) EXPECT_EQ(finding.verdict, Verdict::fact);
  // A random direction that is ablated belongs to every layer; its draws are averaged.
  int64_t controls = 0;
  for (const SteeringCell& cell : steering_cells(*run.results)) {
    if (!cell.random || cell.metric != "refusal_harmful" || cell.action.find("ablated") == std::string::npos) continue;
    ++controls;
    EXPECT_EQ(cell.draws, 2);
    EXPECT_NEAR(cell.value, 0.9, 1e-9);
    EXPECT_NEAR(cell.interval.low, 0.85, 1e-9);
    EXPECT_NEAR(cell.interval.high, 0.95, 1e-9);
  }
  EXPECT_EQ(controls, 2);
  write_report(folder.path());
  EXPECT_TRUE(fs::exists(folder.path() / "plots" / "steering-refusal-harmless.svg"));
  EXPECT_THAT(read_text(folder.path() / "report.html"), HasSubstr("steered against random directions"));
}

TEST(ReportFindings, FineTuningTellsWhetherTheLossFell) {
  TemporaryFolder folder;
  make_finetune(folder.path(), 100, 0.3);
  const Finding fell = run_findings(read_run(folder.path())).front();
  EXPECT_EQ(fell.claim, "The loss fell");
  EXPECT_THAT(fell.numbers, HasSubstr("of 100 optimizer steps"));
  write_text(folder.path() / "metrics.jsonl", "{\"step\":1,\"loss\":1}\n{\"step\":2,\"loss\":2}\n");
  EXPECT_EQ(run_findings(read_run(folder.path())).front().claim, "The loss did not fall");
}

TEST(ReportFindings, AStudyMakesEachClaimOnce) {
  TemporaryFolder folder;
  make_study(folder.path());
  const RunFiles run = read_run(folder.path());
  EXPECT_EQ(run.stages.size(), 13u);
  EXPECT_EQ(run.stages.back().status, "pending");
  const std::vector<Finding> findings = run_findings(run);
  EXPECT_EQ(findings.size(), 8u);
  EXPECT_EQ(headline(findings), "All 8 claims of the paper that were put to the test hold in this run.");
}

TEST(ReportFindings, AStudyWithoutItsListScansTheStages) {
  TemporaryFolder folder;
  make_study(folder.path());
  fs::remove(folder.path() / "environment.json");
  fs::remove(folder.path() / "config.yaml");
  const RunFiles run = read_run(folder.path());
  EXPECT_EQ(run.kind, "study");
  EXPECT_EQ(run.stages.size(), 12u);
  EXPECT_EQ(run_findings(run).size(), 8u);
}

TEST(ReportFindings, AStudyTakesTheOrderOfItsStagesFile) {
  TemporaryFolder folder;
  make_study(folder.path());
  write_text(folder.path() / "environment.json", R"({"kind": "study"})");
  write_text(folder.path() / "stages.json", R"([{"stage": "useful", "kind": "finetune"}, {"stage": "base"}])");
  const RunFiles run = read_run(folder.path());
  ASSERT_EQ(run.stages.size(), 12u);
  EXPECT_EQ(run.stages[0].name, "useful");
  EXPECT_EQ(run.stages[1].name, "base");
  EXPECT_EQ(run.stages[2].name, "ablation");
}

TEST(ReportFiles, ShowsFurtherTables) {
  TemporaryFolder folder;
  make_evaluate(folder.path());
  write_text(folder.path() / "layers.csv", "layer,energy_removed\n0,0.25\n");
  write_report(folder.path());
  EXPECT_THAT(read_text(folder.path() / "report.html"), HasSubstr("layers.csv (1 row)"));
}

TEST(ReportFiles, WritesPlotsAndRemovesStaleOnes) {
  TemporaryFolder folder;
  make_study(folder.path());
  write_text(folder.path() / "plots/old.svg", "<svg/>");
  write_report(folder.path());
  EXPECT_FALSE(fs::exists(folder.path() / "plots/old.svg"));
  size_t plots = 0;
  for (const auto& entry : fs::directory_iterator(folder.path() / "plots")) {
    const std::string svg = read_text(entry.path());
    EXPECT_THAT(svg, HasSubstr("</svg>"));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    ++plots;
  }
  EXPECT_GE(plots, 20u);
  EXPECT_TRUE(fs::exists(folder.path() / "plots/picture-utility-energy-same.svg"));
}

TEST(ReportFiles, TheSameTablesGiveTheSameBytes) {
  TemporaryFolder folder;
  make_projection(folder.path());
  write_report(folder.path());
  const std::string first = read_text(folder.path() / "report.html");
  write_report(folder.path());
  EXPECT_EQ(read_text(folder.path() / "report.html"), first);
}

TEST(ReportFiles, EscapesNamesAndConfigurations) {
  TemporaryFolder folder;
  Effect hostile;
  hostile.extra_model = hostile_name;
  make_projection(folder.path() / "<script>window.hacked=1<", hostile);
  write_report(folder.path() / "<script>window.hacked=1<");
  const std::string page = read_text(folder.path() / "<script>window.hacked=1<" / "report.html");
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;window.hacked=1&lt;/script&gt;"));
  EXPECT_THAT(page, Not(HasSubstr("<script>window")));
  EXPECT_EQ(page.find("<script"), page.rfind("<script"));  // the page's own, and no other
}

TEST(ReportFiles, LongTablesAreCutWithANote) {
  TemporaryFolder folder;
  make_projection(folder.path());
  write_report(folder.path());
  const std::string page = read_text(folder.path() / "report.html");
  EXPECT_THAT(page, HasSubstr("The first 200 of 900 rows; 700 more are in the file."));
}

TEST(ReportFiles, ReportsUnfinishedRuns) {
  TemporaryFolder folder;
  write_text(folder.path() / "environment.json", R"({"kind": "overlap", "status": "running", "ended": null})");
  write_report(folder.path());
  const std::string page = read_text(folder.path() / "report.html");
  EXPECT_THAT(page, HasSubstr("There is no results.csv yet (status: running)."));
  EXPECT_THAT(page, HasSubstr("There are no numbers yet."));
}

TEST(ReportFiles, ReportsProjectionsThatWereNotEvaluated) {
  TemporaryFolder folder;
  write_text(folder.path() / "config.yaml", "kind: projection\n");
  write_text(folder.path() / "results.csv",
             "model,basis,mode,fraction,draw,energy_kept,cosine_task_proj,cosine_task_align\n"
             "m,top_k,same,0.25,0,0.4,0.6,0.1\nm,top_k,same,0.5,0,0.6,0.7,0.1\n");
  write_report(folder.path());
  const std::string page = read_text(folder.path() / "report.html");
  EXPECT_THAT(page, HasSubstr("None of them was evaluated."));
  EXPECT_TRUE(fs::exists(folder.path() / "plots/energy-fraction-same.svg"));
}

TEST(ReportFiles, BadFilesAreNamed) {
  TemporaryFolder folder;
  EXPECT_THROW(write_report(folder.path() / "absent"), runtime::Error);
  const auto where = [&] {
    try {
      write_report(folder.path());
    } catch (const runtime::Error& error) {
      return error.where();
    }
    return std::string();
  };
  write_text(folder.path() / "metrics.jsonl", "{\"step\": 1, \"loss\": 2}\n{\"step\":\n{\"step\": 3, \"loss\": 1}\n");
  EXPECT_THAT(where(), HasSubstr("metrics.jsonl:2"));
  write_text(folder.path() / "metrics.jsonl", "");
  write_text(folder.path() / "environment.json", "[1");
  EXPECT_THAT(where(), HasSubstr("environment.json"));
  fs::remove(folder.path() / "environment.json");
  write_text(folder.path() / "results.csv", "a,b\n1\n");
  EXPECT_THAT(where(), HasSubstr("results.csv:2"));
}

}  // namespace
}  // namespace subspect::experiments::report
