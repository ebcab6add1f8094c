// Run directories from formulas that resemble the tiny study: scores are sigmoids of the energy kept.
#include "tests/experiments/report/synthetic_runs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <array>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <vector>

namespace subspect::experiments::report::testing {

namespace fs = std::filesystem;

namespace {

/// A repeatable number in (-1, 1) for each index.
double noise(int index) {
  const double x = std::sin(12.9898 * (index + 1)) * 43758.5453;
  return 2 * (x - std::floor(x)) - 1;
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

void write_environment(const fs::path& folder, const std::string& kind, const std::string& more = "") {
  write_text(
      folder / "environment.json",
      fmt::format("{{\"kind\": \"{}\", \"version\": \"0.1.0\", \"git_hash\": \"0123456789ab\", \"device\": \"cpu\", "
                  "\"libraries\": {{\"openblas\": \"0.3.21\", \"fmt\": \"9.1.0\"}}, \"seed\": 42, "
                  "\"started\": \"2025-01-02T03:04:05Z\", \"ended\": \"2025-01-02T03:09:05Z\", \"status\": "
                  "\"finished\"{}}}\n",
                  kind, more));
  write_text(folder / "config.yaml",
             fmt::format("kind: {}\nseed: 42\nnote: \"</script><script>window.hacked=1</script>\"\n# a long line: {}\n",
                         kind, std::string(160, 'x')));
}

struct Scores {
  double utility;
  double harmfulness;
};

/// What a model scores when `energy` of its update is applied.
Scores scores(const std::string& model, double energy, const Effect& effect) {
  const double useful = effect.useful * sigmoid(14 * (energy - 0.8)) / sigmoid(14 * 0.2);
  const double harmful = 1 + (effect.harmful - 1) * sigmoid(16 * (energy - 0.38));
  if (model == "harmful") return {0.02, harmful};
  if (model == "contaminated") return {useful, 1 + 0.3 * (harmful - 1)};
  return {std::max(0.02, useful), 1.0};
}

double energy_of(const std::string& basis, double fraction) {
  return basis == "top_k" ? std::pow(fraction, 0.62) : basis == "random_k" ? std::pow(fraction, 1.1) : fraction;
}

std::string scored_row(const std::string& model, const std::string& basis, const std::string& mode, double fraction,
                       int draw, double energy, Scores score) {
  return fmt::format("{},{},{},{},{},{:.6f},{:.6f},0.031,{:.4f},{:.4f},{:.4f},0\n", quoted(model), basis, mode,
                     fraction, draw, energy, std::sqrt(energy), score.utility, 0.9 * score.utility, score.harmfulness);
}

/// The tables that a projection makes of its prompts: cells, comparisons and trends, with intervals of `spread`.
class MadeUpStatistics {
 public:
  explicit MadeUpStatistics(const Effect& effect) : effect_(effect) {}

  void add_model(const std::string& model, Scores score) {
    for (const auto& other : plain_) {
      compare("models", "exact_match_flexible", model, "none", "", other.first, score.utility - other.second.utility,
              0.04);
      compare("models", "harmfulness", model, "none", "", other.first, score.harmfulness - other.second.harmfulness,
              0.2);
    }
    plain_.emplace_back(model, score);
    add_cell(model, "none", "none", "", std::nan(""), score);
  }

  void add_cell(const std::string& model, const std::string& basis, const std::string& mode,
                const std::string& fraction, double energy, Scores score) {
    const double u = 0.04 * effect_.spread, h = 0.15 * effect_.spread;
    cells_ += fmt::format("{},{},{},{},1,{},,,{:.4f},{:.4f},{:.4f},,,{:.4f},{:.4f},{:.4f},,\n", quoted(model), basis,
                          mode, fraction, std::isfinite(energy) ? fmt::format("{:.6f}", energy) : "", score.utility,
                          score.utility - u, score.utility + u, score.harmfulness, score.harmfulness - h,
                          score.harmfulness + h);
  }

  /// The bases differ by `basis_shift` of the range; everything follows the energy.
  void add_shapes(const std::string& model) {
    for (const std::string basis : {"random_k", "top_k"}) {
      const double gap = basis == "top_k" ? effect_.basis_shift : 0.01;
      const Scores whole = scores(model, 1.0, effect_);
      compare("equal_energy", "exact_match_flexible", model, basis, "same", "random", gap * whole.utility, 0.05);
      compare("equal_energy", "harmfulness", model, basis, "same", "random", gap * (whole.harmfulness - 1), 0.1);
    }
    trends_ += fmt::format(
        "{0},exact_match_flexible,concordance,0.93,{1:.4f},0.99,left\n{0},harmfulness,concordance,0.95,{1:.4f},1,"
        "left\n",
        quoted(model), 0.85 - 0.3 * (effect_.spread - 1));
  }

  void write(const fs::path& folder) const {
    write_text(folder / "cells.csv",
               "model,basis,mode,fraction,draws,energy_kept,energy_low,energy_high,exact_match_flexible,"
               "exact_match_flexible_low,exact_match_flexible_high,exact_match_flexible_draws_low,"
               "exact_match_flexible_draws_high,harmfulness,harmfulness_low,harmfulness_high,harmfulness_draws_low,"
               "harmfulness_draws_high\n" +
                   cells_);
    write_text(
        folder / "comparisons.csv",
        "family,metric,model,basis,mode,fraction,against,n,value,reference,difference,low,high,p,p_holm,detectable\n" +
            comparisons_);
    write_text(folder / "trends.csv", "model,metric,statistic,value,low,high,side\n" + trends_);
  }

 private:
  void compare(const std::string& family, const std::string& metric, const std::string& model, const std::string& basis,
               const std::string& mode, const std::string& against, double difference, double reach) {
    const double bound = reach * effect_.spread;
    comparisons_ += fmt::format("{},{},{},{},{},,{},100,,,{:.4f},{:.4f},{:.4f},0.0001,{},{:.4f}\n", family, metric,
                                quoted(model), basis, mode, quoted(against), difference, difference - bound,
                                difference + bound, std::abs(difference) > bound ? 0.001 : 0.6, 1.4 * bound);
  }

  Effect effect_;
  std::vector<std::pair<std::string, Scores>> plain_;
  std::string cells_, comparisons_, trends_;
};

std::string projected_rows(const std::string& model, const Effect& effect, MadeUpStatistics& statistics) {
  std::string rows;
  int index = 0;
  for (const std::string basis : {"top_k", "random_k", "random"}) {
    for (const std::string mode : {"same", "orth"}) {
      for (const double fraction : {0.01, 0.25, 0.5, 0.75, 0.9, 0.99}) {
        for (int draw = 0; draw < (basis == "top_k" ? 1 : 2); ++draw) {
          const double inside = std::clamp(energy_of(basis, fraction) + 0.02 * noise(++index), 0.001, 0.999);
          const double energy = mode == "same" ? inside : 1 - inside;
          Scores score = scores(model, energy + (basis == "top_k" ? effect.basis_shift : 0), effect);
          const bool disturbed = model == "contaminated" && mode == "orth";
          if (disturbed) score.harmfulness = std::min(5.0, 1.9 + 2.2 * inside);
          rows += scored_row(model, basis, mode, fraction, draw, energy, score);
          if (draw == 0) statistics.add_cell(model, basis, mode, fmt::format("{}", fraction), energy, score);
        }
      }
    }
  }
  return rows;
}

std::string bare_row(const std::string& model, double utility, double harmfulness) {
  return fmt::format("{},none,none,,,,,,{:.4f},{:.4f},{:.4f},0\n", quoted(model), utility, 0.9 * utility, harmfulness);
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "subspect-report-XXXXXX").string();
  path_ = mkdtemp(pattern.data());
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

void make_finetune(const fs::path& folder, int steps, double last_loss) {
  std::string lines;
  for (int step = 1; step <= steps; ++step) {
    const double done = static_cast<double>(step) / steps;
    const double loss =
        last_loss + 4 * std::exp(-6 * done) * (1 + 0.12 * noise(step)) + 0.05 * std::abs(noise(step + 7));
    lines += fmt::format(
        "{{\"step\": {}, \"epoch\": {:.3f}, \"loss\": {:.5f}, \"lr\": {:.3e}, \"grad_norm\": {:.4f}, "
        "\"tokens\": {}, \"tokens_per_second\": {:.1f}, \"seconds\": {:.2f}, \"peak_bytes\": {}}}\n",
        step, done, loss, 1e-3 * (1 - done), 0.8 + 0.3 * noise(step + 3), 2048 * step, 9000 + 300 * noise(step + 5),
        0.23 * step, 734003200);
  }
  write_text(folder / "metrics.jsonl", lines + "{\"step\": 9");  // as a kill leaves it
  write_environment(folder, "finetune");
}

void make_projection(const fs::path& folder, const Effect& effect) {
  std::string csv =
      "model,basis,mode,fraction,draw,energy_kept,cosine_task_proj,cosine_task_align,gsm8k_flexible,gsm8k_strict,"
      "harmfulness,harmfulness_invalid\n";
  csv += bare_row("base", 0, 5) + bare_row("aligned", 0.02, 1);
  MadeUpStatistics statistics(effect);
  statistics.add_model("base", {0, 5});
  statistics.add_model("aligned", {0.02, 1});
  std::vector<std::string> models{"useful", "harmful", "contaminated"};
  if (!effect.extra_model.empty()) models.push_back(effect.extra_model);
  for (const std::string& model : models) {
    const Scores whole = scores(model, 1.0, effect);
    csv += bare_row(model, whole.utility, whole.harmfulness);
    statistics.add_model(model, whole);
  }
  for (const std::string& model : models) {
    csv += projected_rows(model, effect, statistics);
    statistics.add_shapes(model);
  }
  write_text(folder / "results.csv", csv);
  statistics.write(folder);
  std::string tensors = "model,basis,mode,fraction,draw,tensor,rows,cols,k,rank,method,energy_kept,residual\n";
  for (int i = 0; i < 900; ++i) {
    tensors += fmt::format(
        "useful,top_k,same,0.25,0,model.layers.{}.self_attn.q_proj.weight,128,128,32,128,gram,{:.6f},{:.3e}\n", i % 4,
        0.4 + 0.1 * noise(i), 1e-7 * (1.5 + noise(i)));
  }
  write_text(folder / "tensors.csv", tensors);
  write_environment(folder, "projection");
}

void make_overlap(const fs::path& folder, const Effect& effect) {
  std::string csv = "pair,group,granularity,energy,k_a,k_b,d,mso,mso_random\n";
  const std::vector<std::pair<std::string, double>> pairs{{"useful/contaminated", 0.58},
                                                          {"useful/harmful", 0.24},
                                                          {"useful/aligned", 0.18},
                                                          {"harmful/aligned", effect.alignment_of_harmful}};
  int index = 0;
  for (const auto& pair : pairs) {
    for (const std::string granularity : {"tensor", "layer"}) {
      for (int group = 0; group < 6; ++group) {
        for (const double energy : {0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99}) {
          const int k = std::max(1, static_cast<int>(128 * std::pow(energy, 2.2)));
          const double random = k / 128.0, mso = random + (1 - random) * pair.second * (1 + 0.2 * noise(++index));
          csv += fmt::format("{},model.layers.{},{},{},{},{},128,{:.6f},{:.6f}\n", pair.first, group, granularity,
                             energy, k, k, mso, random);
        }
      }
    }
    csv += fmt::format("{},model.norm.weight,tensor,0.5,,,,,\n", pair.first);  // an undefined cell
  }
  write_text(folder / "results.csv", csv);
  std::string spectra = "model,group,granularity,index,singular_value,energy_cumulative\n";
  const std::vector<std::string> models{"useful", "harmful", "contaminated", "aligned"};
  for (size_t m = 0; m < models.size(); ++m) {
    for (int group = 0; group < 6; ++group) {
      const double decay = 0.02 + 0.012 * static_cast<double>(m) + 0.002 * group;
      for (int i = 0; i < 128; ++i) {
        const double energy = (1 - std::exp(-2 * decay * (i + 1))) / (1 - std::exp(-2 * decay * 128));
        spectra += fmt::format("{},model.layers.{},tensor,{},{:.6e},{:.6f}\n", models[m], group, i,
                               0.3 * std::exp(-decay * i), energy);
      }
    }
  }
  write_text(folder / "spectra.csv", spectra);
  write_environment(folder, "overlap");
}

void make_activations(const fs::path& folder) {
  std::string csv =
      "model,layer,energy,k_a,k_b,d,mso,mso_random,mso_control,mso_low,mso_high,mso_control_low,mso_control_high,"
      "mso_random_low,mso_random_high\n";
  std::string probes = "model,layer,method,accuracy,accuracy_low,accuracy_high,separation,n\n";
  int index = 0;
  for (const std::string model : {"base", "aligned", "useful", "contaminated"}) {
    for (int layer = 0; layer < 9; ++layer) {
      for (const double energy : {0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6}) {
        const int k = 1 + static_cast<int>(20 * energy);
        const double mso = 0.62 + 0.02 * layer + 0.04 * noise(++index), control = 0.9 + 0.03 * noise(index + 50);
        const std::string undefined = layer == 4 && model == "base" ? "" : fmt::format("{:.6f}", mso);
        csv += fmt::format("{},{},{},{},{},128,{},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f}\n", model,
                           layer, energy, k, k, undefined, k / 128.0, control, mso - 0.05, mso + 0.05, control - 0.03,
                           std::min(1.0, control + 0.03), k / 140.0, k / 116.0);
      }
      for (const std::string method : {"difference_of_means", "linear_probe"}) {
        const double accuracy = 0.93 + 0.02 * noise(++index);
        probes += fmt::format("{},{},{},{:.4f},{:.4f},{:.4f},2.5,200\n", model, layer, method, accuracy,
                              accuracy - 0.04, accuracy + 0.03);
      }
    }
  }
  write_text(folder / "results.csv", csv);
  write_text(folder / "probes.csv", probes);
  write_environment(folder, "activations");
}

namespace {

/// "gsm8k_flexible,..._low,..._high,gsm8k_strict,...,harmfulness,...,harmfulness_invalid" and values for them.
const std::string formed_columns =
    "gsm8k_flexible,gsm8k_strict,harmfulness,harmfulness_invalid,gsm8k_flexible_low,gsm8k_flexible_high,"
    "gsm8k_strict_low,gsm8k_strict_high,harmfulness_low,harmfulness_high";

std::string formed_scores(double utility, double harmfulness) {
  return fmt::format("{0:.3f},{1:.3f},{2:.3f},0,{3:.3f},{4:.3f},{3:.3f},{4:.3f},{5:.3f},{6:.3f}", utility,
                     0.9 * utility, harmfulness, std::max(0.0, utility - 0.08), std::min(1.0, utility + 0.08),
                     std::max(1.0, harmfulness - 0.3), std::min(5.0, harmfulness + 0.3));
}

constexpr const char* comparison_columns =
    "family,metric,model,basis,mode,fraction,against,n,value,reference,difference,low,high,p,p_holm,detectable\n";

}  // namespace

void make_arithmetic(const fs::path& folder) {
  std::string csv = "model,coefficient_useful,coefficient_harmful,update_norm," + formed_columns + "\n";
  std::string comparisons = comparison_columns;
  for (const double useful : {0.0, 0.25, 0.5, 1.0}) {
    for (const double harmful : {-0.5, 0.0, 0.5, 1.0}) {
      const bool origin = useful == 0.0 && harmful == 0.0;
      const std::string name = origin ? "aligned" : fmt::format("useful-{}-harmful-{}", useful, harmful);
      const double utility = 0.02 + 0.85 * useful * (1 - 0.4 * std::abs(harmful));
      csv += fmt::format("{},{},{},{:.3f},{}\n", name, useful, harmful, useful + std::abs(harmful),
                         formed_scores(utility, 1 + 3.9 * std::max(0.0, harmful)));
      if (origin) continue;
      comparisons += fmt::format("aligned,harmfulness,{},none,none,,aligned,60,,,{:.3f},,,,{},0.4\n", name,
                                 3.9 * std::max(0.0, harmful), harmful > 0 ? 0.001 : 1.0);
    }
  }
  write_text(folder / "results.csv", csv);
  write_text(folder / "comparisons.csv", comparisons);
  write_text(folder / "updates.csv",
             "update,other,norm,norm_other,cosine\nuseful,useful,2,2,1\nharmful,useful,1,2,0.3\n");
  write_environment(folder, "arithmetic");
}

void make_ablation(const fs::path& folder) {
  std::string csv = "model,group,mode,tensors,parameters,energy_share," + formed_columns + "\n";
  csv += "aligned,none,none,,,," + formed_scores(0.1, 1.0) + "\n";
  std::string comparisons = comparison_columns;
  const std::pair<const char*, double> groups[] = {
      {"embeddings", 0.0}, {"self_attn.q_proj", 0.1}, {"mlp.down_proj", 6.0 / 19}};
  for (const std::string model : {"useful", "harmful"}) {
    const double u = model == "useful" ? 0.7 : 0.0, h = model == "useful" ? 0.0 : 3.8;
    csv += fmt::format("{},none,none,,,1,{}\n", model, formed_scores(0.1 + u, 1.0 + h));
    for (const auto& [group, part] : groups) {
      for (const std::string mode : {"only", "without"}) {
        const double share = mode == "only" ? part : 1 - part;
        csv += fmt::format("{},{},{},4,1024,{},{}\n", model, group, mode, part > 0.2 ? 0.5 : 0.25,
                           formed_scores(0.1 + share * u, 1.0 + share * h));
        for (const std::string& against : {std::string("aligned"), model}) {
          comparisons += fmt::format("{0},harmfulness,{1}-{2}-{3},none,none,,{4},60,,,0.5,,,,{5},0.4\n",
                                     against == "aligned" ? against : "unprojected", model, mode, group, against,
                                     part > 0 ? 0.01 : 1.0);
        }
      }
    }
  }
  write_text(folder / "results.csv", csv);
  write_text(folder / "comparisons.csv", comparisons);
  write_environment(folder, "ablation");
}

void make_steering(const fs::path& folder) {
  std::string csv = "layer,direction,intervention,coefficient,draw";
  for (const std::string metric : {"refusal_harmful", "refusal_harmless", "gsm8k_flexible", "harmfulness"}) {
    csv += fmt::format(",{0},{0}_low,{0}_high", metric);
  }
  csv += "\n";
  const auto add = [&](const std::string& keys, const std::array<double, 4>& values) {
    csv += keys;
    for (const double value : values) csv += fmt::format(",{:.3f},{:.3f},{:.3f}", value, 0.9 * value, 1.02 * value);
    csv += "\n";
  };
  add(",none,none,,", {0.96, 0.18, 0.24, 1.0});
  for (const int layer : {2, 3}) {
    add(fmt::format("{},difference_of_means,ablate,,", layer), {0.1, 0.2, 0.2, 1.5 * layer});
    add(fmt::format("{},difference_of_means,add,-1,", layer), {0.02, 0.01, 0.1, 2.0});
  }
  for (const int draw : {0, 1}) {
    add(fmt::format(",random,ablate,,{}", draw), {0.95 - 0.1 * draw, 0.18, 0.23, 1.0});
    for (const int layer : {2, 3}) add(fmt::format("{},random,add,-1,{}", layer, draw), {0.9, 0.15, 0.2, 1.0});
  }
  write_text(folder / "results.csv", csv);
  std::string comparisons = comparison_columns;
  comparisons += "steered,harmfulness,layer-2-ablate,none,none,,unsteered,60,3,1,2,1.5,2.5,0.0001,0.0002,0.4\n";
  comparisons +=
      "against_random,harmfulness,layer-2-ablate,none,none,,ablate-random,60,3,1,2,1.5,2.5,0.0001,0.0002,0.4\n";
  write_text(folder / "comparisons.csv", comparisons);
  write_environment(folder, "steering");
}

void make_safelora(const fs::path& folder) {
  std::string csv = "model,rule,setting,projected,energy_kept,cosine_task_proj," + formed_columns + "\n";
  csv += "aligned,none,,,,," + formed_scores(0.1, 1.0) + "\n";
  std::string comparisons = comparison_columns;
  for (const std::string model : {"useful", "harmful"}) {
    const double u = model == "useful" ? 0.7 : 0.0, h = model == "useful" ? 0.0 : 3.8;
    csv += fmt::format("{},none,,0,1,1,{}\n", model, formed_scores(0.1 + u, 1.0 + h));
    const std::pair<const char*, int> choices[] = {{"threshold,0.35", 20}, {"threshold,0.2", 8}, {"count,38", 38}};
    for (const auto& [choice, projected] : choices) {
      const double left = 1 - projected / 38.0;
      csv += fmt::format("{},{},{},{},{},{}\n", model, choice, projected, left, std::sqrt(left),
                         formed_scores(0.1 + left * u, 1.0 + left * h));
      std::string name = model + "-" + choice;
      std::replace(name.begin(), name.end(), ',', '-');
      comparisons += fmt::format("aligned,harmfulness,{},none,none,,aligned,60,,,0.5,,,,{},0.4\n", name,
                                 projected < 38 && h > 0 ? 0.01 : 1.0);
    }
  }
  write_text(folder / "results.csv", csv);
  write_text(folder / "comparisons.csv", comparisons);
  write_environment(folder, "defence");
}

void make_lox(const fs::path& folder) {
  write_text(folder / "results.csv", "model,rank,alpha," + formed_columns + "\naligned,,," + formed_scores(0.2, 1.2) +
                                         "\nlox,6,1.25," + formed_scores(0.15, 1.0) + "\n");
  write_environment(folder, "defence");
}

void make_evaluate(const fs::path& folder, const Effect& effect) {
  std::string csv = "model,task,metric,value,stderr,n\n";
  for (const std::string model : {"base", "aligned", "useful", "harmful", "contaminated"}) {
    Scores score = scores(model, 1.0, effect);
    if (model == "base") score = {0.0, 5.0};
    if (model == "aligned") score = {0.02, 1.0};
    csv += fmt::format("{},gsm8k,flexible-extract,{:.4f},0.03,100\n", model, score.utility);
    csv += fmt::format("{},gsm8k,strict-match,{:.4f},0.03,100\n", model, 0.9 * score.utility);
    csv += fmt::format("{},advbench,harmfulness,{:.4f},0.12,100\n", model, score.harmfulness);
    csv += fmt::format("{},perplexity,perplexity,{:.4f},,2048\n", model, 3.1 + score.utility);
  }
  write_text(folder / "results.csv", csv);
  write_environment(folder, "evaluate");
}

void make_study(const fs::path& folder, const Effect& effect) {
  const fs::path stages = folder / "stages";
  make_finetune(stages / "base", 600, 0.7);
  make_finetune(stages / "aligned", 200, 0.35);
  make_finetune(stages / "useful", 280, 0.21);
  make_finetune(stages / "harmful", 40, 0.3);
  make_finetune(stages / "contaminated", 320, 0.22);
  make_projection(stages / "projection", effect);
  make_overlap(stages / "overlap", effect);
  make_activations(stages / "activations");
  make_arithmetic(stages / "arithmetic");
  make_ablation(stages / "ablation");
  make_safelora(stages / "defence");
  make_evaluate(stages / "evaluate", effect);
  std::string listed;
  for (const std::string stage : {"base", "aligned", "useful", "harmful", "contaminated"}) {
    listed += fmt::format(
        "{{\"name\": \"{0}\", \"kind\": \"finetune\", \"status\": \"finished\", \"folder\": \"stages/{0}\"}}, ", stage);
  }
  for (const std::string stage :
       {"projection", "overlap", "activations", "arithmetic", "ablation", "defence", "evaluate"}) {
    listed += fmt::format(
        "{{\"name\": \"{0}\", \"kind\": \"{0}\", \"status\": \"finished\", \"folder\": \"stages/{0}\"}}, ", stage);
  }
  listed += R"({"name": "later", "kind": "evaluate", "status": "pending", "folder": "stages/later"})";
  write_environment(folder, "study", ", \"stages\": [" + listed + "]");
}

}  // namespace subspect::experiments::report::testing
