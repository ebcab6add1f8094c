// Pairs the samples of two judges, and tables what they gave.
#include "experiments/judge_agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "experiments/judge/agreement.h"
#include "experiments/judge/samples.h"
#include "experiments/statistics/intervals.h"
#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments {

namespace {

/// The grades of two judges on the same completions.
struct GradePair {
  std::string model;
  int first = 0;  ///< 0: invalid
  int second = 0;
};

/// The completions that both files hold. Throws Error where the same place has two texts: they are of two runs.
std::vector<GradePair> paired(const std::vector<JudgedSample>& first, const std::vector<JudgedSample>& second,
                              const std::string& where) {
  std::map<std::tuple<std::string, std::string, int64_t>, const JudgedSample*> places;
  for (const JudgedSample& sample : second) places[{sample.model, sample.task, sample.index}] = &sample;
  std::vector<GradePair> pairs;
  for (const JudgedSample& sample : first) {
    const auto found = places.find({sample.model, sample.task, sample.index});
    if (found == places.end()) continue;
    if (found->second->exchange.completion != sample.exchange.completion) {
      throw runtime::Error(fmt::format("the judges saw two completions of '{}', prompt {}", sample.model, sample.index),
                           where, "judge the samples of one evaluation by both (kind: judge)");
    }
    pairs.push_back({sample.model, sample.score, found->second->score});
  }
  if (pairs.empty()) {
    throw runtime::Error("the judges have no completion in common", where, "give samples of one evaluation");
  }
  return pairs;
}

/// @param counts how often each pair counts; empty: once.
Confusion confusion_of(const std::vector<GradePair>& pairs, const std::vector<int64_t>& counts = {}) {
  Confusion confusion = {};
  for (size_t i = 0; i < pairs.size(); ++i) {
    const GradePair& pair = pairs[i];
    if (pair.first == 0 || pair.second == 0) continue;
    confusion[static_cast<size_t>(pair.first - 1)][static_cast<size_t>(pair.second - 1)] +=
        counts.empty() ? 1 : counts[i];
  }
  return confusion;
}

statistics::Interval kappa_interval(const std::vector<GradePair>& pairs, int64_t resamples, uint64_t seed) {
  std::vector<double> kappas;
  for (int64_t draw = 0; draw < resamples; ++draw) {
    const auto counts =
        statistics::resample_counts(static_cast<int64_t>(pairs.size()), seed, fmt::format("agreement.{}", draw));
    kappas.push_back(cohen_kappa(confusion_of(pairs, counts)));
  }
  return statistics::percentile_interval(kappas);
}

void append_confusion(Table& table, const NamedCells& keys, const Confusion& confusion) {
  for (size_t i = 0; i < judge_grades; ++i) {
    for (size_t j = 0; j < judge_grades; ++j) {
      NamedCells cells = keys;
      cells.insert(cells.end(), {{"score_a", i + 1}, {"score_b", j + 1}, {"count", confusion[i][j]}});
      table.append(cells);
    }
  }
}

}  // namespace

void JudgeAgreement::visit(Fields& f) {
  f.field("judges", judges_, "name of a judge -> samples.jsonl with its scores; every two are compared",
          Rule().required().not_empty());
  f.field("resamples", resamples_, "draws of the bootstrap over exchanges", Rule().at_least(0));
  f.field("seed", seed_, "of the draws", Rule().at_least(0));
  f.check(!f.reading() || judges_.size() >= 2, "judges", "agreement takes two judges", "name two or more");
}

Plan JudgeAgreement::plan(const PlanContext& context) const {
  Plan plan;
  for (const auto& [name, path] : judges_) context.require_file(path, "judges." + name);
  plan.steps.push_back(fmt::format("compare {} judges pair by pair", judges_.size()));
  return plan;
}

void JudgeAgreement::run(RunContext& context) {
  std::vector<std::vector<JudgedSample>> samples;
  for (const auto& judge : judges_) samples.push_back(read_judged_samples(judge.second.filesystem()));
  Table table({"judge_a", "judge_b", "model", "n", "invalid", "agreement", "kappa", "kappa_low", "kappa_high",
               "kappa_quadratic", "kappa_refusal"});
  Table tables({"judge_a", "judge_b", "model", "score_a", "score_b", "count"});
  const auto add = [&](const NamedCells& keys, const std::vector<GradePair>& pairs) {
    const Confusion confusion = confusion_of(pairs);
    const statistics::Interval interval = kappa_interval(pairs, resamples_, static_cast<uint64_t>(seed_));
    NamedCells cells = keys;
    cells.insert(cells.end(), {{"n", total(confusion)},
                               {"invalid", static_cast<int64_t>(pairs.size()) - total(confusion)},
                               {"agreement", agreement(confusion)},
                               {"kappa", cohen_kappa(confusion)},
                               {"kappa_low", interval.low},
                               {"kappa_high", interval.high},
                               {"kappa_quadratic", cohen_kappa(confusion, Disagreement::quadratic)},
                               {"kappa_refusal", cohen_kappa(refusals_only(confusion))}});
    table.append(cells);
    append_confusion(tables, keys, confusion);
  };
  for (size_t a = 0; a < judges_.size(); ++a) {
    for (size_t b = a + 1; b < judges_.size(); ++b) {
      context.stop_if_interrupted();
      const std::string& first = judges_[a].first;
      const std::string& second = judges_[b].first;
      const std::vector<GradePair> all = paired(samples[a], samples[b], fmt::format("{} and {}", first, second));
      std::map<std::string, std::vector<GradePair>> by_model;
      for (const GradePair& pair : all) by_model[pair.model].push_back(pair);
      add({{"judge_a", first}, {"judge_b", second}, {"model", "all"}}, all);
      for (const auto& [model, pairs] : by_model) {
        add({{"judge_a", first}, {"judge_b", second}, {"model", model}}, pairs);
      }
    }
  }
  Table results = context.dir.table(table.columns());
  for (size_t row = results.size(); row < table.size(); ++row) results.append(table.rows()[row]);
  results.write();
  runtime::io::write_file_atomically(context.dir.path() / "confusion.csv", tables.to_csv());
}

}  // namespace subspect::experiments
