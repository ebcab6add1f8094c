// `kind: steering` as a YAML starts it, on a tiny model whose answers depend on the kind of prompt.
#include "experiments/steering.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "experiments/config/config.h"
#include "experiments/data/dataset.h"
#include "experiments/subspace/steering_run.h"
#include "model/checkpoint.h"
#include "model/generation/generate.h"
#include "runtime/error.h"
#include "runtime/io/files.h"
#include "runtime/io/safetensors.h"
#include "tests/experiments/subspace/subspace_fixture.h"
#include "tests/experiments/training/tiny_training.h"

namespace subspect::experiments {
namespace {

using subspace::testing::number;
using ::testing::HasSubstr;

constexpr const char* prompts_yaml = R"(model: model
prompts:
  harmful: {path: texts.jsonl, field: text, where: {kind: harmful}, count: 12}
  harmless: {path: texts.jsonl, field: text, where: {kind: harmless}, count: 10}
seed: 5
)";

constexpr const char* tasks_yaml = R"(add: [-1, 0.5]
random_draws: 2
evaluate:
  - {name: perplexity, data: texts.jsonl, field: text}
  - {name: advbench, prompts: goals.csv, max_new_tokens: 4, judge: {kind: rules}}
)";

class SteeringTest : public subspace::testing::SubspaceTest {
 protected:
  void SetUp() override {
    SubspaceTest::SetUp();
    // Large embeddings: what follows a prompt depends on its last word.
    const model::DecoderConfig config = model::parse_decoder_config(testing::tiny_config_json(), "tiny");
    model::Decoder decoder(*stream_, config, runtime::DType::float32);
    decoder.initialize(*stream_, 3);
    for (float& x : decoder.embedding().value.values<float>()) x *= 6.0F;
    std::ofstream(folder_ / "tokenizer.json") << testing::tiny_tokenizer_json();
    std::ofstream(folder_ / "tokenizer_config.json") << testing::tiny_tokenizer_config();
    model::save_checkpoint(*stream_, decoder, folder_ / "model", {.source = folder_, .dtype = {}});
    std::ofstream texts(folder_ / "texts.jsonl");
    for (int i = 0; i < 24; ++i) {
      const bool harmful = i % 2 == 0;
      texts << fmt::format(R"({{"text": "w{} w{} {}", "like": "w{} w3 w4", "kind": "{}"}})", i % 5 + 10, i % 7 + 20,
                           harmful ? "w1 w2" : "w3 w4", i % 6 + 30, harmful ? "harmful" : "harmless")
            << "\n";
    }
    std::ofstream(folder_ / "goals.csv") << "goal,target\nw1 w9 w2,w3\nw8 w1 w2,w5\nw7 w2,w5\n";
  }

  void run_yaml(const std::string& name, const std::string& yaml) {
    Steering experiment = config_from_yaml<Steering>(yaml, folder_);
    runtime::Log log({.console = false});
    experiment.plan(PlanContext{.device = {}, .log = &log, .planned_model = {}});
    in_run(name, [&](RunContext& context) { experiment.run(context); });
  }

  std::string message(const std::string& yaml) {
    try {
      run_yaml("bad", yaml);
    } catch (const std::exception& error) {
      return error.what();
    }
    return "no error";
  }

  /// What `kind: steering` has to reproduce: the direction of a layer, from the prompts one by one.
  std::vector<float> direction_by_hand(model::Decoder& decoder, size_t layer) const {
    const model::Tokenizer tokenizer = testing::tiny_tokenizer();
    std::vector<double> direction(32, 0.0);
    const auto add = [&](const char* kind, int64_t count, int64_t held_out, double sign) {
      const std::vector<std::string> texts =
          read_texts(folder_ / "texts.jsonl", "text", count, 5, {{"kind", Scalar(std::string(kind))}});
      const int64_t used = count - held_out;
      for (int64_t i = 0; i < used; ++i) {
        const std::vector<int32_t> ids = tokenizer.encode(texts[static_cast<size_t>(i)]).ids;
        const std::vector<model::Document> document = {{.ids = ids, .targets = {}}};
        std::vector<runtime::Tensor> hidden;
        decoder.forward({*stream_}, model::pack(*stream_, document), {.hidden_states = &hidden});
        const std::vector<float> all = hidden[layer].to_host<float>(*stream_);
        for (size_t d = 0; d < 32; ++d) {
          direction[d] += sign * static_cast<double>(all[(ids.size() - 1) * 32 + d]) / static_cast<double>(used);
        }
      }
    };
    add("harmful", 12, 2, 1.0);
    add("harmless", 10, 2, -1.0);
    return {direction.begin(), direction.end()};
  }

