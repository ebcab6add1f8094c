// AdvBench's rows and the summary of judgements.
#include "experiments/tasks/advbench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>

#include "runtime/error.h"
#include "runtime/io/hash.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

TEST(AdvBenchTest, ReadsAllPromptsOfTheRealFile) {
  const char* data = std::getenv("SUBSPECT_DATA");
  const fs::path folder = data != nullptr ? fs::path(data) : fs::path(SUBSPECT_SOURCE_DIR) / ".." / "shared" / "data";
  const fs::path file = folder / "advbench" / "harmful_behaviors.csv";
  if (!fs::exists(file)) GTEST_SKIP() << "needs " << file;
  const auto rows = read_advbench(file);
  ASSERT_EQ(rows.size(), 520U);
  size_t with_comma = 0;
  std::string goals;
  for (const AdvBenchRow& row : rows) {
    EXPECT_FALSE(row.goal.empty());
    EXPECT_FALSE(row.target.empty());
    if (!goals.empty()) goals += '\0';
    goals += row.goal;
    with_comma += row.goal.find(',') != std::string::npos;
  }
  EXPECT_EQ(with_comma, 14U);
  // As Python's csv.DictReader reads them, joined by zero bytes.
  EXPECT_EQ(runtime::io::sha256(goals), "03c29cc59fa7a4bd264fc299d049af1bed3bbcde19de1b8cb4c288ea3b50d1c5");
  EXPECT_EQ(read_advbench(file, 7).size(), 7U);
}

TEST(AdvBenchTest, QuotedCellsKeepCommasAndTheTargetIsOptional) {
  const fs::path file = fs::path(testing::TempDir()) / ("subspect-advbench-" + std::to_string(::getpid()) + ".csv");
  std::ofstream(file) << "goal,target\n\"one, two\",\"Sure, here\"\nthree,\n";
  auto rows = read_advbench(file);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].goal, "one, two");
  EXPECT_EQ(rows[0].target, "Sure, here");
  EXPECT_EQ(rows[1].target, "");
  std::ofstream(file, std::ios::trunc) << "goal\nalone\n";
  EXPECT_EQ(read_advbench(file).at(0).goal, "alone");
  std::ofstream(file, std::ios::trunc) << "goal,target\n";
  EXPECT_THROW(read_advbench(file), runtime::Error);
  std::ofstream(file, std::ios::trunc) << "prompt\nx\n";
  EXPECT_THROW(read_advbench(file), runtime::Error);
  fs::remove(file);
}

TEST(AdvBenchTest, PublishedReadingsCutAtCommasAndLoseTheLastPrompt) {
  const fs::path file = fs::path(testing::TempDir()) / ("subspect-published-" + std::to_string(::getpid()) + ".csv");
  std::ofstream(file) << "goal,target\n\"one, two\",\"Sure, here\"\nthree,x\nfour,y\n";
  const auto goals = [&](const AdvBenchReading& reading, int64_t limit = 0) {
    std::vector<std::string> all;
    for (const AdvBenchRow& row : read_advbench_as_published(file, reading, limit)) all.push_back(row.goal);
    return all;
  };
  EXPECT_THAT(goals({.comma_lines = true, .last_dropped = false}), ElementsAre("\"one", "three", "four"));
  EXPECT_THAT(goals({.comma_lines = false, .last_dropped = true}), ElementsAre("one, two", "three"));
  EXPECT_THAT(goals({.comma_lines = true, .last_dropped = true}), ElementsAre("\"one", "three"));
  EXPECT_THAT(goals({.comma_lines = true, .last_dropped = true}, 1), ElementsAre("\"one"));
  std::ofstream(file, std::ios::trunc) << "goal,target\nalone,x\n";
  EXPECT_THROW(goals({.comma_lines = true, .last_dropped = true}), runtime::Error);
  fs::remove(file);
}

TEST(AdvBenchTest, StopsAreTheFourOfTheStudy) {
  EXPECT_THAT(advbench_stops(), ElementsAre("Instruction:", "Instruction", "Response:", "Response"));
}

TEST(AdvBenchTest, SummarisesValidJudgementsAndCountsTheOthers) {
  const Harmfulness result = summarise_harmfulness({{1, ""}, {5, ""}, {0, ""}, {3, ""}, {5, ""}, {6, ""}});
  EXPECT_EQ(result.valid, 4);
  EXPECT_EQ(result.invalid, 2);
  EXPECT_THAT(result.counts, ElementsAre(1, 0, 1, 0, 2));
  EXPECT_DOUBLE_EQ(result.mean, 3.5);
  EXPECT_DOUBLE_EQ(result.above_one, 0.75);
  // Sample variance of 1, 5, 3, 5 is 11/3.
  EXPECT_NEAR(result.standard_error, std::sqrt(11.0 / 3 / 4), 1e-12);
}

TEST(AdvBenchTest, NothingJudgedIsUndefined) {
  const Harmfulness none = summarise_harmfulness({{0, ""}});
  EXPECT_TRUE(std::isnan(none.mean) && std::isnan(none.above_one) && std::isnan(none.standard_error));
  EXPECT_EQ(none.invalid, 1);
  EXPECT_TRUE(std::isnan(summarise_harmfulness({{2, ""}}).standard_error));
}

}  // namespace
}  // namespace subspect::experiments
