// Projections against double-precision singular value decompositions: energies, cosines, and every weight A + Q.
#include "experiments/subspace/projection_run.h"

#include <gmock/gmock.h>

#include <cmath>

#include "runtime/error.h"
#include "tests/experiments/subspace/subspace_fixture.h"

namespace subspect::experiments::subspace {
namespace {

using runtime::Tensor;
using testing::Checkpoint;
using testing::Dense;
using ::testing::HasSubstr;
using testing::number;
namespace oracle = runtime::linalg::testing;

Dense scaled(Dense a, double factor) {
  for (double& x : a.values) x *= factor;
  return a;
}

Dense sum(const Dense& a, const Dense& b) {
  return oracle::difference(a, scaled(b, -1.0));
}

double inner(const Dense& a, const Dense& b) {
  double total = 0.0;
  for (size_t i = 0; i < a.values.size(); ++i) total += a.values[i] * b.values[i];
  return total;
}

/// P_k D by the first k columns of u.
Dense project(const Dense& u, int64_t k, const Dense& d) {
  const Dense left = oracle::leading(u, k);
  return oracle::product(left, oracle::product(oracle::transpose(left), d));
}

class ProjectionRuns : public testing::SubspaceTest {
 protected:
  void SetUp() override {
    SubspaceTest::SetUp();
    base_ = testing::random_checkpoint(100);
    aligned_ = testing::plus(base_, testing::random_checkpoint(200, 0.1));
    useful_ = testing::plus(aligned_, testing::random_checkpoint(300, 0.01));
    harmful_ = testing::plus(aligned_, testing::random_checkpoint(400, 0.02));
  }

  void open() {
    sources_.clear();
    sources_.push_back(WeightSource::open("base", save("base", base_)));
    sources_.push_back(WeightSource::open("aligned", save("aligned", aligned_)));
    sources_.push_back(WeightSource::open("useful", save("useful", useful_)));
    sources_.push_back(WeightSource::open("harmful", save("harmful", harmful_)));
  }
  UpdateSources sources() const { return {&sources_[0], &sources_[1], {&sources_[2], &sources_[3]}}; }

  void run(const std::string& name, const ProjectionSettings& settings, const ModelConsumer& consumer = {},
           std::shared_ptr<runtime::Stream> stream = nullptr) {
    in_run(
        name,
        [&](RunContext& context) { ProjectionRun(context, settings, sources(), projection_columns(), consumer).run(); },
        std::move(stream));
  }

  /// Runs and keeps every model's weights, in float64, by label.
  std::map<std::string, Checkpoint> run_and_collect(const std::string& name, const ProjectionSettings& settings) {
    std::map<std::string, Checkpoint> models;
    run(name, settings, [&](const ProjectionCell& cell, const WeightSource&, const model::NamedTensors& weights) {
      for (const auto& item : weights) {
        models[cell.label()].emplace(item.first, testing::Values{item.second.shape(), oracle::to_dense(item.second)});
      }
      return NamedCells{{"harmfulness", 1.0}};
    });
    return models;
  }

  Dense update(const Checkpoint& finetuned, const std::string& tensor) const {
    return oracle::difference(finetuned.at(tensor).dense, aligned_.at(tensor).dense);
  }
  Dense alignment(const std::string& tensor) const {
    return oracle::difference(aligned_.at(tensor).dense, base_.at(tensor).dense);
  }
  /// The truth of P for top_k.
  Dense parallel(const Checkpoint& finetuned, const std::string& tensor, double fraction) const {
    const Dense d = update(finetuned, tensor);
    const Dense v = alignment(tensor);
    if (aligned_.at(tensor).shape.size() < 2 || fraction <= 0.0 || fraction >= 1.0) {
      const double v2 = inner(v, v);
      return v2 > 0.0 ? scaled(v, inner(d, v) / v2) : scaled(v, 0.0);
    }
    if (oracle::norm(v) == 0.0) return Dense(d.rows, d.cols);
    const int64_t k = rank_of_fraction(fraction, std::min(d.rows, d.cols));
    return project(oracle::decompose(v).u, k, d);
  }
  static Dense applied(Mode mode, const Dense& d, const Dense& p) {
    switch (mode) {
      case Mode::orth:
        return oracle::difference(d, p);
      case Mode::opp:
        return scaled(p, -1.0);
      case Mode::same:
        break;
    }
    return p;
  }

