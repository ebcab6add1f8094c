// Reading, writing and documenting of configs: every bad input gives one line with file, line and what to do.
#include "experiments/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "runtime/error.h"

namespace subspect::experiments {
namespace {

using ::testing::HasSubstr;

enum class Rounding { checkpoint, float16 };

struct Judge {
  std::string kind = "rules";
  int concurrency = 12;
  bool strict = false;
  void visit(Fields& f) {
    f.field("kind", kind, "who judges", Rule().one_of({"rules", "openai"}));
    if (f.when(kind == "openai", "kind is openai")) {
      f.field("concurrency", concurrency, "requests at a time", Rule().at_least(1).cosmetic());
    }
    f.field("strict", strict, "no partial credit");
  }
};

struct Model {
  ModelPath path;
  InputPath config;
  std::string init = "random";
  ModelPath& shorthand() { return path; }
  bool uses_shorthand() const { return config.empty(); }
  void visit(Fields& f) {
    f.field("config", config, "a config.json", Rule().required());
    f.field("init", init, "how weights begin", Rule().one_of({"random"}));
  }
};

struct Config {
  Model model;
  Named<InputPath> files;
  std::vector<double> fractions = {0.01, 0.5};
  std::vector<std::vector<std::string>> pairs;
  std::array<double, 2> betas = {0.9, 0.999};
  AllOr<std::array<double, 2>> layers = {false, {0.65, 0.9}};
  std::optional<int64_t> limit;
  Named<Scalar> where;
  std::vector<Judge> judges;
  Rounding rounding = Rounding::checkpoint;
  int64_t seed = 42;
  int8_t small = 1;
  bool packing = true;
  std::string text = "a";

  void visit(Fields& f) {
    f.field("model", model, "what is read", Rule().required());
    f.field("files", files, "inputs by name");
    f.field("fractions", fractions, "of the rank", Rule().above(0).not_empty());
    f.field("pairs", pairs, "pairs of names");
    f.field("betas", betas, "decay rates", Rule().at_least(0).below(1));
    f.field("layers", layers, "fractions of the depth");
    f.field("limit", limit, "rows at most", Rule().at_least(1));
    f.field("where", where, "columns that must have these values");
    f.field("judges", judges, "judges");
    f.choice("rounding", rounding, {{"checkpoint", Rounding::checkpoint}, {"float16", Rounding::float16}}, "rounding");
    f.field("seed", seed, "of everything random");
    f.field("small", small, "a small number");
    f.field("packing", packing, "several samples per sequence");
    f.field("text", text, "any text");
    f.check(seed != 13, "seed", "seed 13 is unlucky", "take another");
  }
};

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const runtime::UsageError& error) {
    EXPECT_EQ(error.exit_code(), 2);
    return error.what();
  }
  return "no error";
}

std::string read_error(const std::string& yaml) {
  return error_of([&] { config_from_yaml<Config>(yaml, "/work-folder"); });
}

class ConfigFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("subspect-config-" + std::to_string(::getpid()) + "-" +
                                                  ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_ / "sub");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  std::filesystem::path folder_;
};

TEST(Config, ReadsEveryKindOfField) {
  const auto config = config_from_yaml<Config>(R"(
kind: example
model: meta-llama/Llama-3.2-1B
files: {b: data/b.jsonl, a: /abs/a.jsonl}
fractions: [0.25, 1e-3, 2]
pairs: [[x, y], [y, z]]
betas: [0.9, 0.95]
layers: all
limit: 1e3
where: {is_safe: false, n: 3, ratio: 0.5, name: "true", none: null}
judges: [{kind: openai, concurrency: 3}, {}]
rounding: float16
seed: -7
small: 127
packing: false
text: 42
)",
                                               "/folder");
  EXPECT_EQ(config.model.path.string(), "meta-llama/Llama-3.2-1B");
  ASSERT_EQ(config.files.size(), 2U);
  EXPECT_EQ(config.files[0].first, "b");
  EXPECT_EQ(config.files[0].second.string(), "/folder/data/b.jsonl");
  EXPECT_EQ(config.files[1].second.string(), "/abs/a.jsonl");
  EXPECT_EQ(config.fractions, (std::vector<double>{0.25, 1e-3, 2}));
  EXPECT_EQ(config.pairs[1][1], "z");
  EXPECT_EQ(config.betas[1], 0.95);
  EXPECT_TRUE(config.layers.all);
  EXPECT_EQ(config.limit, 1000);
  EXPECT_EQ(std::get<bool>(config.where[0].second), false);
  EXPECT_EQ(std::get<int64_t>(config.where[1].second), 3);
  EXPECT_EQ(std::get<double>(config.where[2].second), 0.5);
  EXPECT_EQ(std::get<std::string>(config.where[3].second), "true");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(config.where[4].second));
  ASSERT_EQ(config.judges.size(), 2U);
  EXPECT_EQ(config.judges[0].concurrency, 3);
  EXPECT_EQ(config.judges[1].kind, "rules");
  EXPECT_EQ(config.rounding, Rounding::float16);
  EXPECT_EQ(config.seed, -7);
  EXPECT_EQ(config.small, 127);
  EXPECT_FALSE(config.packing);
  EXPECT_EQ(config.text, "42");
}

