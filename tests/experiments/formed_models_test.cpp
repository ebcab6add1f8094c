// Experiments that form models in memory (arithmetic, ablation, defence), as a YAML starts them, on tiny models written
// to disk: every weight against sums in double precision, the rows, the resumption, and bad input.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "experiments/ablation.h"
#include "experiments/arithmetic.h"
#include "experiments/config/config.h"
#include "experiments/defence.h"
#include "runtime/error.h"
#include "runtime/interrupt.h"
#include "tests/experiments/subspace/tiny_models.h"

namespace subspect::experiments {
namespace {

using subspace::testing::Dense;
using subspace::testing::number;
using ::testing::HasSubstr;
namespace fs = std::filesystem;
namespace oracle = runtime::linalg::testing;

constexpr const char* perplexity = "evaluate:\n  - {name: perplexity, data: texts.jsonl, field: text}\n";

class FormedModelsTest : public subspace::testing::TinyModelsTest {
 protected:
  void SetUp() override {
    TinyModelsTest::SetUp();
    write_model("base", 1, 0.0F);
    write_model("aligned", 1, 0.02F);
    write_model("useful", 1, 0.021F);
    write_model("harmful", 2, 0.0F);
    write_texts();
  }

  subspace::WeightSource open(const fs::path& model) const {
    return subspace::WeightSource::open("m", folder_ / model);
  }
  Dense dense(const subspace::WeightSource& source, const std::string& tensor) const {
    return oracle::to_dense(subspace::as_matrix(source.load(*stream_, tensor)));
  }

