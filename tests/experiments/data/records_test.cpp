// Records of every format, and what is said about bad ones.
#include "experiments/data/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <zlib.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "experiments/data/csv.h"
#include "experiments/data/parquet.h"
#include "runtime/error.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Rows = std::vector<std::vector<std::string>>;

class RecordsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "subspect-records-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path put(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }

  static json read(const fs::path& path) {
    json records = json::array();
    read_records(path, [&](const json& record, const RecordPlace& place) {
      EXPECT_EQ(place.index, static_cast<int64_t>(records.size()));
      records.push_back(record);
      return true;
    });
    return records;
  }

  static std::string error_of(const fs::path& path) {
    try {
      read(path);
    } catch (const runtime::Error& error) {
      return error.what();
    }
    return "no error";
  }

  std::string error_of_text(const std::string& name, const std::string& bytes) const {
    return error_of(put(name, bytes));
  }

  Rows rows_of(const std::string& text) const {
    CsvReader reader(put("rows.csv", text));
    Rows rows;
    std::vector<std::string> cells;
    while (reader.next(cells)) rows.push_back(cells);
    return rows;
  }

  fs::path folder_;
};

TEST_F(RecordsTest, AllFormatsGiveTheSameRecords) {
  const json expected = {{{"a", "x, y"}, {"b", "line 1\nline 2"}}, {{"a", "\xc3\xa9"}, {"b", ""}}};
  EXPECT_EQ(read(put("r.jsonl", expected[0].dump() + "\r\n\n  \n" + expected[1].dump())), expected);
  EXPECT_EQ(read(put("r.json", expected.dump(2))), expected);
  EXPECT_EQ(read(put("s.json", json{{"data", expected}, {"version", 1}}.dump())), expected);
  EXPECT_EQ(read(put("r.csv",
                     "\xef\xbb\xbf"
                     "a,b\r\n\"x, y\",\"line 1\nline 2\"\r\n\xc3\xa9,\r\n")),
            expected);
  EXPECT_EQ(read(put("empty.jsonl", "")), json::array());
}

TEST_F(RecordsTest, CompressedFilesAreReadThroughTheirInnerName) {
  const fs::path file = folder_ / "r.jsonl.gz";
  gzFile gz = gzopen(file.c_str(), "wb");
  gzputs(gz, "{\"a\": 1}\n");
  gzclose(gz);
  EXPECT_EQ(read(file), json::parse(R"([{"a": 1}])"));
}

TEST_F(RecordsTest, FoldersAndGlobsAreReadInOrderOfNames) {
  put("b.jsonl", "{\"n\": 2}\n");
  put("a.jsonl", "{\"n\": 1}\n");
  put("c.csv", "n\n3\n");
  put("notes.txt", "not data");
  put(".hidden.jsonl", "broken");
  const auto names = [&](const fs::path& path) {
    std::vector<std::string> found;
    for (const fs::path& file : data_files(path)) found.push_back(file.filename());
    return found;
  };
  EXPECT_THAT(names(folder_), ElementsAre("a.jsonl", "b.jsonl", "c.csv"));
  EXPECT_THAT(names(folder_ / "*.jsonl"), ElementsAre("a.jsonl", "b.jsonl"));
  EXPECT_THAT(names(folder_ / "[bc].*"), ElementsAre("b.jsonl", "c.csv"));
  EXPECT_THAT(error_of(folder_ / "*.json"), HasSubstr("no data files"));
  EXPECT_THAT(error_of(folder_ / "none" / "*.json"), HasSubstr("no such folder"));
  EXPECT_THAT(error_of(folder_ / "missing.jsonl"), AllOf(HasSubstr("no such data file"), HasSubstr("missing.jsonl")));
  put("odd[1].jsonl", "{\"n\": 4}\n");
  EXPECT_THAT(names(folder_ / "odd[1].jsonl"), ElementsAre("odd[1].jsonl"));
}

TEST_F(RecordsTest, ReadingStopsWhenAsked) {
  put("a.jsonl", "{\"n\": 1}\nnot json");
  put("b.jsonl", "not json");
  int taken = 0;
  read_records(folder_, [&](const json&, const RecordPlace&) { return ++taken < 1; });
  EXPECT_EQ(taken, 1);
}