TEST(Config, AMappingMayStandWhereAWordMay) {
  const auto config = config_from_yaml<Config>("model: {config: tiny.json, init: random}\nlayers: [0.1, 0.2]\n", "/f");
  EXPECT_EQ(config.model.config.string(), "/f/tiny.json");
  EXPECT_FALSE(config.model.uses_shorthand());
  EXPECT_FALSE(config.layers.all);
  EXPECT_EQ(config.layers.value[1], 0.2);
}

TEST(Config, UnknownKeysNameTheNearest) {
  EXPECT_EQ(read_error("model: m\nfractoins: [1]\n"),
            "unknown key 'fractoins' (configuration:2): did you mean 'fractions'?");
  EXPECT_THAT(read_error("model: m\njudges:\n  - kind: rules\n    concurency: 2\n"),
              HasSubstr("unknown key 'judges.0.concurency' (configuration:4): known here: kind, strict"));
  EXPECT_THAT(read_error("model: {config: c, intt: random}\n"), HasSubstr("did you mean 'init'?"));
}

TEST(Config, WrongTypesSayWhatCame) {
  EXPECT_THAT(read_error("model: m\nseed: long\n"),
              HasSubstr("'seed' must be a whole number, not the string \"long\" (configuration:2)"));
  EXPECT_THAT(read_error("model: m\nseed: \"3\"\n"), HasSubstr("not the string \"3\""));
  EXPECT_THAT(read_error("model: m\nseed: 3.5\n"), HasSubstr("not 3.5"));
  EXPECT_THAT(read_error("model: m\nseed:\n"), HasSubstr("'seed' must be a whole number, not nothing"));
  EXPECT_THAT(read_error("model: m\nseed: [1]\n"), HasSubstr("not a list"));
  EXPECT_THAT(read_error("model: m\npacking: 1\n"), HasSubstr("'packing' must be true or false, not 1"));
  EXPECT_THAT(read_error("model: m\nfractions: 0.5\n"), HasSubstr("'fractions' must be a list, not 0.5"));
  EXPECT_THAT(read_error("model: m\nfractions: [0.5, x]\n"), HasSubstr("'fractions.1' must be a number"));
  EXPECT_THAT(read_error("model: m\nfiles: [a]\n"), HasSubstr("'files' must be a mapping from names to values"));
  EXPECT_THAT(read_error("model: m\nbetas: [1]\n"), HasSubstr("'betas' must be a list of 2 values, not a list of 1"));
  EXPECT_THAT(read_error("model: [m]\n"), HasSubstr("'model' must be a mapping of keys, not a list"));
  EXPECT_THAT(read_error("model: m\ntext: {a: b}\n"), HasSubstr("'text' must be a string, not a mapping"));
}

TEST(Config, ValuesOutsideTheirRulesAreErrors) {
  EXPECT_THAT(read_error("seed: 1\n"), HasSubstr("the key 'model' is missing: what is read"));
  EXPECT_THAT(read_error("model: m\nbetas: [0.9, 1]\n"),
              HasSubstr("'betas.1' is 1 (configuration:2): it must be >= 0 and < 1"));
  EXPECT_THAT(read_error("model: m\nsmall: 300\n"), HasSubstr("it must be >= -128 and <= 127"));
  EXPECT_THAT(read_error("model: m\nfractions: []\n"), HasSubstr("'fractions' is empty"));
  EXPECT_THAT(read_error("model: m\nlayers: al\n"), HasSubstr("did you mean 'all'?"));
  EXPECT_THAT(read_error("model: m\nrounding: float61\n"), HasSubstr("did you mean 'float16'?"));
  EXPECT_EQ(read_error("model: m\nseed: 13\n"), "seed 13 is unlucky (configuration:2): take another");
}

