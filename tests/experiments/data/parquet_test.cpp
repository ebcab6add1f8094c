// Parquet: files that pyarrow wrote, read as records. Skipped in a build without Apache Arrow, whose error
// records_test.cpp checks.
#include "experiments/data/parquet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "experiments/data/dataset.h"
#include "experiments/tasks/gsm8k.h"
#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path fixtures = fs::path(SUBSPECT_SOURCE_DIR) / "tests" / "fixtures" / "data";

class ParquetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!can_read_parquet()) GTEST_SKIP() << "this build has no Apache Arrow (tools/setup.sh fetches it)";
    std::string pattern = (fs::temp_directory_path() / "subspect-parquet-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  static std::vector<json> rows_of(const fs::path& file) {
    std::vector<json> rows;
    read_records(file, [&](const json& row, const RecordPlace& place) {
      EXPECT_EQ(place.index, static_cast<int64_t>(rows.size()));
      rows.push_back(row);
      return true;
    });
    return rows;
  }

  static std::string error_of(const fs::path& file) {
    try {
      rows_of(file);
    } catch (const runtime::Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

TEST_F(ParquetTest, RowsOfGsm8kOverRowGroups) {
  const std::vector<json> rows = rows_of(fixtures / "gsm8k.parquet");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0]["question"], "Tom has 3 apples and buys 4 more. How many has he?");
  EXPECT_EQ(rows[2]["answer"], "She reads 12 * 7 = <<12*7=84>>84 pages.\n#### 84");
  EXPECT_THAT(rows[2]["question"].get<std::string>(), HasSubstr("Zo\xc3\xab"));
  EXPECT_EQ(read_gsm8k(fixtures / "gsm8k.parquet").size(), 3U);
  DataSource source;
  source.path = InputPath((fixtures / "gsm8k.parquet").string());
  source.prompt_field = "question";
  source.response_field = "answer";
  source.limit = 2;
  EXPECT_EQ(read_source(source, 1).examples.size(), 2U);
}

TEST_F(ParquetTest, CellsOfEveryType) {
  const std::vector<json> rows = rows_of(fixtures / "types.parquet");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0], json::parse(R"({"flag": true, "small": -3, "large": 9223372036854775808, "share": 0.5, "word": "a",
    "long": "x", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
    "safe": {"is": true}, "day": "2024-02-29", "price": "1.50"})"));
  EXPECT_EQ(rows[1], json::parse(R"({"flag": null, "small": 4, "large": 1, "share": null, "word": "b", "long": "y",
    "messages": [], "safe": null, "day": null, "price": null})"));
}

TEST_F(ParquetTest, AFolderMayHoldParquet) {
  fs::copy(fixtures / "gsm8k.parquet", folder_ / "a.parquet");
  fs::copy(fixtures / "gsm8k.parquet", folder_ / "b.parquet");
  int rows = 0;
  read_records(folder_, [&](const json&, const RecordPlace&) { return ++rows < 4; });
  EXPECT_EQ(rows, 4);
}

TEST_F(ParquetTest, DamagedFilesAreErrorsWithTheirName) {
  const std::string whole = runtime::io::read_file(fixtures / "gsm8k.parquet");
  const auto damaged = [&](const char* name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return error_of(folder_ / name);
  };
  EXPECT_THAT(damaged("cut.parquet", whole.substr(0, whole.size() / 2)),
              AllOf(HasSubstr("cannot read the Parquet file"), HasSubstr("cut.parquet")));
  EXPECT_THAT(damaged("magic.parquet", "PAR1"), HasSubstr("magic.parquet"));
  EXPECT_THAT(damaged("text.parquet", "{\"a\": 1}\n{\"a\": 2}\n"), HasSubstr("text.parquet"));
  std::string flipped = whole;
  for (size_t i = 8; i < 40; ++i) flipped[i] = static_cast<char>(~flipped[i]);
  EXPECT_THAT(damaged("flipped.parquet", flipped), HasSubstr("flipped.parquet"));
}

}  // namespace
}  // namespace subspect::experiments