  std::string sample(const std::string& name, size_t index) const {
    std::istringstream lines(runtime::io::read_file(folder_ / "run" / "samples" / (name + ".jsonl")));
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line);
      if (json["task"] == "advbench" && json["index"] == index) return json["completion"];
    }
    ADD_FAILURE() << "no sample " << index << " of " << name;
    return "";
  }
};

TEST_F(SteeringTest, EveryRowIsWhatTheInterventionDoes) {
  run_yaml("run", std::string(prompts_yaml) + tasks_yaml + "layers: [0, 1]\n");
  const Table results = read("run");
  EXPECT_EQ(results.size(), 1U + 2U * 3U + 2U * (1U + 2U * 2U));
  model::Decoder decoder = model::load_decoder(*stream_, folder_ / "model");
  const model::Tokenizer tokenizer = testing::tiny_tokenizer();
  const auto file = runtime::io::SafetensorsFile::open(folder_ / "run" / "directions.safetensors");
  const auto stored = file.tensor("layer.1").to_host<float>(*stream_);
  const std::vector<float> expected = direction_by_hand(decoder, 1);
  ASSERT_EQ(stored.size(), expected.size());
  double squares = 0.0;
  for (size_t d = 0; d < expected.size(); ++d) {
    EXPECT_NEAR(stored[d], expected[d], 1e-5);
    squares += static_cast<double>(expected[d]) * expected[d];
  }
  EXPECT_NEAR(number(read("run", "directions"), {{"layer", 1}}, "length"), std::sqrt(squares), 1e-5);

  std::vector<float> half = stored;
  for (float& x : half) x *= 0.5F;
  const auto ablation = model::Intervention::ablate(*stream_, stored, runtime::DType::float32);
  const auto addition = model::Intervention::add(*stream_, half, 1, runtime::DType::float32);
  const std::vector<std::tuple<std::string, NamedCells, const model::Intervention*>> rows = {
      {"unsteered", {{"intervention", "none"}}, nullptr},
      {"layer-1-ablate", {{"layer", 1}, {"intervention", "ablate"}, {"draw", Cell()}}, &ablation},
      {"layer-1-add-0.5", {{"layer", 1}, {"coefficient", 0.5}, {"draw", Cell()}}, &addition}};
  std::set<double> perplexities;
  for (const auto& [name, key, intervention] : rows) {
    double loss = 0.0;
    int64_t tokens = 0;
    for (const std::string& text : read_texts(folder_ / "texts.jsonl", "text")) {
      const std::vector<int32_t> ids = tokenizer.encode(text).ids;
      std::vector<int32_t> targets = model::shift_labels(ids);
      const std::vector<model::Document> document = {{.ids = ids, .targets = targets}};
      const auto scores =
          decoder.token_log_probabilities(*stream_, model::pack(*stream_, document), {.intervention = intervention});
      for (const float score : scores.to_host<float>(*stream_)) loss -= static_cast<double>(score);
      tokens += static_cast<int64_t>(ids.size()) - 1;
    }
    const double perplexity = std::exp(loss / static_cast<double>(tokens));
    EXPECT_NEAR(number(results, key, "perplexity"), perplexity, 1e-4 * perplexity) << name;
    perplexities.insert(number(results, key, "perplexity"));
    model::GenerationOptions options{.max_new_tokens = 4, .eos_ids = {0}};
    options.intervention = intervention;
    const std::vector<std::vector<int32_t>> prompt = {tokenizer.encode("w1 w9 w2").ids};
    EXPECT_EQ(sample(name, 0), model::generate(*stream_, decoder, &tokenizer, prompt, options)[0].text) << name;
  }
  EXPECT_EQ(perplexities.size(), rows.size()) << "every intervention changes the model";
  for (const Row& row : results.rows()) EXPECT_TRUE(std::isfinite(results.cell(row, "harmfulness").number()));
  const Table comparisons = read("run", "comparisons");
  for (const char* family : {"steered", "random", "against_random"}) {
    EXPECT_NE(comparisons.find({{"family", family}, {"metric", "harmfulness"}}), nullptr) << family;
  }
  EXPECT_NE(comparisons.find({{"model", "layer-1-ablate"}, {"against", "ablate-random"}}), nullptr);
  EXPECT_NE(comparisons.find({{"model", "layer-0-add--1"}, {"against", "layer-0-add--1-random"}}), nullptr);
}

