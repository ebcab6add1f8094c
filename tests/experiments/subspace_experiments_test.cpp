// Projection, overlap and activations as a YAML starts them, on tiny models written to disk.
#include <gmock/gmock.h>

#include <cmath>

#include "experiments/activations.h"
#include "experiments/config/config.h"
#include "experiments/overlap.h"
#include "experiments/projection.h"
#include "experiments/subspace/activation_states.h"
#include "runtime/error.h"
#include "runtime/linalg/spectrum.h"
#include "tests/experiments/subspace/tiny_models.h"

namespace subspect::experiments {
namespace {

using subspace::testing::Dense;
using subspace::testing::number;
using ::testing::HasSubstr;
namespace oracle = runtime::linalg::testing;

class SubspaceExperiments : public subspace::testing::TinyModelsTest {
 protected:
  void SetUp() override {
    TinyModelsTest::SetUp();
    write_model("base", 1, 0.0);
    write_model("aligned", 1, 0.02);
    write_model("useful", 1, 0.021);
    write_model("harmful", 2, 0.0);
    write_texts();
  }
};

constexpr const char* projection_yaml = R"(
base: base
aligned: aligned
finetuned: {useful: useful}
bases: [top_k, random]
fractions: [0.25, 0.5]
)";

TEST_F(SubspaceExperiments, SavedProjectedWeightsAreAPlusQ) {
  run_yaml<Projection>("run", std::string(projection_yaml) + "modes: [same, orth, opp]\nsave_models: true\n");
  const auto base = subspace::WeightSource::open("base", folder_ / "base");
  const auto aligned = subspace::WeightSource::open("aligned", folder_ / "aligned");
  const auto useful = subspace::WeightSource::open("useful", folder_ / "useful");
  for (const std::string mode : {"same", "orth", "opp"}) {
    const std::filesystem::path saved = folder_ / "run" / "models" / ("useful-top_k-" + mode + "-0.5");
    EXPECT_NO_THROW(model::load_decoder(*stream_, saved));
    EXPECT_TRUE(std::filesystem::exists(saved / "tokenizer.json"));
    const auto projected = subspace::WeightSource::open("projected", saved);
    ASSERT_EQ(projected.tensors().size(), aligned.tensors().size());
    for (const std::string& tensor : aligned.tensors()) {
      const auto dense = [&](const runtime::Tensor& t) { return oracle::to_dense(subspace::as_matrix(t)); };
      const Dense d = dense(difference(*stream_, useful, aligned, tensor));
      const Dense v = dense(difference(*stream_, aligned, base, tensor));
      Dense p(d.rows, d.cols);
      if (d.cols > 1) {
        const int64_t k = std::llround(0.5 * static_cast<double>(std::min(d.rows, d.cols)));
        const Dense u = oracle::leading(oracle::decompose(v).u, k);
        p = oracle::product(u, oracle::product(oracle::transpose(u), d));
      } else if (oracle::norm(v) > 0.0) {
        const double along = oracle::product(oracle::transpose(v), d)(0, 0) / std::pow(oracle::norm(v), 2);
        for (size_t i = 0; i < p.values.size(); ++i) p.values[i] = along * v.values[i];
      }
      const Dense a = dense(aligned.load(*stream_, tensor));
      const Dense w = dense(projected.load(*stream_, tensor));
      Dense truth = a;
      for (size_t i = 0; i < truth.values.size(); ++i) {
        truth.values[i] += mode == "orth" ? d.values[i] - p.values[i] : mode == "opp" ? -p.values[i] : p.values[i];
      }
      EXPECT_LT(oracle::norm(oracle::difference(w, truth)), 1e-5 * oracle::norm(d) + 1e-7 * oracle::norm(a)) << tensor;
    }
  }
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run" / "models" / "useful-random-same-0.25-0"));
}

TEST_F(SubspaceExperiments, EveryModelOfAProjectionIsEvaluated) {
  run_yaml<Projection>(
      "run", std::string(projection_yaml) + "evaluate:\n  - {name: perplexity, data: texts.jsonl, field: text}\n");
  const Table results = read("run");
  EXPECT_EQ(results.size(), 3U + 2U * 2U * 2U);
  for (const Row& row : results.rows()) EXPECT_GT(results.cell(row, "perplexity").number(), 1.0);
  const double aligned = number(results, {{"model", "aligned"}}, "perplexity");
  const double useful = number(results, {{"model", "useful"}, {"basis", "none"}}, "perplexity");
  EXPECT_NE(aligned, useful);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run" / "samples" / "useful-top_k-same-0.5.jsonl"));
}

TEST_F(SubspaceExperiments, ProjectionOnOtherSidesIsEvaluatedAndSaved) {
  run_yaml<Projection>("run", std::string(projection_yaml) +
                                  "modes: [same]\nsides: [both, right]\nsave_models: true\nevaluate:\n  - {name: "
                                  "perplexity, data: texts.jsonl, field: text}\n");
  const Table results = read("run");
  EXPECT_EQ(results.size(), 3U + 2U * 2U * 2U);
  EXPECT_EQ(results.columns().back(), "side");
  EXPECT_EQ(results.columns()[5], "energy_kept");
  EXPECT_EQ(results.cell(*results.find({{"model", "base"}}), "side").text(), "none");
  const NamedCells right = {{"basis", "top_k"}, {"fraction", 0.5}, {"side", "right"}};
  const NamedCells both = {{"basis", "top_k"}, {"fraction", 0.5}, {"side", "both"}};
  EXPECT_LT(number(results, both, "energy_kept"), number(results, right, "energy_kept"));
  EXPECT_NE(number(results, both, "perplexity"), number(results, right, "perplexity"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/models/useful-top_k-right-same-0.5/config.json"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/samples/useful-random-both-same-0.25-0.jsonl"));
}

TEST_F(SubspaceExperiments, ProjectionConfigErrors) {
  const auto message = [&](const std::string& yaml) {
    try {
      read_yaml<Projection>(yaml);
    } catch (const runtime::UsageError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(message("base: a\naligned: b\nfinetuned: {aligned: c}\n"), HasSubstr("the name 'aligned' is taken"));
  EXPECT_THAT(message("base: a\naligned: b\nfinetuned: {f: c}\nbases: [top]\n"), HasSubstr("top_k"));
  EXPECT_THAT(message("base: a\naligned: b\n"), HasSubstr("finetuned"));
  EXPECT_THAT(message("base: a\naligned: b\nfinetuned: {f: c}\nsides: [top]\n"), HasSubstr("left, right, both"));
  const Projection odd = read_yaml<Projection>(std::string(projection_yaml) + "tensors: ['*']\n");
  runtime::Log log({.console = false});
  EXPECT_EQ(odd.plan({.device = {}, .log = &log, .planned_model = {}}).warnings.size(), 0U);
}

TEST_F(SubspaceExperiments, FractionOutsideTheUnitIntervalIsWarnedAbout) {
  const Projection projection =
      read_yaml<Projection>("base: base\naligned: aligned\nfinetuned: {f: useful}\nfractions: [0.5, 1.5]\n");
  runtime::Log log({.console = false});
  const Plan plan = projection.plan({.device = {}, .log = &log, .planned_model = {}});
  ASSERT_EQ(plan.warnings.size(), 1U);
  EXPECT_THAT(plan.warnings[0], HasSubstr("1.5"));
  EXPECT_GT(plan.parameters, 1000);
  EXPECT_GT(plan.flops, 0.0);
}

TEST_F(SubspaceExperiments, OverlapOfEveryPairFromYaml) {
  run_yaml<Overlap>("run", "reference: aligned\nmodels: {useful: useful, harmful: harmful, alignment: base}\n");
  const Table results = read("run");
  for (const char* pair : {"useful/harmful", "useful/alignment", "harmful/alignment"}) {
    EXPECT_NE(results.find({{"pair", pair}, {"granularity", "layer"}}), nullptr) << pair;
  }
  EXPECT_THROW(read_yaml<Overlap>("reference: a\nmodels: {x: b}\npairs: [[x, y]]\n"), runtime::UsageError);
  EXPECT_THROW(read_yaml<Overlap>("reference: a\nmodels: {x: b}\nenergies: [0.5, 1.5]\n"), runtime::UsageError);
  EXPECT_THROW(read_yaml<Overlap>("reference: a\nmodels: {x: b}\neigensolver: gpu\n"), runtime::UsageError);
  EXPECT_NO_THROW(read_yaml<Overlap>("reference: a\nmodels: {x: b}\neigensolver: host\n"));
}

constexpr const char* activations = R"(
models: {base: base, harmful: harmful}
prompts:
  useful: {path: texts.jsonl, field: text, where: {kind: a}, count: 10}
  harmful: {path: texts.jsonl, field: text, where: {kind: b}, count: 9}
layers: all
batch_tokens: 17
)";

TEST_F(SubspaceExperiments, ActivationsMatchOneForwardPassPerPromptAndTheOracle) {
  run_yaml<Activations>("run", activations);
  const Table results = read("run");
  EXPECT_EQ(results.size(), 2U * 3U * 7U);
  model::Decoder decoder = model::load_decoder(*stream_, folder_ / "harmful");
  const model::Tokenizer tokenizer = testing::tiny_tokenizer();
  const auto states = [&](const char* kind, int64_t count, size_t layer) {
    const std::vector<std::string> texts =
        read_texts(folder_ / "texts.jsonl", "text", count, 123, {{"kind", Scalar(std::string(kind))}});
    Dense matrix(32, count);
    for (int64_t j = 0; j < count; ++j) {
      const std::vector<int32_t> ids = tokenizer.encode(texts[static_cast<size_t>(j)]).ids;
      std::vector<runtime::Tensor> hidden;
      const std::vector<model::Document> one = {{.ids = ids, .targets = {}}};
      decoder.forward({*stream_, nullptr}, model::pack(*stream_, one), {.hidden_states = &hidden});
      const std::vector<float> all = hidden[layer].to_host<float>(*stream_);
      for (int64_t d = 0; d < 32; ++d) {
        matrix(d, j) = static_cast<double>(all[(ids.size() - 1) * 32 + static_cast<size_t>(d)]);
      }
    }
    return matrix;
  };
  for (const size_t layer : {0U, 1U, 2U}) {
    const oracle::Decomposition a = oracle::decompose(states("a", 10, layer));
    const oracle::Decomposition b = oracle::decompose(states("b", 9, layer));
    for (const double energy : {0.1, 0.6}) {
      const NamedCells key = {{"model", "harmful"}, {"layer", layer}, {"energy", energy}};
      const int64_t k_a = runtime::linalg::rank_at_energy(a.sigma, energy);
      const int64_t k_b = runtime::linalg::rank_at_energy(b.sigma, energy);
      EXPECT_EQ(number(results, key, "k_a"), static_cast<double>(k_a));
      EXPECT_EQ(number(results, key, "k_b"), static_cast<double>(k_b));
      const Dense cross = oracle::product(oracle::transpose(oracle::leading(a.u, k_a)), oracle::leading(b.u, k_b));
      EXPECT_NEAR(number(results, key, "mso"),
                  std::pow(oracle::norm(cross), 2) / static_cast<double>(std::min(k_a, k_b)), 1e-5);
      EXPECT_DOUBLE_EQ(number(results, key, "mso_random"), static_cast<double>(std::max(k_a, k_b)) / 32.0);
      EXPECT_EQ(results.cell(*results.find(key), "method").text(), "exact");
      EXPECT_LT(number(results, key, "residual"), 1e-6);
      const double control = number(results, key, "mso_control");
      EXPECT_GE(control, 0.0);
      EXPECT_LE(control, 1.0 + 1e-6);
    }
  }
}

TEST_F(SubspaceExperiments, ActivationsResumeByModel) {
  run_yaml<Activations>("run", activations);
  const std::string whole = read("run").to_csv();
  const std::filesystem::path journal = folder_ / "run" / "state" / "results.rows.jsonl";
  std::filesystem::resize_file(journal, std::filesystem::file_size(journal) * 3 / 4);
  run_yaml<Activations>("run", activations);
  EXPECT_EQ(read("run").to_csv(), whole);
}

TEST_F(SubspaceExperiments, ActivationsAreProbedAndResampledAndResumed) {
  const std::string yaml = std::string(activations) + "resamples: 20\n";
  run_yaml<Activations>("run", yaml);
  const Table results = read("run");
  for (const Row& row : results.rows()) {
    for (const std::string name : {"mso", "mso_control", "mso_halves"}) {
      EXPECT_LE(results.cell(row, name + "_low").number(), results.cell(row, name).number() + 1e-12) << name;
      EXPECT_GE(results.cell(row, name + "_high").number(), results.cell(row, name).number() - 1e-12) << name;
    }
    EXPECT_LE(results.cell(row, "mso_random_low").number(), results.cell(row, "mso_random").number());
    EXPECT_GE(results.cell(row, "mso_random_high").number(), results.cell(row, "mso_random").number());
  }
  const Table probes = read("run", "probes");
  EXPECT_EQ(probes.columns(), (std::vector<std::string>{"model", "layer", "method", "accuracy", "accuracy_low",
                                                        "accuracy_high", "separation", "n"}));
  ASSERT_EQ(probes.size(), 2U * 3U * 2U);
  for (const Row& row : probes.rows()) {
    EXPECT_EQ(probes.cell(row, "n").number(), 19.0) << "each of 10 and 9 prompts is held out once";
    EXPECT_LE(probes.cell(row, "accuracy_low").number(), probes.cell(row, "accuracy").number());
    EXPECT_GE(probes.cell(row, "accuracy_high").number(), probes.cell(row, "accuracy").number());
  }
  for (const char* table : {"results", "probes"}) {
    const std::filesystem::path journal = folder_ / "run" / "state" / (std::string(table) + ".rows.jsonl");
    std::filesystem::resize_file(journal, std::filesystem::file_size(journal) / 2);
  }
  run_yaml<Activations>("run", yaml);
  EXPECT_EQ(read("run").to_csv(), results.to_csv());
  EXPECT_EQ(read("run", "probes").to_csv(), probes.to_csv());
}

TEST_F(SubspaceExperiments, OverlapReadsSidesAndDraws) {
  const std::string yaml =
      "reference: aligned\nmodels: {useful: useful, harmful: harmful}\ngranularity: [layer]\nsides: [right, left]\n"
      "energies: [0.5]\nbaseline_draws: 2\nseed: 7\n";
  run_yaml<Overlap>("run", yaml);
  const Table results = read("run");
  EXPECT_NE(results.find({{"side", "left"}}), nullptr);
  EXPECT_NE(results.find({{"side", "right"}}), nullptr);
  for (const Row& row : results.rows()) EXPECT_FALSE(results.cell(row, "mso_random_mc").empty());
  EXPECT_THROW(read_yaml<Overlap>("reference: a\nmodels: {b: b}\nsides: [up]\n"), runtime::UsageError);
  EXPECT_THROW(read_yaml<Overlap>("reference: a\nmodels: {b: b}\nseed: 7\n"), runtime::UsageError)
      << "a seed without draws means nothing";
}

TEST_F(SubspaceExperiments, TooFewPromptsIsAnError) {
  std::string yaml = activations;
  yaml.replace(yaml.find("count: 10"), 9, "count: 99");
  EXPECT_THROW(run_yaml<Activations>("run", yaml), runtime::Error);
  EXPECT_THROW(read_yaml<Activations>("models: {a: b}\nprompts:\n  useful: {field: text}\n  harmful: {path: c}\n"),
               runtime::UsageError);
}

TEST(ActivationStates, LayersBetweenFractions) {
  EXPECT_EQ(subspace::layers_between(0.65, 0.90, 33), (std::vector<int64_t>{21, 22, 23, 24, 25, 26, 27, 28, 29}));
  EXPECT_EQ(subspace::layers_between(0.0, 1.0, 3), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(subspace::layers_between(0.65, 0.90, 3), (std::vector<int64_t>{1, 2}));
}

TEST(ActivationStates, CentringRemovesTheMeanAndTheControlIsHighForOneDistribution) {
  const auto stream = runtime::Stream::open({}, 1);
  // A strong common offset: without centring every set shares its direction.
  Dense a = oracle::gaussian(16, 200, 1);
  Dense b = oracle::gaussian(16, 200, 2);
  for (int64_t j = 0; j < 200; ++j) {
    a(0, j) += 30.0;
    b(0, j) += 30.0;
    a(1, j) *= 6.0;
    b(2, j) *= 6.0;
  }
  const runtime::Tensor ta = oracle::to_tensor(*stream, a);
  const runtime::Tensor tb = oracle::to_tensor(*stream, b);
  const std::vector<double> before = oracle::to_dense(ta).values;
  const auto mso = [&](bool center) { return subspace::compare_activations(*stream, ta, tb, {0.5}, center, {}, "x"); };
  EXPECT_GT(mso(false).pair[0].mso, 0.99);
  const subspace::ActivationOverlap centred = mso(true);
  EXPECT_LT(centred.pair[0].mso, 0.3);
  EXPECT_GT(centred.control[0].mso, 0.95) << "two halves of one set agree";
  EXPECT_EQ(oracle::to_dense(ta).values, before) << "the input is left alone";
}

}  // namespace
}  // namespace subspect::experiments