TEST_F(RecordsTest, BadLinesAreNamed) {
  EXPECT_THAT(error_of_text("a.jsonl", "{\"a\": 1}\n\n{\"a\": \n"),
              AllOf(HasSubstr("not valid JSON"), HasSubstr("a.jsonl:3")));
  EXPECT_THAT(error_of_text("b.jsonl", "{}\n[1]\n"), AllOf(HasSubstr("must be a JSON object"), HasSubstr("b.jsonl:2")));
  EXPECT_THAT(error_of_text("c.jsonl", "{}\n{\"a\": \"\xff\"}\n"),
              AllOf(HasSubstr("invalid UTF-8"), HasSubstr("c.jsonl:2")));
  EXPECT_THAT(error_of_text("d.json", "{\"rows\": []}"), HasSubstr("not a list of records"));
  EXPECT_THAT(error_of_text("e.json", "[{}, 3]"), AllOf(HasSubstr("not a number"), HasSubstr("e.json, record 1")));
  EXPECT_THAT(error_of_text("f.json", "[{]"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of_text("g.json", "\"\xc3\""), HasSubstr("invalid UTF-8"));
  EXPECT_THAT(error_of_text("h.csv", ""), HasSubstr("no header row"));
  EXPECT_THAT(error_of_text("i.csv", "a,b\n1,2\n\n3\n"),
              AllOf(HasSubstr("1 cells under a header of 2"), HasSubstr("i.csv:4")));
  EXPECT_THAT(error_of_text("j.csv", "a,a\n1,2\n"), HasSubstr("two columns are called 'a'"));
  EXPECT_THAT(error_of_text("k.csv", "a\nx\n\"\xe2\x82\"\n"), AllOf(HasSubstr("invalid UTF-8"), HasSubstr("k.csv:3")));
  EXPECT_THAT(
      error_of_text("l.parquet", "PAR1"),
      AllOf(HasSubstr(can_read_parquet() ? "cannot read the Parquet file" : "Apache Arrow"), HasSubstr("l.parquet")));
  EXPECT_THAT(error_of_text("m.tsv", "a\tb"), HasSubstr("unknown kind of data file"));
}

TEST_F(RecordsTest, CsvCells) {
  EXPECT_EQ(rows_of("a,b\n1,2"), (Rows{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(rows_of("a,\n,\n"), (Rows{{"a", ""}, {"", ""}}));
  EXPECT_EQ(rows_of("\"say \"\"hi\"\"\",\"\"\r\n"), (Rows{{"say \"hi\"", ""}}));
  EXPECT_EQ(rows_of("\"a\r\nb\",c\r\n"), (Rows{{"a\r\nb", "c"}}));
  EXPECT_EQ(rows_of("a b \"c\" d\n"), (Rows{{"a b \"c\" d"}}));
  EXPECT_EQ(rows_of("a\rb,c\n"), (Rows{{"a\rb", "c"}}));
  EXPECT_EQ(rows_of("\n\r\n\n"), Rows{});
  EXPECT_EQ(rows_of("x"), (Rows{{"x"}}));
}

TEST_F(RecordsTest, CsvMistakesHaveTheirLine) {
  const auto error = [&](const std::string& text) {
    try {
      rows_of(text);
    } catch (const runtime::Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(error("a\n\"b\n\nc"), AllOf(HasSubstr("never closed"), HasSubstr("rows.csv:2")));
  EXPECT_THAT(error("a\nb\n\"c\"d\n"), AllOf(HasSubstr("text after a closing quote"), HasSubstr("rows.csv:3")));
}

TEST_F(RecordsTest, CsvRoundTripsAnyText) {
  const bool holds = rc::check("quoted cells read back", [&](const std::vector<std::vector<std::string>>& rows) {
    std::string text;
    Rows expected;
    for (const auto& row : rows) {
      if (row.empty()) continue;
      expected.push_back(row);
      for (size_t i = 0; i < row.size(); ++i) {
        text += i > 0 ? ",\"" : "\"";
        for (const char c : row[i]) text += c == '"' ? std::string("\"\"") : std::string(1, c);
        text += '"';
      }
      text += "\r\n";
    }
    RC_ASSERT(rows_of(text) == expected);
  });
  EXPECT_TRUE(holds);
}

TEST(FieldsOfRecordsTest, AreFoundByDots) {
  const json record = json::parse(R"({"a": {"b": {"c": 1}}, "a.b": {"d": 2}, "e.f": 3, "g": [1]})");
  EXPECT_EQ(*find_field(record, "a.b.c"), 1);
  EXPECT_EQ(*find_field(record, "a.b.d"), 2);
  EXPECT_EQ(*find_field(record, "e.f"), 3);
  EXPECT_EQ(find_field(record, "a.x"), nullptr);
  EXPECT_EQ(find_field(record, "g.0"), nullptr);
  EXPECT_EQ(find_field(record, ""), nullptr);
}

TEST(FieldsOfRecordsTest, AreTextOrNamedErrors) {
  const json record = json::parse(R"({"s": "x", "n": 4, "b": true, "z": null, "l": [1]})");
  const RecordPlace place = {"f.jsonl", 7, 6};
  EXPECT_EQ(text_field(record, "s", place), "x");
  EXPECT_EQ(text_field(record, "n", place), "4");
  EXPECT_EQ(text_field(record, "b", place), "true");
  EXPECT_EQ(text_field(record, "z", place), "");
  const auto error = [&](const char* field) {
    try {
      text_field(record, field, place);
    } catch (const runtime::Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(error("q"), AllOf(HasSubstr("no field 'q' (f.jsonl:7)"), HasSubstr("b, l, n, s, z")));
  EXPECT_THAT(error("l"), AllOf(HasSubstr("field 'l' is an array, not text"), HasSubstr("f.jsonl:7")));
}

}  // namespace
}  // namespace subspect::experiments