  template <class E>
  std::string message(const std::string& yaml) const {
    try {
      read_yaml<E>(yaml);
    } catch (const runtime::UsageError& error) {
      return error.what();
    }
    return "no error";
  }
};

constexpr const char* arithmetic = R"(
aligned: aligned
finetuned: {useful: useful, harmful: harmful}
coefficients: {harmful: [0, 0.25, -1]}
)";

TEST_F(FormedModelsTest, ArithmeticSavesWeightedSumsOfUpdates) {
  run_yaml<Arithmetic>("run", std::string(arithmetic) + "tensors: ['*.mlp.*', '*norm*']\nsave_models: true\n");
  const auto a = open("aligned"), useful = open("useful"), harmful = open("harmful");
  const Table results = read("run");
  ASSERT_EQ(results.size(), 9U) << "0, 0.5, 1 by 0, 0.25, -1";
  EXPECT_EQ(results.columns(),
            (std::vector<std::string>{"model", "coefficient_useful", "coefficient_harmful", "update_norm"}));
  for (const Row& row : results.rows()) {
    const double c_useful = results.cell(row, "coefficient_useful").number();
    const double c_harmful = results.cell(row, "coefficient_harmful").number();
    const auto formed = open(fs::path("run/models") / results.cell(row, "model").text());
    EXPECT_NO_THROW(model::load_decoder(*stream_, formed.directory()));
    double squared = 0.0;
    for (const std::string& tensor : a.tensors()) {
      const bool changed = tensor.find(".mlp.") != std::string::npos || tensor.find("norm") != std::string::npos;
      const Dense before = dense(a, tensor), d_useful = dense(useful, tensor), d_harmful = dense(harmful, tensor);
      const Dense after = dense(formed, tensor);
      for (size_t i = 0; i < before.values.size(); ++i) {
        const double update = changed ? c_useful * (d_useful.values[i] - before.values[i]) +
                                            c_harmful * (d_harmful.values[i] - before.values[i])
                                      : 0.0;
        squared += update * update;
        ASSERT_NEAR(after.values[i], before.values[i] + update, 3e-7 * (1.0 + std::abs(update))) << tensor;
      }
    }
    EXPECT_NEAR(results.cell(row, "update_norm").number(), std::sqrt(squared), 1e-5 * std::sqrt(squared));
  }
  EXPECT_EQ(results.cell(results.rows()[0], "model").text(), "aligned");
  EXPECT_TRUE(results.contains({{"model", "useful-0.5-harmful--1"}}));
}

TEST_F(FormedModelsTest, ArithmeticMeasuresTheAnglesBetweenUpdates) {
  run_yaml<Arithmetic>("run", arithmetic);
  const auto a = open("aligned"), useful = open("useful"), harmful = open("harmful");
  double uu = 0.0, hh = 0.0, uh = 0.0;
  for (const std::string& tensor : a.tensors()) {
    const Dense before = dense(a, tensor);
    const Dense u = oracle::difference(dense(useful, tensor), before);
    const Dense h = oracle::difference(dense(harmful, tensor), before);
    for (size_t i = 0; i < u.values.size(); ++i) {
      uu += u.values[i] * u.values[i];
      hh += h.values[i] * h.values[i];
      uh += u.values[i] * h.values[i];
    }
  }
  const Table updates = read("run", "updates");
  EXPECT_EQ(updates.size(), 3U);
  const NamedCells pair = {{"update", "harmful"}, {"other", "useful"}};
  EXPECT_NEAR(number(updates, pair, "cosine"), uh / std::sqrt(uu * hh), 1e-5);
  EXPECT_NEAR(number(updates, pair, "norm"), std::sqrt(hh), 1e-5 * std::sqrt(hh));
  EXPECT_NEAR(number(updates, pair, "norm_other"), std::sqrt(uu), 1e-5 * std::sqrt(uu));
}

TEST_F(FormedModelsTest, ArithmeticEndsAtTheFineTunedModelsAndIsEvaluated) {
  run_yaml<Arithmetic>("run", std::string("aligned: aligned\nfinetuned: {useful: useful}\n") + perplexity);
  const Table results = read("run");
  ASSERT_EQ(results.size(), 3U);
  run_yaml<Arithmetic>("other", std::string("aligned: useful\nfinetuned: {back: aligned}\n") + perplexity);
  const Table other = read("other");
  const auto score = [](const Table& table, const char* model) {
    return number(table, {{"model", model}}, "perplexity");
  };
  EXPECT_NEAR(score(results, "aligned"), score(other, "back-1"), 1e-4);
  EXPECT_NEAR(score(results, "useful-1"), score(other, "aligned"), 1e-4);
  EXPECT_NEAR(score(results, "useful-0.5"), score(other, "back-0.5"), 1e-4);
  EXPECT_NE(score(results, "aligned"), score(results, "useful-1"));
  for (const Row& row : results.rows()) {
    EXPECT_LE(results.cell(row, "perplexity_low").number(), results.cell(row, "perplexity").number());
    EXPECT_GE(results.cell(row, "perplexity_high").number(), results.cell(row, "perplexity").number());
  }
  EXPECT_TRUE(fs::exists(folder_ / "run/samples/useful-0.5.jsonl"));
  EXPECT_FALSE(fs::exists(folder_ / "run/models"));
}

TEST_F(FormedModelsTest, ArithmeticResumesByRow) {
  const std::string yaml = std::string(arithmetic) + perplexity;
  run_yaml<Arithmetic>("run", yaml);
  const std::string whole = read("run").to_csv();
  const fs::path journal = folder_ / "run/state/results.rows.jsonl";
  fs::resize_file(journal, fs::file_size(journal) * 2 / 3);
  const auto kept = fs::last_write_time(folder_ / "run/samples/aligned.jsonl");
  run_yaml<Arithmetic>("run", yaml);
  EXPECT_EQ(read("run").to_csv(), whole);
  EXPECT_EQ(fs::last_write_time(folder_ / "run/samples/aligned.jsonl"), kept) << "finished rows are not scored again";
  runtime::set_interrupt_requested(true);
  EXPECT_THROW(run_yaml<Arithmetic>("stopped", yaml), runtime::Interrupted);
  runtime::set_interrupt_requested(false);
  run_yaml<Arithmetic>("stopped", yaml);
  EXPECT_EQ(read("stopped").to_csv(), whole);
}

TEST_F(FormedModelsTest, ArithmeticConfigErrorsAndPlan) {
  EXPECT_THAT(message<Arithmetic>("aligned: a\nfinetuned: {aligned: b}\n"), HasSubstr("the name 'aligned' is taken"));
  EXPECT_THAT(message<Arithmetic>("aligned: a\nfinetuned: {f: b}\ncoefficients: {g: [1]}\n"),
              HasSubstr("there is no update 'g'"));
  EXPECT_THAT(message<Arithmetic>("aligned: a\nfinetuned: {f: b}\ncoefficients: {f: [1, 2, 1]}\n"),
              HasSubstr("those of 'f' have one twice"));
  EXPECT_THAT(message<Arithmetic>("aligned: a\nfinetuned: {f: b}\ncoefficients: {f: []}\n"), HasSubstr("empty"));
  runtime::Log log({.console = false});
  const PlanContext context{.device = {}, .log = &log, .planned_model = {}};
  const Plan bare = read_yaml<Arithmetic>(arithmetic).plan(context);
  EXPECT_EQ(bare.warnings.size(), 1U) << "nothing is evaluated or saved";
  const Plan plan = read_yaml<Arithmetic>(std::string(arithmetic) + perplexity + "save_models: true\n").plan(context);
  EXPECT_EQ(plan.warnings.size(), 0U);
  EXPECT_EQ(plan.disk_bytes, 9 * 4 * plan.parameters);
  EXPECT_GT(plan.host_bytes, 4 * plan.parameters);
  EXPECT_GT(plan.device_bytes, 0);
  EXPECT_THROW(read_yaml<Arithmetic>(std::string(arithmetic) + "tensors: ['*.nothing']\n").plan(context),
               runtime::UsageError);
}

constexpr const char* ablation = "aligned: aligned\nfinetuned: {useful: useful, harmful: harmful}\n";

TEST_F(FormedModelsTest, AblationTakesTheGroupFromOneModelAndTheRestFromTheOther) {
  run_yaml<Ablation>("run", std::string(ablation) + "groups: modules\nsave_models: true\n");
  const auto a = open("aligned"), f = open("harmful");
  const Table results = read("run");
  // q, k, v, o; gate, up, down; norms; embeddings.
  ASSERT_EQ(results.size(), 3U + 2U * 2U * 9U);
  double shares = 0.0;
  for (const std::string group : {"self_attn.q_proj", "norms", "embeddings"}) {
    const std::string part = group == "norms" ? "norm" : group == "embeddings" ? "embed_tokens" : "q_proj";
    for (const std::string mode : {"only", "without"}) {
      const auto formed = open(fs::path("run/models") / ("harmful-" + mode + "-" + group));
      EXPECT_NO_THROW(model::load_decoder(*stream_, formed.directory()));
      double all = 0.0, held = 0.0;
      int64_t tensors = 0, parameters = 0;
      for (const std::string& tensor : a.tensors()) {
        const bool inside = tensor.find(part) != std::string::npos;
        const Dense before = dense(a, tensor), after = dense(f, tensor);
        EXPECT_EQ(dense(formed, tensor).values, (inside == (mode == "only") ? after : before).values) << tensor;
        const double energy = std::pow(oracle::norm(oracle::difference(after, before)), 2);
        all += energy;
        if (!inside) continue;
        held += energy;
        tensors += 1;
        parameters += static_cast<int64_t>(before.values.size());
      }
      const NamedCells key = {{"model", "harmful"}, {"group", group}, {"mode", mode}};
      EXPECT_NEAR(number(results, key, "energy_share"), held / all, 1e-6);
      EXPECT_EQ(number(results, key, "tensors"), static_cast<double>(tensors));
      EXPECT_EQ(number(results, key, "parameters"), static_cast<double>(parameters));
    }
  }
  for (const Row& row : results.rows()) {
    const bool mine = results.cell(row, "model").text() == "useful" && results.cell(row, "mode").text() == "only";
    if (mine) shares += results.cell(row, "energy_share").number();
  }
  EXPECT_NEAR(shares, 1.0, 1e-9) << "the groups are a partition";
}

TEST_F(FormedModelsTest, AblationOfEverythingIsTheOtherModel) {
  const std::string yaml =
      std::string(ablation) + "groups: globs\nglobs: {all: ['*'], mlp: ['*.mlp.*']}\n" + perplexity;
  run_yaml<Ablation>("run", yaml);
  const Table results = read("run");
  ASSERT_EQ(results.size(), 3U + 2U * 2U * 2U);
  const auto score = [&](const char* model, const char* group, const char* mode) {
    return number(results, {{"model", model}, {"group", group}, {"mode", mode}}, "perplexity");
  };
  EXPECT_EQ(score("harmful", "all", "only"), score("harmful", "none", "none"));
  EXPECT_EQ(score("harmful", "all", "without"), score("aligned", "none", "none"));
  EXPECT_NE(score("harmful", "mlp", "only"), score("harmful", "none", "none"));
  EXPECT_NE(score("harmful", "mlp", "only"), score("harmful", "mlp", "without"));
  EXPECT_EQ(number(results, {{"model", "useful"}, {"group", "all"}, {"mode", "only"}}, "energy_share"), 1.0);
  const std::string whole = results.to_csv();
  const fs::path journal = folder_ / "run/state/results.rows.jsonl";
  fs::resize_file(journal, fs::file_size(journal) / 2);
  run_yaml<Ablation>("run", yaml);
  EXPECT_EQ(read("run").to_csv(), whole);
}

TEST_F(FormedModelsTest, AblationByLayersPlanAndErrors) {
  runtime::Log log({.console = false});
  PlanContext context{.device = {}, .log = &log, .planned_model = {}};
  run_yaml<Ablation>("run", std::string(ablation) + "modes: [without]\n");
  const Table results = read("run");
  std::vector<std::string> groups;
  for (const Row& row : results.rows()) {
    if (results.cell(row, "model").text() == "useful") groups.push_back(results.cell(row, "group").text());
  }
  EXPECT_EQ(groups, (std::vector<std::string>{"none", "embed_tokens", "norm", "layers.0", "layers.1"}));
  const Plan plan = read_yaml<Ablation>(ablation).plan(context);
  EXPECT_EQ(plan.facts[0], (std::pair<std::string, std::string>("groups", "4")));
  EXPECT_EQ(plan.facts[1], (std::pair<std::string, std::string>("models", "19")));
  // As planned in a study before the models are made: from the configuration alone.
  Ablation later;
  const Node yaml = parse_document(ablation, "configuration", folder_);
  ReadOptions options;
  options.named_output = [&](const Node& node, bool) { return Path((folder_ / node.text).string(), node.text); };
  read_fields(
      yaml, [&](Fields& f) { later.visit(f); }, options);
  context.planned_model = [&](const Path&) { return (folder_ / "aligned/config.json").string(); };
  EXPECT_EQ(later.plan(context).facts, plan.facts);
  const std::string modules = std::string(ablation) + "groups: modules\n";
  Ablation later_modules;
  read_fields(
      parse_document(modules, "configuration", folder_), [&](Fields& f) { later_modules.visit(f); }, options);
  const auto planned_facts = later_modules.plan(context).facts;
  context.planned_model = {};
  EXPECT_EQ(read_yaml<Ablation>(modules).plan(context).facts, planned_facts) << "as the tensors say";
  EXPECT_THAT(message<Ablation>(std::string(ablation) + "groups: heads\n"), HasSubstr("modules"));
  EXPECT_THAT(message<Ablation>(std::string(ablation) + "groups: globs\n"), HasSubstr("globs"));
  EXPECT_THAT(message<Ablation>(std::string(ablation) + "globs: {a: ['*']}\n"), HasSubstr("globs"));
  EXPECT_THAT(message<Ablation>(std::string(ablation) + "modes: [both]\n"), HasSubstr("without"));
  EXPECT_THROW(read_yaml<Ablation>(std::string(ablation) + "groups: globs\nglobs: {a: ['*nothing*']}\n").plan(context),
               runtime::UsageError);
}

constexpr const char* safelora =
    "base: base\naligned: aligned\nfinetuned: {useful: useful, harmful: harmful}\nthresholds: [0.3]\ncounts: [0, 5, "
    "99]\n";

double inner(const Dense& a, const Dense& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.values.size(); ++i) sum += a.values[i] * b.values[i];
  return sum;
}