  Checkpoint base_, aligned_, useful_, harmful_;
  std::vector<WeightSource> sources_;
};

const std::vector<Mode> all_modes = {Mode::same, Mode::orth, Mode::opp};

NamedCells key_of(const std::string& model, const char* basis, Mode mode, double fraction) {
  return {{"model", model}, {"basis", basis}, {"mode", name(mode)}, {"fraction", fraction}};
}

TEST_F(ProjectionRuns, EnergiesAndCosinesOfTopK) {
  open();
  ProjectionSettings settings;
  settings.bases = {Basis::top_k};
  settings.modes = all_modes;
  settings.fractions = {0.5, 0.01, 0.99, 0.25, 2.0};
  run("run", settings);
  const Table results = read("run");
  const Table tensors = read("run", "tensors");
  const Table layers = read("run", "layers");
  EXPECT_EQ(results.size(), 2U + 2U + 2U * 5U * 3U);
  EXPECT_EQ(tensors.size(), 2U * 5U * 3U * aligned_.size());
  EXPECT_EQ(layers.size(), 2U * 5U * 3U * 4U) << "embed_tokens, two layers, norm";
  for (const auto& [label, finetuned] : {std::pair("useful", &useful_), std::pair("harmful", &harmful_)}) {
    for (const double fraction : settings.fractions) {
      for (const Mode mode : all_modes) {
        SplitSums total;
        SplitSums layer;
        for (const auto& item : aligned_) {
          const Dense d = update(*finetuned, item.first);
          const Dense v = alignment(item.first);
          const Dense q = applied(mode, d, parallel(*finetuned, item.first, fraction));
          const SplitSums sums{inner(d, d), inner(v, v), inner(d, v), inner(q, q), inner(d, q)};
          NamedCells key = key_of(label, "top_k", mode, fraction);
          key.emplace_back("tensor", item.first);
          EXPECT_NEAR(number(tensors, key, "energy_kept"), sums.energy_kept(), 1e-6 * sums.energy_kept() + 1e-9);
          if (sums.energy_kept() > 1e-12) {
            EXPECT_NEAR(number(tensors, key, "cosine_task_proj"), sums.cosine_task_proj(), 1e-6);
          } else {
            EXPECT_TRUE(std::isnan(number(tensors, key, "cosine_task_proj"))) << "U spans everything: Q = 0";
          }
          EXPECT_NEAR(number(tensors, key, "cosine_task_align"), sums.cosine_task_align(), 1e-6);
          total += sums;
          if (item.first.starts_with("model.layers.1.")) layer += sums;
        }
        const NamedCells key = key_of(label, "top_k", mode, fraction);
        EXPECT_NEAR(number(results, key, "energy_kept"), total.energy_kept(), 1e-6);
        EXPECT_NEAR(number(results, key, "energy_removed"), 1.0 - total.energy_kept(), 1e-6);
        EXPECT_NEAR(number(results, key, "cosine_task_proj"), total.cosine_task_proj(), 1e-6);
        EXPECT_NEAR(number(results, key, "cosine_task_align"), total.cosine_task_align(), 1e-6);
        NamedCells layer_key = key;
        layer_key.emplace_back("layer", "layers.1");
        EXPECT_NEAR(number(layers, layer_key, "energy_kept"), layer.energy_kept(), 1e-6);
      }
    }
  }
}

TEST_F(ProjectionRuns, PlainModelsAreRowsOfTheSameTable) {
  open();
  ProjectionSettings settings;
  settings.fractions = {0.5};
  run("run", settings);
  const Table results = read("run");
  for (const char* model : {"base", "aligned", "useful", "harmful"}) {
    const Row* row = results.find({{"model", model}, {"basis", "none"}, {"mode", "none"}});
    ASSERT_NE(row, nullptr) << model;
    EXPECT_TRUE(results.cell(*row, "fraction").empty());
  }
  EXPECT_DOUBLE_EQ(number(results, {{"model", "useful"}, {"basis", "none"}}, "energy_kept"), 1.0);
  EXPECT_DOUBLE_EQ(number(results, {{"model", "useful"}, {"basis", "none"}}, "cosine_task_proj"), 1.0);
  EXPECT_TRUE(std::isnan(number(results, {{"model", "base"}}, "energy_kept")));
  EXPECT_TRUE(results.cell(results.rows()[0], "gsm8k_flexible").empty());
}

TEST_F(ProjectionRuns, EveryWeightIsAPlusQ) {
  open();
  ProjectionSettings settings;
  settings.bases = {Basis::top_k};
  settings.modes = all_modes;
  settings.fractions = {0.3, 0.75, 1.0};
  const auto models = run_and_collect("run", settings);
  EXPECT_EQ(models.size(), 4U + 2U * 3U * 3U);
  for (const auto& [label, finetuned] : {std::pair("useful", &useful_), std::pair("harmful", &harmful_)}) {
    for (const double fraction : settings.fractions) {
      for (const Mode mode : all_modes) {
        const Checkpoint& weights = models.at(fmt::format("{}-top_k-{}-{}", label, name(mode), fraction));
        ASSERT_EQ(weights.size(), aligned_.size());
        for (const auto& item : aligned_) {
          const Dense d = update(*finetuned, item.first);
          const Dense q = applied(mode, d, parallel(*finetuned, item.first, fraction));
          const Dense truth = sum(item.second.dense, q);
          const Dense error = oracle::difference(weights.at(item.first).dense, truth);
          // P_k D within 1e-5 of ||D||, and the rounding of A + Q to float32.
          EXPECT_LT(oracle::norm(error), 1e-5 * oracle::norm(d) + 1e-7 * oracle::norm(truth)) << item.first;
          EXPECT_EQ(weights.at(item.first).shape, item.second.shape);
        }
      }
    }
  }
  for (const auto& item : useful_) EXPECT_EQ(models.at("useful").at(item.first).dense.values, item.second.dense.values);
  EXPECT_DOUBLE_EQ(number(read("run"), {{"model", "useful"}, {"mode", "opp"}}, "harmfulness"), 1.0);
}

TEST_F(ProjectionRuns, RandomBasesSplitTheUpdateAndKeepWhatTheRowsSay) {
  open();
  ProjectionSettings settings;
  settings.bases = {Basis::random_k, Basis::random};
  settings.fractions = {0.25, 0.5};
  settings.draws = 2;
  const auto models = run_and_collect("run", settings);
  const Table tensors = read("run", "tensors");
  for (const char* basis : {"random_k", "random"}) {
    for (const int64_t draw : {0, 1}) {
      for (const double fraction : settings.fractions) {
        const auto weights = [&](const char* mode) {
          return models.at(fmt::format("useful-{}-{}-{}-{}", basis, mode, fraction, draw));
        };
        const Checkpoint same = weights("same");
        const Checkpoint orth = weights("orth");
        for (const auto& item : aligned_) {
          const Dense d = update(useful_, item.first);
          const Dense p = oracle::difference(same.at(item.first).dense, item.second.dense);
          const Dense rest = oracle::difference(orth.at(item.first).dense, item.second.dense);
          EXPECT_LT(oracle::norm(oracle::difference(sum(p, rest), d)), 1e-4 * oracle::norm(d));
          EXPECT_LT(std::abs(inner(p, rest)), 1e-4 * inner(d, d)) << "a projection splits at a right angle";
          NamedCells key = key_of("useful", basis, Mode::same, fraction);
          key.emplace_back("draw", draw);
          key.emplace_back("tensor", item.first);
          EXPECT_NEAR(number(tensors, key, "energy_kept"), inner(p, p) / inner(d, d), 1e-4);
          if (item.second.shape.size() < 2) continue;
          const int64_t side = std::min(d.rows, d.cols);
          const int64_t k = rank_of_fraction(fraction, side);
          EXPECT_EQ(number(tensors, key, "k"), static_cast<double>(k));
          const std::vector<double> sigma = oracle::decompose(p).sigma;
          EXPECT_GT(sigma[static_cast<size_t>(k - 1)], 1e-3 * sigma[0]);
          EXPECT_LT(sigma[static_cast<size_t>(k)], 1e-3 * sigma[0]) << "P has rank k";
        }
      }
    }
  }
  // random_k uses singular vectors of V: its P lies in V's column space (tall tensors have less than full rank).
  const Dense u = oracle::decompose(alignment("model.embed_tokens.weight")).u;
  const auto outside = [&](const char* basis) {
    const Dense p =
        oracle::difference(models.at(fmt::format("useful-{}-same-0.5-0", basis)).at("model.embed_tokens.weight").dense,
                           aligned_.at("model.embed_tokens.weight").dense);
    return oracle::norm(oracle::difference(p, project(u, u.cols, p))) / oracle::norm(p);
  };
  EXPECT_LT(outside("random_k"), 1e-4);
  EXPECT_GT(outside("random"), 0.1);
  EXPECT_NE(models.at("useful-random-same-0.5-0").at("model.embed_tokens.weight").dense.values,
            models.at("useful-random-same-0.5-1").at("model.embed_tokens.weight").dense.values);
}

/// U_k U_k^T D, D W_k W_k^T, or both.
Dense project_sides(Sides sides, const Dense& v, int64_t k, const Dense& d) {
  Dense p = d;
  if (sides != Sides::right) p = project(oracle::decompose(v).u, k, p);
  if (sides != Sides::left) {
    const Dense w = oracle::decompose(oracle::transpose(v)).u;
    p = oracle::transpose(project(w, k, oracle::transpose(p)));
  }
  return p;
}

TEST_F(ProjectionRuns, RightAndBothSidesAgainstTheOracle) {
  open();
  ProjectionSettings settings;
  settings.bases = {Basis::top_k};
  settings.modes = {Mode::same, Mode::orth};
  settings.sides = {Sides::left, Sides::right, Sides::both};
  settings.fractions = {0.25, 0.75, 1.0};
  const auto models = run_and_collect("run", settings);
  run("energies", settings);
  EXPECT_EQ(read("run").columns().back(), "side");
  EXPECT_EQ(read("run").size(), 4U + 2U * 3U * 3U * 2U);
  const Table tensors = read("run", "tensors");
  const Table energies = read("energies", "tensors");
  for (const Sides sides : settings.sides) {
    const std::string place = sides == Sides::left ? "" : "-" + std::string(name(sides));
    for (const double fraction : {0.25, 0.75}) {
      const Checkpoint& same = models.at(fmt::format("useful-top_k{}-same-{}", place, fraction));
      const Checkpoint& orth = models.at(fmt::format("useful-top_k{}-orth-{}", place, fraction));
      for (const auto& item : aligned_) {
        const Dense d = update(useful_, item.first);
        const bool is_matrix = item.second.shape.size() > 1;
        const int64_t k = rank_of_fraction(fraction, std::min(d.rows, d.cols));
        const Dense truth =
            is_matrix ? project_sides(sides, alignment(item.first), k, d) : parallel(useful_, item.first, fraction);
        const Dense p = oracle::difference(same.at(item.first).dense, item.second.dense);
        const Dense rest = oracle::difference(orth.at(item.first).dense, item.second.dense);
        const double rounding = 1e-5 * oracle::norm(d) + 1e-6 * oracle::norm(item.second.dense);
        EXPECT_LT(oracle::norm(oracle::difference(p, truth)), rounding) << item.first << place;
        EXPECT_LT(oracle::norm(oracle::difference(sum(p, rest), d)), rounding) << item.first << place;
        NamedCells key = key_of("useful", "top_k", Mode::same, fraction);
        key.insert(key.end(), {{"tensor", item.first}, {"side", name(sides)}});
        const double energy = number(tensors, key, "energy_kept");
        EXPECT_NEAR(energy, inner(truth, truth) / inner(d, d), 1e-6) << item.first << place;
        EXPECT_EQ(number(energies, key, "energy_kept"), energy) << "without forming models";
        EXPECT_EQ(number(tensors, key, "rows"), static_cast<double>(d.rows));
        EXPECT_EQ(number(tensors, key, "cols"), static_cast<double>(d.cols));
        key[2].second = "orth";
        EXPECT_NEAR(number(tensors, key, "energy_kept") + energy, 1.0, 1e-9) << "the shares add up";
      }
    }
    // The single direction vec(V) knows no sides.
    for (const auto& item : aligned_) {
      EXPECT_EQ(models.at(fmt::format("useful-top_k{}-same-1", place)).at(item.first).dense.values,
                models.at("useful-top_k-same-1").at(item.first).dense.values);
    }
  }
}

TEST_F(ProjectionRuns, TheRightSideIsTheLeftSideOfTheTranspose) {
  const auto turned = [](const Checkpoint& checkpoint) {
    Checkpoint result = checkpoint;
    for (auto& item : result) {
      if (item.second.shape.size() < 2) continue;
      std::swap(item.second.shape[0], item.second.shape[1]);
      item.second.dense = oracle::transpose(item.second.dense);
    }
    return result;
  };
  ProjectionSettings settings;
  settings.bases = {Basis::top_k, Basis::random_k};
  settings.modes = {Mode::same};
  settings.fractions = {0.3, 0.6};
  settings.sides = {Sides::right};
  open();
  const auto right = run_and_collect("right", settings);
  const Table energies = read("right", "tensors");
  for (Checkpoint* checkpoint : {&base_, &aligned_, &useful_, &harmful_}) *checkpoint = turned(*checkpoint);
  settings.sides = {Sides::left};
  open();
  const auto left = run_and_collect("left", settings);
  const Table of_transpose = read("left", "tensors");
  for (const std::string name : {"harmful-top_k{}-same-0.3", "harmful-random_k{}-same-0.6-0"}) {
    const Checkpoint& expected = left.at(fmt::format(fmt::runtime(name), ""));
    const Checkpoint back = turned(right.at(fmt::format(fmt::runtime(name), "-right")));
    for (const auto& item : expected) {
      const Dense error = oracle::difference(back.at(item.first).dense, item.second.dense);
      EXPECT_LT(oracle::norm(error), 2e-6 * oracle::norm(item.second.dense)) << name << " " << item.first;
    }
  }
  for (const Row& row : energies.rows()) {
    NamedCells key;
    for (const char* column : {"tensor", "model", "basis", "mode", "fraction", "draw"}) {
      key.emplace_back(column, energies.cell(row, column));
    }
    EXPECT_NEAR(energies.cell(row, "energy_kept").number(), number(of_transpose, key, "energy_kept"), 1e-6);
  }
}

TEST_F(ProjectionRuns, BothSidesKeepNoMoreThanEither) {
  open();
  ProjectionSettings settings;
  settings.sides = {Sides::left, Sides::right, Sides::both};
  settings.fractions = {0.1, 0.5, 0.999};
  settings.modes = {Mode::same};
  settings.draws = 2;
  const auto models = run_and_collect("run", settings);
  const Table tensors = read("run", "tensors");
  int64_t compared = 0;
  for (const Row& row : tensors.rows()) {
    if (tensors.cell(row, "side").text() != "both") continue;
    NamedCells key;
    for (const char* column : {"tensor", "model", "basis", "mode", "fraction", "draw"}) {
      key.emplace_back(column, tensors.cell(row, column));
    }
    key.emplace_back("side", "left");
    const double both = tensors.cell(row, "energy_kept").number(), left = number(tensors, key, "energy_kept");
    key.back().second = "right";
    EXPECT_LE(both, std::min(left, number(tensors, key, "energy_kept")) + 1e-6);
    ++compared;
    // All vectors of a square matrix span everything: P = D.
    const std::string tensor = tensors.cell(row, "tensor").text();
    if (tensor.find("q_proj") != std::string::npos && tensors.cell(row, "fraction").number() > 0.9) {
      EXPECT_DOUBLE_EQ(both, 1.0);
      EXPECT_DOUBLE_EQ(left, 1.0);
    }
  }
  EXPECT_EQ(compared, 2 * 5 * 3 * static_cast<int64_t>(aligned_.size()));
  const std::string square = "model.layers.0.self_attn.q_proj.weight";
  for (const char* name : {"useful-random-both-same-0.999-1", "useful-top_k-right-same-0.999"}) {
    const Dense error = oracle::difference(models.at(name).at(square).dense, useful_.at(square).dense);
    EXPECT_LT(oracle::norm(error), 1e-6 * oracle::norm(useful_.at(square).dense)) << name;
  }
  settings.memory_budget = 1000;
  const auto scarce = run_and_collect("scarce", settings);
  for (const auto& model : models) {
    for (const auto& item : model.second) {
      EXPECT_EQ(item.second.dense.values, scarce.at(model.first).at(item.first).dense.values) << model.first;
    }
  }
}

TEST_F(ProjectionRuns, UntouchedTensorHasNoAlignedDirection) {
  const std::string untouched = "model.layers.0.mlp.up_proj.weight";
  aligned_.at(untouched) = base_.at(untouched);
  const std::string vector = "model.norm.weight";
  aligned_.at(vector) = base_.at(vector);
  open();
  ProjectionSettings settings;
  settings.fractions = {0.5};
  const auto models = run_and_collect("run", settings);
  const Table tensors = read("run", "tensors");
  for (const char* basis : {"top_k", "random_k"}) {
    NamedCells key = key_of("useful", basis, Mode::same, 0.5);
    key.emplace_back("tensor", untouched);
    EXPECT_EQ(number(tensors, key, "energy_kept"), 0.0);
    EXPECT_EQ(number(tensors, key, "k"), 0.0);
    EXPECT_EQ(number(tensors, key, "rank"), 0.0);
    EXPECT_TRUE(std::isnan(number(tensors, key, "cosine_task_align")));
  }
  NamedCells key = key_of("useful", "random", Mode::same, 0.5);
  key.emplace_back("tensor", untouched);
  EXPECT_GT(number(tensors, key, "energy_kept"), 0.1) << "a random basis does not need V";
  key.back().second = vector;
  EXPECT_EQ(number(tensors, key, "energy_kept"), 0.0);
  EXPECT_EQ(models.at("useful-top_k-same-0.5").at(untouched).dense.values, aligned_.at(untouched).dense.values);
  EXPECT_EQ(models.at("useful-top_k-orth-0.5").at(vector).shape, aligned_.at(vector).shape);
}

TEST_F(ProjectionRuns, AnUpdateOfZeroHasEmptyCells) {
  useful_ = aligned_;
  open();
  ProjectionSettings settings;
  settings.bases = {Basis::top_k};
  settings.fractions = {0.5};
  run("run", settings);
  EXPECT_TRUE(std::isnan(number(read("run"), key_of("useful", "top_k", Mode::same, 0.5), "energy_kept")));
}

TEST_F(ProjectionRuns, SpilledFactorsGiveTheSameModels) {
  open();
  ProjectionSettings settings;
  settings.fractions = {0.25, 0.75};
  const auto plenty = run_and_collect("plenty", settings);
  settings.memory_budget = 1000;
  const auto scarce = run_and_collect("scarce", settings);
  ASSERT_EQ(plenty.size(), scarce.size());
  for (const auto& model : plenty) {
    for (const auto& item : model.second) {
      EXPECT_EQ(item.second.dense.values, scarce.at(model.first).at(item.first).dense.values) << model.first;
    }
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "scarce" / "state" / "factors"));
}

TEST_F(ProjectionRuns, ThreadsChangeNoBit) {
  open();
  const ProjectionSettings settings;
  run("one", settings, {}, runtime::Stream::open({}, 1));
  run("three", settings, {}, runtime::Stream::open({}, 3));
  for (const char* table : {"results", "tensors", "layers"}) {
    EXPECT_EQ(read("one", table).to_csv(), read("three", table).to_csv());
  }
}

TEST_F(ProjectionRuns, ResumesAfterAnInterruptionWithoutRedoing) {
  open();
  ProjectionSettings settings;
  settings.fractions = {0.25, 0.75};
  std::vector<std::string> whole;
  run("whole", settings, [&](const ProjectionCell& cell, const WeightSource&, const model::NamedTensors& weights) {
    whole.push_back(cell.label());
    return NamedCells{{"harmfulness", static_cast<double>(weights.at("model.norm.weight").data<float>()[0])}};
  });
  for (const size_t stop : {1U, 6U, 9U, 20U}) {
    std::vector<std::string> seen;
    const std::string name = fmt::format("stopped-{}", stop);
    const ModelConsumer consumer = [&](const ProjectionCell& cell, const WeightSource&,
                                       const model::NamedTensors& weights) {
      if (seen.size() == stop) {
        seen.push_back("stop");
        throw runtime::Interrupted("interrupted", "", "");
      }
      seen.push_back(cell.label());
      return NamedCells{{"harmfulness", static_cast<double>(weights.at("model.norm.weight").data<float>()[0])}};
    };
    EXPECT_THROW(run(name, settings, consumer), runtime::Interrupted);
    run(name, settings, consumer);
    std::vector<std::string> expected = whole;
    expected.insert(expected.begin() + static_cast<std::ptrdiff_t>(stop), "stop");
    EXPECT_EQ(seen, expected) << "every model once, in order";
    for (const char* table : {"results", "tensors", "layers"}) {
      EXPECT_EQ(read(name, table).to_csv(), read("whole", table).to_csv());
    }
  }
}

TEST_F(ProjectionRuns, TensorsOutsideTheGlobsStayAsFineTuned) {
  open();
  ProjectionSettings settings;
  settings.bases = {Basis::top_k};
  settings.fractions = {0.5};
  settings.tensors = {"*.mlp.*"};
  const auto models = run_and_collect("run", settings);
  const Checkpoint& weights = models.at("useful-top_k-same-0.5");
  for (const auto& item : useful_) {
    const bool projected = item.first.find(".mlp.") != std::string::npos;
    EXPECT_EQ(weights.at(item.first).dense.values == item.second.dense.values, !projected) << item.first;
  }
  EXPECT_EQ(read("run", "tensors").size(), 2U * 2U * 4U);
  settings.tensors = {"*.nothing.*"};
  EXPECT_THROW(run("none", settings), runtime::UsageError);
}

TEST_F(ProjectionRuns, RoundingOfTheReferenceGoesThroughFloat16) {
  open();
  ProjectionSettings settings;
  settings.bases = {Basis::top_k};
  settings.modes = {Mode::opp};
  settings.fractions = {0.5};
  const Checkpoint plain = run_and_collect("plain", settings).at("useful-top_k-opp-0.5");
  settings.rounding = Rounding::float16;
  const Checkpoint rounded = run_and_collect("rounded", settings).at("useful-top_k-opp-0.5");
  for (const auto& item : aligned_) {
    const std::vector<double>& a = item.second.dense.values;
    for (size_t i = 0; i < a.size(); ++i) {
      const auto q = static_cast<float>(plain.at(item.first).dense.values[i] - a[i]);
      EXPECT_NEAR(rounded.at(item.first).dense.values[i] - a[i], static_cast<double>(q),
                  1e-3 * std::abs(static_cast<double>(q)) + 1e-6);
    }
    EXPECT_NE(rounded.at(item.first).dense.values, plain.at(item.first).dense.values);
  }
}

TEST_F(ProjectionRuns, MismatchesNameTheTensorAndBothShapes) {
  const auto message = [&] {
    open();
    try {
      run("run", {});
    } catch (const runtime::Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const Checkpoint good = harmful_;
  harmful_.at("model.norm.weight") = testing::values_of({13}, 1);
  EXPECT_THAT(message(), HasSubstr("tensor model.norm.weight is [12] in aligned and [13] in harmful"));
  harmful_ = good;
  harmful_.erase("model.layers.1.mlp.up_proj.weight");
  EXPECT_THAT(message(),
              HasSubstr("tensor model.layers.1.mlp.up_proj.weight is [20, 12] in aligned and missing in harmful"));
  harmful_ = good;
  harmful_.emplace("model.layers.2.mlp.up_proj.weight", testing::values_of({20, 12}, 2));
  EXPECT_THAT(message(),
              HasSubstr("tensor model.layers.2.mlp.up_proj.weight is [20, 12] in harmful and missing in aligned"));
  harmful_ = good;
  base_.at("model.norm.weight").shape = {12, 1};
  EXPECT_THAT(message(), HasSubstr("[12] in aligned and [12, 1] in base"));
}

TEST_F(ProjectionRuns, NanInWeightsIsNamed) {
  harmful_.at("model.layers.0.self_attn.q_proj.weight").dense(3, 4) = std::nan("");
  open();
  try {
    run("run", {});
    FAIL();
  } catch (const runtime::Error& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("tensor model.layers.0.self_attn.q_proj.weight has a NaN or infinity at [3, 4]"));
    EXPECT_THAT(error.where(), HasSubstr("harmful"));
  }
}

TEST_F(ProjectionRuns, RankDeficientAlignmentCapsTheRank) {
  const std::string tensor = "model.layers.0.self_attn.q_proj.weight";
  testing::Values& values = aligned_.at(tensor);
  values = base_.at(tensor);
  for (int64_t j = 0; j < 12; ++j) values.dense(2, j) += 0.5;  // V has one row that is not zero
  open();
  ProjectionSettings settings;
  settings.bases = {Basis::top_k};
  settings.fractions = {0.5};
  run("run", settings);
  NamedCells key = key_of("useful", "top_k", Mode::same, 0.5);
  key.emplace_back("tensor", tensor);
  EXPECT_EQ(number(read("run", "tensors"), key, "k"), 1.0);
  EXPECT_EQ(number(read("run", "tensors"), key, "rank"), 1.0);
}

TEST(RankOfFraction, RoundsAndIsAtLeastOne) {
  EXPECT_EQ(rank_of_fraction(0.01, 10), 1);
  EXPECT_EQ(rank_of_fraction(0.25, 10), 3);
  EXPECT_EQ(rank_of_fraction(0.99, 10), 10);
  EXPECT_EQ(rank_of_fraction(0.5, 1), 1);
  EXPECT_TRUE(splits_by_rank(0.99));
  EXPECT_FALSE(splits_by_rank(1.0));
  EXPECT_FALSE(splits_by_rank(0.0));
  EXPECT_FALSE(splits_by_rank(std::nan("")));
}

}  // namespace
}  // namespace subspect::experiments::subspace
