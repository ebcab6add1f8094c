// Completions of a task's prompts, kept as they are made.
#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "experiments/evaluation/task.h"
#include "model/generation/generation_config.h"
#include "model/prompts.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments {

namespace {

/// The completions that earlier processes finished, and the file that holds them.
class Journal {
 public:
  Journal(const std::filesystem::path& samples, const CompletionRequest& request) {
    if (samples.empty()) return;
    path_ = samples.parent_path() / fmt::format("{}.{}.partial", samples.filename().string(), request.task);
    if (std::filesystem::exists(path_)) load(request);
    file_.emplace(path_);
  }

  bool contains(size_t index) const { return done_.contains(index); }
  size_t size() const { return done_.size(); }

  void add(size_t index, const std::string& prompt, CompletedPrompt completion) {
    if (file_) {
      const nlohmann::json line = {{"index", index},
                                   {"prompt", prompt},
                                   {"completion", completion.text},
                                   {"finish_reason", completion.finish_reason}};
      file_->append_line(line.dump());
    }
    done_[index] = std::move(completion);
  }

  std::vector<CompletedPrompt> take() {
    std::vector<CompletedPrompt> all;
    for (auto& entry : done_) all.push_back(std::move(entry.second));
    return all;
  }

 private:
  static bool is_entry(const nlohmann::json& line) {
    if (!line.is_object() || !line.contains("index") || !line["index"].is_number_unsigned()) return false;
    return std::all_of(std::begin(text_keys), std::end(text_keys),
                       [&](const char* key) { return line.contains(key) && line[key].is_string(); });
  }

  /// Lines that are torn or belong to other prompts are left out, and made again.
  void load(const CompletionRequest& request) {
    const std::string text = runtime::io::read_file(path_);
    size_t begin = 0;
    for (size_t end = text.find('\n'); end != std::string::npos; begin = end + 1, end = text.find('\n', begin)) {
      const auto line = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                              text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
      if (!is_entry(line)) continue;
      const auto index = line["index"].get<size_t>();
      if (index >= request.prompts.size() || line["prompt"] != request.prompts[index]) continue;
      done_[index] = {line["completion"].get<std::string>(), line["finish_reason"].get<std::string>()};
    }
  }

  static constexpr std::array text_keys = {"prompt", "completion", "finish_reason"};

  std::filesystem::path path_;
  std::map<size_t, CompletedPrompt> done_;
  std::optional<runtime::io::AppendFile> file_;
};

model::GenerationOptions options_of(const CompletionRequest& request, const TaskRun& run,
                                    const model::PromptFormat& format) {
  const Subject& subject = run.subject;
  model::GenerationOptions options;
  options.max_sequences = model::default_sequences(run.context.stream.device());
  options.max_new_tokens = request.max_new_tokens;
  options.stop = request.stops;
  options.eos_ids = model::read_eos_ids(subject.directory, subject.decoder.config());
  if (!request.ignore_generation_config) {
    options.sampling.repetition_penalty = model::read_repetition_penalty(subject.directory);
  }
  options.intervention = subject.intervention;
  if (!format.end_token().empty()) options.eos_ids.push_back(model::end_id(subject.tokenizer, format));
  return options;
}

/// The end of a prompt that leaves room for the completion; true in `cut` when something was left out.
std::vector<int32_t> fitting_ids(std::vector<int32_t> ids, int64_t max_new_tokens, int64_t max_positions, bool& cut) {
  const int64_t room = std::max<int64_t>(1, max_positions - max_new_tokens);
  cut = static_cast<int64_t>(ids.size()) > room;
  if (cut) ids.erase(ids.begin(), ids.end() - room);
  return ids;
}

}  // namespace

std::vector<CompletedPrompt> complete_prompts(const TaskRun& run, const CompletionRequest& request) {
  const Subject& subject = run.subject;
  const auto format = model::make_prompt_format(request.prompt_format,
                                                {.system = {}, .custom_template = request.prompt_template, .date = {}});
  const model::GenerationOptions options = options_of(request, run, *format);
  Journal journal(run.samples, request);

  std::vector<size_t> missing;
  std::vector<std::vector<int32_t>> prompts;
  int64_t shortened = 0;
  for (size_t index = 0; index < request.prompts.size(); ++index) {
    if (journal.contains(index)) continue;
    bool cut = false;
    prompts.push_back(fitting_ids(model::encode_prompt(subject.tokenizer, *format, request.prompts[index]).ids,
                                  options.max_new_tokens, subject.decoder.config().max_positions, cut));
    missing.push_back(index);
    shortened += cut ? 1 : 0;
  }
  if (shortened > 0) {
    run.context.log.warn("{}, {}: {} of {} prompts lost their beginning to fit the model's {} positions", subject.name,
                         request.task, shortened, prompts.size(), subject.decoder.config().max_positions);
  }
  const auto already = static_cast<int64_t>(journal.size());
  runtime::ProgressTask progress =
      run.context.progress.begin(fmt::format("{}, {}", subject.name, request.task),
                                 static_cast<int64_t>(request.prompts.size()), "prompts", already);
  model::generate(run.context.stream, subject.decoder, &subject.tokenizer, prompts, options,
                  [&](const model::GenerationProgress& state) {
                    for (const size_t i : state.just_finished) {
                      const model::Completion& completion = state.completions[i];
                      journal.add(missing[i], request.prompts[missing[i]],
                                  {completion.text, std::string(name(completion.finish_reason))});
                    }
                    progress.set(already + state.finished);
                    run.context.stop_if_interrupted();
                  });
  return journal.take();
}

}  // namespace subspect::experiments