TEST_F(FormedModelsTest, SafeLoraProjectsTheTensorsThatPointAway) {
  run_yaml<Defence>("run", std::string(safelora) + "save_models: true\n");
  const auto b = open("base"), a = open("aligned"), f = open("useful");
  const Table results = read("run"), rows = read("run", "tensors");
  ASSERT_EQ(results.size(), 1U + 2U * (1U + 4U));
  EXPECT_EQ(rows.size(), 2U * 4U * a.tensors().size());
  std::vector<double> cosines;
  std::map<std::string, Dense> projections;
  for (const std::string& tensor : a.tensors()) {
    const Dense v = oracle::difference(dense(a, tensor), dense(b, tensor));
    const Dense d = oracle::difference(dense(f, tensor), dense(a, tensor));
    Dense c = oracle::product(v, oracle::transpose(v));
    for (double& x : c.values) x = oracle::norm(v) > 0.0 ? x / oracle::norm(v) : 0.0;
    const Dense cd = oracle::product(c, d);
    cosines.push_back(inner(d, cd) / (oracle::norm(d) * oracle::norm(cd)));
    projections.emplace(tensor, cd);
    const NamedCells key = {{"model", "useful"}, {"rule", "threshold"}, {"tensor", tensor}};
    if (std::isnan(cosines.back())) {
      EXPECT_TRUE(std::isnan(number(rows, key, "cosine"))) << tensor;
    } else {
      EXPECT_NEAR(number(rows, key, "cosine"), cosines.back(), 1e-4) << tensor;
      EXPECT_NEAR(number(rows, key, "norm_ratio"), oracle::norm(cd) / oracle::norm(d), 1e-4) << tensor;
    }
  }
  std::vector<double> sorted = cosines;
  std::erase_if(sorted, [](double c) { return std::isnan(c); });
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [rule, setting, bound] : {std::tuple("threshold", 0.3, 0.3), std::tuple("count", 5.0, sorted[5]),
                                             std::tuple("count", 0.0, -2.0), std::tuple("count", 99.0, 2.0)}) {
    const NamedCells key = {{"model", "useful"}, {"rule", rule}, {"setting", setting}};
    const auto formed = open(fmt::format("run/models/useful-{}-{}", rule, setting));
    double applied = 0.0, all = 0.0, product = 0.0, count = 0.0;
    for (size_t i = 0; i < cosines.size(); ++i) {
      const std::string& tensor = a.tensors()[i];
      const Dense before = dense(a, tensor), d = oracle::difference(dense(f, tensor), before);
      const bool projected = cosines[i] < bound;
      const Dense& q = projected ? projections.at(tensor) : d;
      const Dense got = oracle::difference(dense(formed, tensor), before);
      EXPECT_LT(oracle::norm(oracle::difference(got, q)), 1e-4 * oracle::norm(d) + 1e-6 * oracle::norm(before))
          << tensor;
      applied += inner(q, q);
      all += inner(d, d);
      product += inner(d, q);
      count += projected ? 1.0 : 0.0;
    }
    EXPECT_EQ(number(results, key, "projected"), count) << rule << setting;
    EXPECT_NEAR(number(results, key, "energy_kept"), applied / all, 1e-4);
    EXPECT_NEAR(number(results, key, "cosine_task_proj"), product / std::sqrt(applied * all), 1e-4);
  }
  EXPECT_EQ(number(results, {{"model", "useful"}, {"rule", "none"}}, "energy_kept"), 1.0);
  const auto nothing = open("run/models/useful-count-0");
  for (const std::string& tensor : f.tensors()) EXPECT_EQ(dense(nothing, tensor).values, dense(f, tensor).values);
}