TEST(Config, TextThatIsNotYamlNamesTheLine) {
  EXPECT_THAT(read_error("model: m\nfiles: {a: [}\n"), HasSubstr("this is not YAML"));
  EXPECT_THAT(read_error("model: m\nfiles: {a: [}\n"), HasSubstr("(configuration:2)"));
  EXPECT_THAT(read_error("model: m\nseed: 1\nseed: 2\n"),
              HasSubstr("the key 'seed' is given twice (configuration:3): remove one; the first is on line 2"));
  EXPECT_THAT(read_error("? [a, b]\n: 1\n"), HasSubstr("a key must be a word"));
  EXPECT_THAT(read_error("model: &a [*a]\n"), HasSubstr("nested too deeply or refers to itself"));
}

TEST(Config, EnvironmentVariablesAreExpanded) {
  ::setenv("SUBSPECT_TEST_HOME", "/data", 1);
  ::unsetenv("SUBSPECT_TEST_MISSING");
  EXPECT_EQ(config_from_yaml<Config>("model: ${SUBSPECT_TEST_HOME}/m\n").model.path.string(), "/data/m");
  EXPECT_EQ(config_from_yaml<Config>("model: m\nseed: ${SUBSPECT_TEST_MISSING:-17}\n").seed, 17);
  EXPECT_EQ(config_from_yaml<Config>("{model: m, seed: \"${SUBSPECT_TEST_MISSING:-17}\"}\n").seed, 17);
  EXPECT_EQ(config_from_yaml<Config>("model: m\ntext: $${A} costs $5\n").text, "${A} costs $5");
  EXPECT_THAT(read_error("model: m\ntext: ${SUBSPECT_TEST_MISSING}\n"),
              HasSubstr("the environment variable SUBSPECT_TEST_MISSING is not set (configuration:2)"));
  EXPECT_THAT(read_error("model: m\ntext: ${A\n"), HasSubstr("without '}'"));
}

TEST_F(ConfigFiles, ExtendsMergesAndPathsStayWithTheirFile) {
  write("sub/base.yaml", "model: models/base\nfiles: {a: a.txt, b: b.txt}\nseed: 1\n");
  const auto file = write("main.yaml", "extends: sub/base.yaml\nfiles: {b: mine.txt, c: c.txt}\nseed: 2\n");
  std::filesystem::create_directories(folder_ / "sub/models/base");
  Config config;
  read_fields(load_document(file), [&](Fields& f) { config.visit(f); });
  EXPECT_EQ(config.model.path.string(), (folder_ / "sub/models/base").string());
  ASSERT_EQ(config.files.size(), 3U);
  EXPECT_EQ(config.files[0].second.string(), (folder_ / "sub/a.txt").string());
  EXPECT_EQ(config.files[1].second.string(), (folder_ / "mine.txt").string());
  EXPECT_EQ(config.seed, 2);
}

TEST_F(ConfigFiles, ExtendsCyclesAndMissingFilesAreErrors) {
  write("a.yaml", "extends: b.yaml\n");
  write("b.yaml", "x: 1\nextends: a.yaml\n");
  EXPECT_THAT(error_of([&] { load_document(folder_ / "a.yaml"); }),
              HasSubstr("'extends' forms a cycle: a.yaml -> b.yaml -> a.yaml"));
  EXPECT_THAT(error_of([&] { load_document(folder_ / "a.yaml"); }), HasSubstr("b.yaml:2)"));
  write("c.yaml", "extends: nowhere.yaml\n");
  EXPECT_THAT(error_of([&] { load_document(folder_ / "c.yaml"); }), HasSubstr("nowhere.yaml"));
  EXPECT_THAT(error_of([&] { load_document(folder_ / "none.yaml"); }), HasSubstr("there is no configuration"));
  write("list.yaml", "- 1\n");
  EXPECT_THAT(error_of([&] { load_document(folder_ / "list.yaml"); }), HasSubstr("a configuration is a mapping"));
}

TEST_F(ConfigFiles, OverridesReachMappingsAndLists) {
  const auto file = write("o.yaml", "model: m\njudges: [{kind: rules}, {kind: openai}]\n");
  Config config;
  read_fields(load_document(file, {"judges.1.concurrency=5", "seed=9", "files.new=x.txt", "fractions=[0.5]"}),
              [&](Fields& f) { config.visit(f); });
  EXPECT_EQ(config.judges[1].concurrency, 5);
  EXPECT_EQ(config.seed, 9);
  EXPECT_EQ(config.fractions, std::vector<double>{0.5});
  EXPECT_EQ(config.files[0].second.string(), (std::filesystem::current_path() / "x.txt").string());
  EXPECT_THAT(error_of([&] { load_document(file, {"judges.7.kind=rules"}); }), HasSubstr("no item '7' in a list of 2"));
  EXPECT_THAT(error_of([&] { load_document(file, {"seed"}); }), HasSubstr("an override has the form key=value"));
  EXPECT_EQ(error_of([&] { read_fields(load_document(file, {"sede=1"}), [&](Fields& f) { config.visit(f); }); }),
            "unknown key 'sede' (--set sede=1): did you mean 'seed'?");
}