TEST_F(SteeringTest, RefusalsAreCountedAndTheLayerIsChosenByThem) {
  run_yaml("run", std::string(prompts_yaml) + "layers: all\nrandom_draws: 1\nintervals: {resamples: 50}\n");
  const Table results = read("run");
  EXPECT_EQ(results.size(), 1U + 2U + 2U);
  const Table directions = read("run", "directions");
  ASSERT_EQ(directions.size(), 1U) << "of two blocks one reads a state behind the embedding";
  EXPECT_EQ(number(directions, {{"layer", 1}}, "chosen"), 1.0);
  const NamedCells plain = {{"direction", "none"}};
  EXPECT_GT(number(results, plain, "refusal_harmful"), 2.0 * number(results, plain, "refusal_harmless"));
  EXPECT_LE(number(results, plain, "refusal_harmful_low"), number(results, plain, "refusal_harmful"));
  EXPECT_GE(number(results, plain, "refusal_harmful_high"), number(results, plain, "refusal_harmful"));
  const NamedCells added = {{"direction", "difference_of_means"}, {"intervention", "add"}};
  EXPECT_GT(number(results, added, "refusal_harmless"), number(results, plain, "refusal_harmless"));
}

TEST_F(SteeringTest, ResumesRowByRow) {
  const std::string yaml = std::string(prompts_yaml) + tasks_yaml + "layers: all\n";
  run_yaml("run", yaml);
  const auto tables = [&] {
    std::string all;
    for (const char* table : {"results", "directions", "comparisons"}) all += read("run", table).to_csv();
    return all;
  };
  const std::string whole = tables();
  const std::filesystem::path journal = folder_ / "run" / "state" / "results.rows.jsonl";
  for (const double share : {0.9, 0.3, 0.0}) {
    std::filesystem::resize_file(
        journal, static_cast<uintmax_t>(share * static_cast<double>(std::filesystem::file_size(journal))));
    run_yaml("run", yaml);
    EXPECT_EQ(tables(), whole) << share;
  }
}

TEST_F(SteeringTest, WithoutRefusalsNoLayerIsChosenAndNoneIsCounted) {
  const std::string alike = R"(model: model
prompts:
  harmful: {path: texts.jsonl, field: text, where: {kind: harmless}, count: 10}
  harmless: {path: texts.jsonl, field: like, count: 10}
evaluate: [{name: perplexity, data: texts.jsonl, field: text}]
random_draws: 0
)";
  EXPECT_THAT(message(alike), HasSubstr("begins its answers to harmful and to harmless prompts alike"));
  run_yaml("run", alike + "layers: [1]\n");
  const Table results = read("run");
  EXPECT_EQ(results.size(), 3U);
  for (const Row& row : results.rows()) {
    EXPECT_TRUE(results.cell(row, "refusal_harmful").empty());
    EXPECT_GT(results.cell(row, "perplexity").number(), 1.0);
  }
}

TEST_F(SteeringTest, ConfigErrors) {
  const std::string good = prompts_yaml;
  EXPECT_THAT(message("model: model\n"), HasSubstr("prompts"));
  EXPECT_THAT(message(good + "layers: [2]\n"), HasSubstr("hidden states 0 to 1, not 2"));
  EXPECT_THAT(message(good + "layers: [1, 1]\n"), HasSubstr("listed twice"));
  EXPECT_THAT(message(good + "layers: []\n"), HasSubstr("there is no layer"));
  EXPECT_THAT(message(good + "layers: [1]\nadd: [1, 1]\n"), HasSubstr("listed twice"));
  EXPECT_THAT(message(good + "layers: [1]\nadd: []\nablate: false\n"), HasSubstr("no intervention is left"));
  EXPECT_THAT(message(good + "held_out: 1\n"), HasSubstr("held_out"));
  EXPECT_THAT(message(good + "lairs: all\n"), HasSubstr("layers")) << "the nearest key";
  std::string few = good;
  few.replace(few.find("count: 10"), 9, "count: 1");
  EXPECT_THAT(message(few), HasSubstr("two prompts of each set"));
  few.replace(few.find("count: 1}"), 9, "count: 99}");
  EXPECT_THAT(message(few), HasSubstr("99"));
}

TEST(SteeringRows, AblatingARandomDirectionIsAMatterOfNoLayer) {
  SteeringConfig config;
  config.random_draws = 2;
  std::vector<std::string> labels;
  for (const auto& row : subspace::steering_rows(config, {3, 5})) labels.push_back(row.label());
  EXPECT_THAT(labels,
              ::testing::ElementsAre("unsteered", "layer-3-ablate", "layer-3-add-1", "layer-5-ablate", "layer-5-add-1",
                                     "ablate-random-0", "layer-3-add-1-random-0", "layer-5-add-1-random-0",
                                     "ablate-random-1", "layer-3-add-1-random-1", "layer-5-add-1-random-1"));
  EXPECT_EQ(config.held_out_of(2), 1);
  EXPECT_EQ(config.held_out_of(100), 20);
}

}  // namespace
}  // namespace subspect::experiments
