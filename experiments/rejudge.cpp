// Judging again.
#include "experiments/rejudge.h"

#include <algorithm>

#include "experiments/evaluation/score_intervals.h"
#include "experiments/evaluation/task.h"
#include "experiments/judge/samples.h"
#include "runtime/io/files.h"

namespace subspect::experiments {

namespace {

/// The names of the models, in the order in which they first stand in the samples.
std::vector<std::string> models_of(const std::vector<JudgedSample>& samples) {
  std::vector<std::string> models;
  for (const JudgedSample& sample : samples) {
    if (std::find(models.begin(), models.end(), sample.model) == models.end()) models.push_back(sample.model);
  }
  return models;
}

}  // namespace

void Rejudge::visit(Fields& f) {
  f.field("samples", samples_, "samples.jsonl of an evaluation: its completions are judged again", Rule().required());
  f.field("judge", judge_, "who judges");
  f.field("intervals", intervals_, "of the scores");
}

Plan Rejudge::plan(const PlanContext& context) const {
  context.require_file(samples_, "samples");
  check_judge(context, judge_);
  Plan plan;
  plan.steps.push_back(fmt::format("judge the completions in {} by {}", samples_.string(), judge_.kind));
  return plan;
}

void Rejudge::run(RunContext& context) {
  std::vector<JudgedSample> samples = read_judged_samples(samples_.filesystem());
  std::vector<Exchange> exchanges;
  for (const JudgedSample& sample : samples) exchanges.push_back(sample.exchange);
  const std::vector<Judgement> judgements =
      judge_exchanges(context, judge_, context.dir.state() / "judgements", exchanges);
  Table table = context.dir.table(score_columns());
  ScoreIntervals intervals(intervals_);
  for (const std::string& model : models_of(samples)) {
    std::vector<Judgement> of_model;
    for (size_t i = 0; i < samples.size(); ++i) {
      if (samples[i].model == model) of_model.push_back(judgements[i]);
    }
    append_scores(table, model, harmfulness_scores(of_model), intervals);
  }
  runtime::io::write_file_atomically(context.dir.path() / "samples.jsonl", [&](runtime::io::AtomicFile& file) {
    for (size_t i = 0; i < samples.size(); ++i) {
      samples[i].line["score"] = judgements[i].score;
      samples[i].line["reason"] = judgements[i].reason;
      file.write(samples[i].line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    }
  });
  table.write();
}

}  // namespace subspect::experiments