TEST(Config, WrittenConfigsReadBackTheSame) {
  auto config = config_from_yaml<Config>(R"(
model: {config: /c.json}
files: {"odd: name": "/with space/ü.txt", b: "/x#y"}
fractions: [0.1, 1.0e-5]
pairs: [[a, b], ["true", "1"]]
where: {a: "x: y", b: 1.5, c: "null", d: "line\nbreak \"quoted\" \\ $${HOME_NOT}", "${KEY}": 1}
judges: [{kind: openai}]
limit: 3
text: " padded "
)");
  const std::string once = config_to_yaml(config, "example");
  auto again = config_from_yaml<Config>(once);
  EXPECT_EQ(config_to_yaml(again, "example"), once);
  EXPECT_EQ(again.files[0].first, "odd: name");
  EXPECT_EQ(again.text, " padded ");
  EXPECT_EQ(std::get<std::string>(again.where[2].second), "null");
  EXPECT_EQ(again.where[4].first, "${KEY}") << "keys hold no variables";
  EXPECT_EQ(again.pairs[1][0], "true");
  EXPECT_EQ(again.fractions[1], 1e-5);
}

TEST(Config, CosmeticFieldsAreLeftOutOfIdentities) {
  auto a = config_from_yaml<Config>("model: m\njudges: [{kind: openai, concurrency: 1}]\n");
  auto b = config_from_yaml<Config>("model: m\njudges: [{kind: openai, concurrency: 2}]\n");
  WriteOptions options;
  options.skip_cosmetic = true;
  const auto identity = [&](Config& c) {
    return write_yaml(write_fields(
        "k", [&](Fields& f) { c.visit(f); }, options));
  };
  EXPECT_EQ(identity(a), identity(b));
  EXPECT_NE(config_to_yaml(a), config_to_yaml(b));
}

TEST(Config, DocumentationListsEveryKeyAndIsYaml) {
  const std::string text = document_fields("example", [](Fields& f) { Config().visit(f); });
  SCOPED_TRACE(text);
  for (const char* key : {"model:", "config:", "files:", "fractions: [0.01, 0.5]", "betas: [0.9, 0.999]", "pairs: []",
                          "limit:", "where:", "judges:", "concurrency:", "rounding: checkpoint", "seed: 42"}) {
    EXPECT_THAT(text, HasSubstr(key));
  }
  EXPECT_THAT(text, HasSubstr("# decay rates [list of 2 of number >= 0 and < 1]"));
  EXPECT_THAT(text, HasSubstr("#concurrency: 12\n    # no partial credit"));
  const Node root = parse_document(text);
  EXPECT_NE(root.find("seed"), nullptr);
  EXPECT_EQ(root.find("concurrency"), nullptr);
}

TEST(Config, FieldsAfterAConditionAreDocumentedAsTheirOwn) {
  const std::string text = document_fields("judge", [](Fields& f) { Judge().visit(f); });
  EXPECT_EQ(text,
            "kind: judge\n\n# who judges [string: rules | openai]\nkind: rules\n# --- where kind is openai:\n"
            "# requests at a time [whole number >= 1]\n#concurrency: 12\n# no partial credit [true or false]\n"
            "strict: false\n");
}

TEST(Config, ScalarsAreQuotedWhereYamlWouldMisreadThem) {
  for (const char* text : {"", "true", "null", "1", "1e5", "- a", "a: b", "a #b", "[x", "${A}", "yes", "~", "*x"}) {
    EXPECT_EQ(quote_yaml(text).front(), '"') << text;
  }
  for (const char* text : {"abc", "/a/b c.txt", "a:b", "./x", "x=1", "ünï"}) EXPECT_EQ(quote_yaml(text), text);
  EXPECT_EQ(format_double(1), "1.0");
  EXPECT_EQ(format_double(1e-5), "1.0e-05");
  EXPECT_EQ(format_double(0.1), "0.1");
}

}  // namespace
}  // namespace subspect::experiments
