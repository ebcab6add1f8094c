// Tables: cells round-trip through CSV and journal, and rows survive a kill.
#include "experiments/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;

class TableFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("subspect-table-" + std::to_string(::getpid()) + "-" +
                                           ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST(Table, CsvQuotesAsRfc4180AndUndefinedIsEmpty) {
  Table table({"name", "x", "n,m"});
  table.append({"plain", 0.1, 3});
  table.append({"a,\"b\"\nc", std::nan(""), -std::numeric_limits<double>::infinity()});
  table.append(NamedCells{{"n,m", int64_t{1} << 60}});
  EXPECT_EQ(table.to_csv(), "name,x,\"n,m\"\nplain,0.1,3\n\"a,\"\"b\"\"\nc\",,\n,,1152921504606846976\n");
  const auto json = nlohmann::json::parse(table.to_json());
  EXPECT_EQ(json.size(), 3U);
  EXPECT_EQ(json[0]["x"], 0.1);
  EXPECT_TRUE(json[1]["x"].is_null());
  EXPECT_EQ(json[1]["name"], "a,\"b\"\nc");
}

TEST_F(TableFiles, DoublesKeepEveryBit) {
  std::mt19937_64 random(7);
  Table table(folder_, "results", {"x"});
  std::vector<double> values = {0.1, 1.0 / 3, 1e-310, 1.7976931348623157e308, -0.0, 5e-324, 123456789012345680.0};
  while (values.size() < 2000) {
    const uint64_t bits = random();
    double value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    if (std::isfinite(value)) values.push_back(value);
  }
  for (const double value : values) table.append(Row{value});
  table.write();
  const Table csv = Table::read_csv(folder_ / "results.csv");
  const Table journal(folder_, "results", {"x"});
  ASSERT_EQ(csv.size(), values.size());
  ASSERT_EQ(journal.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(csv.rows()[i][0].number(), values[i]);
    EXPECT_EQ(journal.rows()[i][0].number(), values[i]);
  }
}

TEST_F(TableFiles, RowsSurviveAKillAndATornLineIsDropped) {
  {
    Table table(folder_, "results", {"model", "fraction", "value"});
    table.append({"useful", 0.25, 1.5});
    table.append({"harm, ful", 1, {}});
  }
  std::ofstream(folder_ / "state" / "results.rows.jsonl", std::ios::app) << "[\"torn\", 0.";
  Table table(folder_, "results", {"model", "fraction", "value"});
  ASSERT_EQ(table.size(), 2U);
  EXPECT_TRUE(table.contains({{"model", "useful"}, {"fraction", 0.25}}));
  EXPECT_TRUE(table.contains({{"model", "harm, ful"}, {"fraction", 1.0}}));
  EXPECT_TRUE(table.contains({{"model", "harm, ful"}, {"value", {}}}));
  EXPECT_FALSE(table.contains({{"model", "useful"}, {"fraction", 0.5}}));
  table.append({"third", 0.5, 2});
  EXPECT_EQ(Table(folder_, "results", {"model", "fraction", "value"}).size(), 3U);
}

TEST_F(TableFiles, OtherColumnsOrDamagedRowsAreErrors) {
  { Table(folder_, "results", {"a", "b"}).append({1, 2}); }
  EXPECT_THROW(Table(folder_, "results", {"a", "c"}), runtime::Error);
  std::ofstream(folder_ / "state" / "results.rows.jsonl", std::ios::app) << "[1]\n";
  EXPECT_THROW(Table(folder_, "results", {"a", "b"}), runtime::Error);
}

TEST(Table, WrongRowsAreErrors) {
  Table table({"a", "b"});
  EXPECT_THROW(table.append(Row{1}), runtime::Error);
  EXPECT_THROW(table.append(NamedCells{{"c", 1}}), runtime::Error);
}

TEST_F(TableFiles, WrittenFilesAreReplacedWhole) {
  Table table(folder_, "tensors", {"a"});
  table.write();
  EXPECT_EQ(runtime::io::read_file(folder_ / "tensors.csv"), "a\n");
  EXPECT_EQ(runtime::io::read_file(folder_ / "tensors.json"), "[]\n");
  table.append(Row{1});
  table.write();
  EXPECT_EQ(runtime::io::read_file(folder_ / "tensors.csv"), "a\n1\n");
  EXPECT_EQ(runtime::io::read_file(folder_ / "tensors.json"), "[\n {\"a\":1}\n]\n");
}

}  // namespace
}  // namespace subspect::experiments
