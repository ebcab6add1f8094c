// Perplexity of held-out texts. A text longer than the model's positions is read in windows that do not overlap; the
// first token of a window is not predicted.
#include <nlohmann/json.hpp>

#include "experiments/data/dataset.h"
#include "experiments/evaluation/task.h"
#include "experiments/tasks/perplexity.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "runtime/ops/cross_entropy.h"

namespace subspect::experiments {

namespace {

constexpr int64_t batch_tokens = 4096;

/// Windows of one text that are computed together with those of others.
struct Window {
  size_t text = 0;
  std::vector<int32_t> ids;
  std::vector<int32_t> targets;
};

class PerplexityTask final : public EvaluationTask {
 public:
  explicit PerplexityTask(const TaskConfig& config) : texts_(read_texts(config.data.filesystem(), config.field)) {
    if (config.limit > 0 && texts_.size() > static_cast<size_t>(config.limit)) {
      texts_.resize(static_cast<size_t>(config.limit));
    }
  }

  std::string_view name() const override { return "perplexity"; }
  std::vector<std::string> columns() const override { return {"perplexity"}; }

  std::vector<Score> evaluate(const TaskRun& run) const override {
    const std::vector<Window> windows = windows_of(run.subject);
    std::vector<double> losses(texts_.size(), 0.0);
    std::vector<int64_t> tokens(texts_.size(), 0);
    runtime::ProgressTask progress = run.context.progress.begin(fmt::format("{}, perplexity", run.subject.name),
                                                                static_cast<int64_t>(windows.size()), "windows");
    for (size_t begin = 0; begin < windows.size();) {
      run.context.stop_if_interrupted();
      size_t end = begin;
      for (int64_t sum = 0; end < windows.size(); ++end) {
        sum += static_cast<int64_t>(windows[end].ids.size());
        if (end > begin && sum > batch_tokens) break;
      }
      add_losses(run, std::span(windows).subspan(begin, end - begin), losses, tokens);
      progress.advance(static_cast<int64_t>(end - begin));
      begin = end;
    }
    return scores(run, losses, tokens);
  }

 private:
  std::vector<Window> windows_of(const Subject& subject) const {
    const auto positions = static_cast<size_t>(subject.decoder.config().max_positions);
    std::vector<Window> windows;
    for (size_t text = 0; text < texts_.size(); ++text) {
      const std::vector<int32_t> ids = subject.tokenizer.encode(texts_[text]).ids;
      for (size_t begin = 0; begin < ids.size(); begin += positions) {
        const size_t end = std::min(ids.size(), begin + positions);
        if (end - begin < 2) continue;
        Window window{
            text,
            {ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end)},
            {}};
        window.targets = model::shift_labels(window.ids);
        windows.push_back(std::move(window));
      }
    }
    return windows;
  }

  static void add_losses(const TaskRun& run, std::span<const Window> windows, std::vector<double>& losses,
                         std::vector<int64_t>& tokens) {
    std::vector<model::Document> documents;
    for (const Window& window : windows) documents.push_back({.ids = window.ids, .targets = window.targets});
    const model::Batch batch = model::pack(run.context.stream, documents);
    const runtime::Tensor scored = run.subject.decoder.token_log_probabilities(
        run.context.stream, batch, {.intervention = run.subject.intervention});
    const std::vector<float> log_probabilities = scored.to_host<float>(run.context.stream);
    size_t position = 0;
    for (const Window& window : windows) {
      for (const int32_t target : window.targets) {
        if (target != runtime::ops::ignored_target) {
          losses[window.text] -= static_cast<double>(log_probabilities[position]);
          ++tokens[window.text];
        }
        ++position;
      }
    }
  }

  std::vector<Score> scores(const TaskRun& run, const std::vector<double>& losses,
                            const std::vector<int64_t>& tokens) const {
    Perplexity total;
    for (size_t text = 0; text < texts_.size(); ++text) {
      total.add(losses[text], tokens[text]);
      run.lines->push_back({{"model", run.subject.name},
                            {"task", "perplexity"},
                            {"index", text},
                            {"prompt", texts_[text]},
                            {"negative_log_likelihood", losses[text]},
                            {"tokens", tokens[text]}});
    }
    const double undefined = std::numeric_limits<double>::quiet_NaN();
    const Outcomes outcomes{.values = losses, .weights = {tokens.begin(), tokens.end()}, .step = 0};
    return {
        {"perplexity", "perplexity", total.value(), total.standard_error(), total.documents(), "perplexity", outcomes},
        {"perplexity", "loss", total.mean_loss(), undefined, total.tokens(), "", {}}};
  }

  std::vector<std::string> texts_;
};

}  // namespace

std::unique_ptr<EvaluationTask> make_perplexity_task(const TaskConfig& config, const std::filesystem::path& /*cache*/) {
  return std::make_unique<PerplexityTask>(config);
}

}  // namespace subspect::experiments