constexpr const char* lox = "defence: lox\nbase: base\naligned: aligned\nrank: 3\nalpha: 1.5\n";

TEST_F(FormedModelsTest, LoxExtrapolatesAlongTheFirstDirections) {
  run_yaml<Defence>("run", std::string(lox) + "tensors: ['*.mlp.*', '*norm*', '*embed*']\n");
  const auto b = open("base"), a = open("aligned"), formed = open("run/model");
  EXPECT_NO_THROW(model::load_decoder(*stream_, formed.directory()));
  EXPECT_TRUE(fs::exists(formed.directory() / "tokenizer.json"));
  const Table rows = read("run", "tensors");
  for (const std::string& tensor : a.tensors()) {
    const Dense before = dense(a, tensor), v = oracle::difference(before, dense(b, tensor));
    Dense added = oracle::difference(dense(formed, tensor), before);
    if (tensor.find("self_attn") != std::string::npos) {
      EXPECT_EQ(oracle::norm(added), 0.0) << tensor << " is not among the globs";
      EXPECT_EQ(rows.find({{"tensor", tensor}}), nullptr);
      continue;
    }
    Dense p = v;
    if (v.cols > 1) {
      const Dense u = oracle::leading(oracle::decompose(v).u, 3);
      p = oracle::product(u, oracle::product(oracle::transpose(u), v));
    }
    for (double& x : added.values) x /= 1.5;
    EXPECT_LT(oracle::norm(oracle::difference(added, p)), 1e-4 * oracle::norm(v) + 1e-6 * oracle::norm(before))
        << tensor;
    const double energy = inner(v, v);
    if (energy > 0.0) {
      EXPECT_NEAR(number(rows, {{"tensor", tensor}}, "energy_share"), inner(p, p) / energy, 1e-5) << tensor;
      EXPECT_EQ(number(rows, {{"tensor", tensor}}, "k"), v.cols > 1 ? 3.0 : 1.0);
    } else {
      EXPECT_EQ(number(rows, {{"tensor", tensor}}, "k"), 0.0);
    }
  }
}

