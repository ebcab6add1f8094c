// Filtering, shuffling, cutting and mixing in shares, duplicates, lengths; what is counted and what is refused.
#include "experiments/data/mixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>

#include "experiments/config/config.h"
#include "runtime/error.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "subspect-dataset-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  DataSource source(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    DataSource made;
    made.path = InputPath((folder_ / name).string());
    return made;
  }

  /// Rows p0 -> r0, p1 -> r1, ...
  DataSource numbered(int64_t rows) const {
    std::string text;
    for (int64_t i = 0; i < rows; ++i) {
      text +=
          fmt::format("{{\"prompt\": \"p{}\", \"response\": \"r{}\", \"n\": {}, \"even\": {}}}\n", i, i, i, i % 2 == 0);
    }
    return source("numbered.jsonl", text);
  }

  static std::vector<std::string> prompts(const Dataset& data) {
    std::vector<std::string> all;
    for (const Example& example : data.examples) all.push_back(example.prompt);
    return all;
  }

  template <class Function>
  static std::string error_of(const Function& function) {
    try {
      function();
    } catch (const runtime::Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

TEST_F(DatasetTest, KeepsFileOrderAndPlaces) {
  const Dataset data = read_source(numbered(3), 1);
  EXPECT_THAT(prompts(data), ElementsAre("p0", "p1", "p2"));
  EXPECT_EQ(data.examples[2].response, "r2");
  EXPECT_EQ(data.examples[2].index, 2);
  EXPECT_EQ(data.examples[2].source, (folder_ / "numbered.jsonl").string());
  EXPECT_EQ(data.reports.at(0).examples, 3);
}

TEST_F(DatasetTest, FiltersByValuesOfEveryKind) {
  DataSource even = numbered(6);
  even.where = {{"even", true}};
  EXPECT_THAT(prompts(read_source(even, 1)), ElementsAre("p0", "p2", "p4"));
  EXPECT_EQ(read_source(even, 1).reports[0].filtered, 3);
  even.where = {{"even", false}, {"n", int64_t{3}}};
  EXPECT_THAT(prompts(read_source(even, 1)), ElementsAre("p3"));
  even.where = {{"prompt", std::string("p5")}};
  EXPECT_THAT(prompts(read_source(even, 1)), ElementsAre("p5"));
  even.where = {{"n", 2.0}};
  EXPECT_THAT(prompts(read_source(even, 1)), ElementsAre("p2"));
  even.where = {{"n", std::string("2")}};
  EXPECT_THAT(error_of([&] { read_source(even, 1); }), AllOf(HasSubstr("no examples"), HasSubstr("6 filtered out")));
  even.where = {{"odd", true}};
  EXPECT_THAT(error_of([&] { read_source(even, 1); }),
              AllOf(HasSubstr("no field 'odd'"), HasSubstr("numbered.jsonl:1")));
}

TEST_F(DatasetTest, FiltersNestedFieldsNullsAndCsvText) {
  DataSource nested = source("n.jsonl",
                             "{\"prompt\": \"a\", \"response\": \"1\", \"m\": {\"safe\": false, \"x\": null}}\n"
                             "{\"prompt\": \"b\", \"response\": \"2\", \"m\": {\"safe\": true, \"x\": 0}}\n");
  nested.where = {{"m.safe", false}};
  EXPECT_THAT(prompts(read_source(nested, 1)), ElementsAre("a"));
  nested.where = {{"m.x", std::monostate()}};
  EXPECT_THAT(prompts(read_source(nested, 1)), ElementsAre("a"));
  DataSource csv = source("c.csv", "prompt,response,safe,n\na,1,False,1\nb,2,true,2.50\nc,3,true,x\n");
  csv.where = {{"safe", true}};
  EXPECT_THAT(prompts(read_source(csv, 1)), ElementsAre("b", "c"));
  csv.where = {{"n", 2.5}};
  EXPECT_THAT(prompts(read_source(csv, 1)), ElementsAre("b"));
}

TEST_F(DatasetTest, EmptyResponsesAreLeftOutAndCounted) {
  DataSource data = source("e.jsonl",
                           "{\"prompt\": \"a\", \"response\": \"\"}\n{\"prompt\": \"b\", \"response\": \" \\n\"}\n"
                           "{\"prompt\": \"c\", \"response\": null}\n{\"prompt\": \"d\", \"response\": \"x\"}\n");
  data.limit = 1;
  const Dataset read = read_source(data, 1);
  EXPECT_THAT(prompts(read), ElementsAre("d"));
  EXPECT_EQ(read.reports[0].empty_responses, 3);
  EXPECT_THAT(read.reports[0].text(), HasSubstr("1 examples of 4 rows, 3 with an empty response left out"));
}

TEST_F(DatasetTest, LimitsAfterShuffling) {
  DataSource data = numbered(100);
  data.limit = 10;
  EXPECT_EQ(prompts(read_source(data, 1)).back(), "p9");
  data.shuffle = true;
  const auto first = prompts(read_source(data, 1));
  EXPECT_EQ(first.size(), 10U);
  EXPECT_EQ(first, prompts(read_source(data, 1)));
  EXPECT_NE(first, prompts(read_source(data, 2)));
  EXPECT_EQ(read_source(data, 1).reports[0].beyond_limit, 90);
  EXPECT_EQ(std::set<std::string>(first.begin(), first.end()).size(), 10U);
  data.limit = 1000;
  EXPECT_EQ(read_source(data, 1).examples.size(), 100U);
}

/// The order is part of what a seed means: it must not change between versions or machines.
TEST_F(DatasetTest, TheOrderOfASeedIsFixed) {
  DataSource data = numbered(8);
  data.shuffle = true;
  EXPECT_THAT(prompts(read_source(data, 42)), ElementsAre("p7", "p6", "p0", "p2", "p5", "p4", "p3", "p1"));
}

TEST_F(DatasetTest, MissingFieldsAreNamedWithThoseThatAre) {
  DataSource data =
      source("m.jsonl", "{\"prompt\": \"a\", \"response\": \"b\"}\n{\"query\": \"a\", \"answer\": \"b\"}\n");
  EXPECT_THAT(error_of([&] { read_source(data, 1); }),
              AllOf(HasSubstr("no field 'prompt'"), HasSubstr("m.jsonl:2"), HasSubstr("answer, query")));
}

TEST_F(DatasetTest, PlainTextHasNoPrompt) {
  DataSource data = source("t.jsonl", "{\"text\": \"once\"}\n");
  data.prompt_field = "";
  data.response_field = "text";
  const Dataset read = read_source(data, 1);
  EXPECT_EQ(read.examples.at(0).prompt, "");
  EXPECT_EQ(read.examples.at(0).response, "once");
}

TEST_F(DatasetTest, ChatsOfOneTurn) {
  DataSource data = source(
      "chat.jsonl",
      "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"ho\"}]}\n"
      "{\"messages\": [{\"role\": \"system\", \"content\": \"be kind\"}, {\"role\": \"user\", \"content\": "
      "\"hi\"}, {\"role\": \"assistant\", \"content\": \"ho\"}]}\n");
  data.prompt_field = "messages";
  const Dataset read = read_source(data, 1);
  EXPECT_EQ(read.examples.at(0).prompt, "hi");
  EXPECT_EQ(read.examples.at(1).prompt, "be kind\n\nhi");
  EXPECT_EQ(read.examples.at(1).response, "ho");
  for (const char* bad :
       {"[]", "3", "[{\"role\": \"user\", \"content\": \"x\"}]", "[1, 2]",
        "[{\"role\": \"assistant\", \"content\": \"x\"}, {\"role\": \"user\", \"content\": \"y\"}]"}) {
    DataSource broken = source("bad.jsonl", fmt::format("{{\"messages\": {}}}\n", bad));
    broken.prompt_field = "messages";
    EXPECT_THAT(error_of([&] { read_source(broken, 1); }),
                AllOf(HasSubstr("messages must be"), HasSubstr("bad.jsonl:1")))
        << bad;
  }
}

TEST_F(DatasetTest, MixturesHoldEverySourceInOneOrder) {
  DataSource useful = numbered(50);
  DataSource harmful;
  harmful.synthetic = "harmful";
  harmful.count = 10;
  const Dataset mixed = read_mixture({useful, harmful}, {.seed = 3, .shuffle = true});
  ASSERT_EQ(mixed.examples.size(), 60U);
  ASSERT_EQ(mixed.reports.size(), 2U);
  EXPECT_EQ(mixed.reports[1].source, "synthetic:harmful");
  const auto is_harmful = [](const Example& example) { return example.source == "synthetic:harmful"; };
  EXPECT_EQ(std::count_if(mixed.examples.begin(), mixed.examples.end(), is_harmful), 10);
  EXPECT_FALSE(std::is_partitioned(mixed.examples.begin(), mixed.examples.end(),
                                   [&](const Example& example) { return !is_harmful(example); }));
  EXPECT_EQ(prompts(mixed), prompts(read_mixture({useful, harmful}, {.seed = 3, .shuffle = true})));
  EXPECT_NE(prompts(mixed), prompts(read_mixture({useful, harmful}, {.seed = 4, .shuffle = true})));
  const Dataset in_order = read_mixture({useful, harmful}, {.seed = 3});
  EXPECT_EQ(in_order.examples.front().prompt, "p0");
  EXPECT_TRUE(is_harmful(in_order.examples.back()));
}

using Counts = std::pair<int64_t, int64_t>;  // of two sources

TEST_F(DatasetTest, WeightsAreSharesOfTheLargestMixtureWithoutRepetition) {
  DataSource useful = numbered(50);
  DataSource harmful;
  harmful.synthetic = "harmful";
  harmful.count = 10;
  const auto kept = [&](double useful_weight, double harmful_weight) {
    useful.weight = useful_weight;
    harmful.weight = harmful_weight;
    const Dataset data = read_mixture({useful, harmful}, {.seed = 3});
    EXPECT_EQ(data.reports[0].examples + data.reports[1].examples, static_cast<int64_t>(data.examples.size()));
    EXPECT_EQ(data.reports[0].examples + data.reports[0].beyond_share, 50);
    EXPECT_EQ(data.reports[1].examples + data.reports[1].beyond_share, 10);
    EXPECT_EQ(data.examples[0].prompt == "p0", data.reports[0].examples > 0);
    return std::pair(data.reports[0].examples, data.reports[1].examples);
  };
  EXPECT_EQ(kept(0.8, 0.2), Counts(40, 10));
  EXPECT_EQ(kept(9, 1), Counts(50, 5)) << "5.6 of 55.6 is rounded down";
  EXPECT_EQ(kept(2, 1), Counts(20, 10));
  EXPECT_EQ(kept(1, 1000), Counts(0, 10));
  EXPECT_EQ(kept(0, 0), Counts(50, 10));
  EXPECT_THAT(error_of([&] { kept(1, 0); }), HasSubstr("only some of the data sources have a weight"));
}

TEST_F(DatasetTest, DuplicatesAreLeftOutOfTheWholeMixture) {
  const auto row = [](const char* prompt, const char* response) {
    return fmt::format("{{\"prompt\": \"{}\", \"response\": \"{}\"}}\n", prompt, response);
  };
  const DataSource a = source("a.jsonl", row("Ask", "Yes  it is") + row("Ask", "Yes  it is") + row("3+5", "8"));
  const DataSource b = source("b.jsonl", row(" ask\\n", "YES it is") + row("3-5", "8") + row("As", "kYes  it is"));
  const auto numbers = [&](Duplicates duplicates) {
    const Dataset data = read_mixture({a, b}, {.duplicates = duplicates});
    EXPECT_EQ(data.examples.size(), 6U - static_cast<size_t>(data.reports[0].duplicates + data.reports[1].duplicates));
    return std::pair(data.reports[0].duplicates, data.reports[1].duplicates);
  };
  EXPECT_EQ(numbers(Duplicates::keep), Counts(0, 0));
  EXPECT_EQ(numbers(Duplicates::exact), Counts(1, 0));
  EXPECT_EQ(numbers(Duplicates::normalized), Counts(1, 1));
  EXPECT_THAT(read_mixture({a}, {.duplicates = Duplicates::exact}).reports[0].text(),
              HasSubstr("1 duplicates left out"));
}

TEST_F(DatasetTest, TellsTheLengthsOfEachSource) {
  Dataset data;
  data.reports.resize(3);
  data.reports[0].source = "a";
  data.reports[0].examples = 4;
  data.reports[1].examples = 1;
  const Table table = data_table(data, {4, 1, 3, 2, 9}, 3);
  const auto number = [&](size_t row, const char* column) { return table.cell(table.rows()[row], column).number(); };
  ASSERT_EQ(table.size(), 3U);
  EXPECT_EQ(table.cell(table.rows()[0], "source").text(), "a");
  EXPECT_EQ(number(0, "tokens"), 10);
  EXPECT_EQ(number(0, "tokens_min"), 1);
  EXPECT_EQ(number(0, "tokens_median"), 2);
  EXPECT_EQ(number(0, "tokens_p95"), 4);
  EXPECT_EQ(number(0, "tokens_max"), 4);
  EXPECT_EQ(number(0, "too_long"), 1);
  EXPECT_EQ(number(1, "tokens_median"), 9);
  EXPECT_TRUE(table.cell(table.rows()[2], "tokens_max").empty());
  EXPECT_EQ(data_table(data, {4, 1, 3, 2, 9}, 0).rows()[0].back().number(), 0);
}

TEST_F(DatasetTest, DrawsTextsWithoutReplacement) {
  const auto file = numbered(30).path.filesystem();
  EXPECT_EQ(read_texts(file, "prompt").size(), 30U);
  const auto drawn = read_texts(file, "prompt", 12, 5);
  EXPECT_EQ(std::set<std::string>(drawn.begin(), drawn.end()).size(), 12U);
  EXPECT_EQ(drawn, read_texts(file, "prompt", 12, 5));
  EXPECT_NE(drawn, read_texts(file, "prompt", 12, 6));
  EXPECT_EQ(read_texts(file, "prompt", 0, 0, {{"even", true}}).size(), 15U);
  EXPECT_THAT(error_of([&] { read_texts(file, "prompt", 31, 5); }), HasSubstr("31 texts are asked for, there are 30"));
}

TEST_F(DatasetTest, ReadsItsConfiguration) {
  const auto from_yaml = config_from_yaml<DataSource>(
      "path: x.jsonl\nprompt_field: query\nresponse_field: answer\nwhere: {is_safe: false, n: 3}\nlimit: 5\n", "/data");
  EXPECT_EQ(from_yaml.path.string(), "/data/x.jsonl");
  EXPECT_EQ(from_yaml.prompt_field, "query");
  ASSERT_EQ(from_yaml.where.size(), 2U);
  EXPECT_EQ(std::get<bool>(from_yaml.where[0].second), false);
  EXPECT_EQ(std::get<int64_t>(from_yaml.where[1].second), 3);
  const auto synthetic = config_from_yaml<DataSource>("{synthetic: useful, count: 9000}");
  EXPECT_EQ(synthetic.synthetic, "useful");
  EXPECT_EQ(synthetic.count, 9000);
  EXPECT_THAT(error_of([] { config_from_yaml<DataSource>("{limit: 3}"); }), HasSubstr("either a path or synthetic"));
  EXPECT_THAT(error_of([] { config_from_yaml<DataSource>("{path: x, synthetic: useful}"); }),
              HasSubstr("either a path or synthetic"));
  EXPECT_THAT(error_of([] { config_from_yaml<DataSource>("{synthetic: usefull, count: 1}"); }), HasSubstr("useful"));
  EXPECT_THAT(error_of([] { config_from_yaml<DataSource>("{synthetic: useful}"); }), HasSubstr("needs a count"));
}

}  // namespace
}  // namespace subspect::experiments