TEST_F(FormedModelsTest, DefencesAreEvaluatedAndResume) {
  for (const std::string& yaml : {std::string(safelora) + perplexity, std::string(lox) + perplexity}) {
    const std::string name = yaml.starts_with("base") ? "safelora" : "lox";
    run_yaml<Defence>(name, yaml);
    const Table results = read(name);
    for (const Row& row : results.rows()) EXPECT_GT(results.cell(row, "perplexity").number(), 1.0);
    const fs::path journal = folder_ / name / "state/results.rows.jsonl";
    fs::resize_file(journal, fs::file_size(journal) * 2 / 3);
    run_yaml<Defence>(name, yaml);
    EXPECT_EQ(read(name).to_csv(), results.to_csv());
  }
  const Table results = read("safelora");
  const auto score = [&](const char* model, const char* rule, const Cell& setting) {
    return number(results, {{"model", model}, {"rule", rule}, {"setting", setting}}, "perplexity");
  };
  EXPECT_EQ(score("harmful", "count", 0), score("harmful", "none", Cell()));
  EXPECT_NE(score("harmful", "count", 99), score("harmful", "none", Cell()));
}

TEST_F(FormedModelsTest, DefenceConfigErrorsAndPlan) {
  EXPECT_THAT(message<Defence>("defence: lora\nbase: a\naligned: b\n"), HasSubstr("safelora, lox"));
  EXPECT_THAT(message<Defence>("base: a\naligned: b\n"), HasSubstr("finetuned"));
  EXPECT_THAT(message<Defence>("base: a\naligned: b\nfinetuned: {f: c}\nthresholds: []\n"),
              HasSubstr("neither thresholds nor counts"));
  EXPECT_THAT(message<Defence>("base: a\naligned: b\nfinetuned: {f: c}\nthresholds: [1.5]\n"), HasSubstr("thresholds"));
  EXPECT_THAT(message<Defence>("base: a\naligned: b\nfinetuned: {f: c}\nrank: 2\n"), HasSubstr("rank"));
  EXPECT_THAT(message<Defence>("defence: lox\nbase: a\naligned: b\nrank: 0\n"), HasSubstr("rank"));
  EXPECT_THAT(message<Defence>("defence: lox\nbase: a\naligned: b\nfinetuned: {f: c}\n"), HasSubstr("finetuned"));
  runtime::Log log({.console = false});
  const PlanContext context{.device = {}, .log = &log, .planned_model = {}};
  const Plan plan = read_yaml<Defence>(lox).plan(context);
  EXPECT_EQ(plan.model_config, (folder_ / "aligned/config.json").string()) << "for the stages that fine-tune it";
  EXPECT_EQ(plan.disk_bytes, 4 * plan.parameters);
  EXPECT_EQ(read_yaml<Defence>(safelora).plan(context).facts[0].second, "11");
  EXPECT_THROW(read_yaml<Defence>(std::string(lox) + "tensors: ['*nothing*']\n").plan(context), runtime::UsageError);
  // Two tensors of 32 x 48: a decomposition and a projection of each, or ten times two products of side 32.
  const std::string some = "tensors: ['*down_proj*']\n";
  EXPECT_EQ(read_yaml<Defence>(lox + some).plan(context).flops, 2 * (2 * 2 * 32 * 48 * 32 + 9 * 32 * 32 * 32));
  EXPECT_EQ(read_yaml<Defence>(safelora + some).plan(context).flops, 2 * 10 * 2 * 2 * 32 * 48 * 32);
}

}  // namespace
}  // namespace subspect::experiments
