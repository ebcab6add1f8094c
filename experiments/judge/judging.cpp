// The judge's configuration, and a model of this engine as a judge.
#include "experiments/judge/judging.h"

#include <optional>

#include "experiments/judge/model_judge.h"
#include "model/checkpoint.h"
#include "model/generation/generate.h"
#include "model/hub.h"
#include "model/prompts.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/error.h"

namespace subspect::experiments {

namespace {

constexpr int64_t judge_max_new_tokens = 256;

std::vector<std::string> judge_names() {
  std::vector<std::string> names;
  for (const JudgeInfo& info : judges()) names.push_back(info.name);
  return names;
}

/// A local judge: a model of this engine that answers the judge's instruction.
class LocalModel {
 public:
  LocalModel(const RunContext& context, const JudgeConfig& config)
      : stream_(context.stream),
        directory_(model::find_model(config.local_model.string(), context.downloads)),
        tokenizer_(model::Tokenizer::load(directory_)),
        decoder_(model::load_decoder(stream_, directory_)),
        format_(model::make_prompt_format(config.prompt_format)) {}

  std::string answer(const std::string& instruction) {
    const std::string text = format_->render_prompt({instruction, "", std::nullopt});
    model::GenerationOptions options;
    options.max_new_tokens = judge_max_new_tokens;
    options.eos_ids = model::read_eos_ids(directory_, decoder_.config());
    const std::vector<std::vector<int32_t>> prompt = {model::encode_prompt(tokenizer_, *format_, text).ids};
    const auto tokens = static_cast<int64_t>(prompt.front().size());
    if (tokens >= decoder_.config().max_positions) {
      throw runtime::Error(
          fmt::format("request, completion and the judge's instruction have {} tokens, the judge reads "
                      "{} positions",
                      tokens, decoder_.config().max_positions),
          fmt::format("judge {}", directory_.string()), "lower max_new_tokens, or use a judge with more positions");
    }
    return model::generate(stream_, decoder_, &tokenizer_, prompt, options).front().text;
  }

 private:
  runtime::Stream& stream_;
  std::filesystem::path directory_;
  model::Tokenizer tokenizer_;
  model::Decoder decoder_;
  std::unique_ptr<model::PromptFormat> format_;
};

}  // namespace

void JudgeConfig::visit(Fields& f) {
  f.field("kind", kind,
          "who judges: rules (refusal phrases), synthetic (the potions of the generated data), openai "
          "(an OpenAI-compatible endpoint) or local (a model run here)",
          Rule().one_of(judge_names()));
  if (f.when(kind == "openai", "kind is openai")) {
    f.field("base_url", base_url, "of the endpoint, for example https://api.openai.com/v1", Rule().required());
    f.field("api_key_env", api_key_env, "environment variable that holds the key", Rule().cosmetic());
    f.field("concurrency", concurrency, "requests at a time", Rule().at_least(1).at_most(256).cosmetic());
    f.field("budget_tokens", budget_tokens,
            "tokens, of questions and answers together, that the run may spend on this judge; 0 = no limit",
            Rule().at_least(0).cosmetic());
    f.field("model", model, "the endpoint's name of the model", Rule().required());
  }
  if (f.when(kind == "local", "kind is local")) {
    f.field("model", local_model, "the model that judges", Rule().required());
    f.field("prompt_format", prompt_format, "how the local judge is asked",
            Rule().one_of(model::prompt_format_names(true)));
  }
  if (f.when(kind == "openai" || kind == "local", "kind is openai or local")) {
    f.field("instruction", instruction,
            "what the judge is asked, with {prompt} and {completion}; it must ask for a score from 1 to 5; empty = the "
            "built-in one");
    f.check(instruction.empty() || is_judge_instruction(instruction), "instruction",
            "a judge's instruction needs {prompt} and {completion}", "write both where they belong");
  }
}

void check_judge(const PlanContext& context, const JudgeConfig& config) {
  if (config.kind == "local") context.decoder_config(config.local_model);  // throws when there is none
}

std::vector<Judgement> judge_exchanges(const RunContext& context, const JudgeConfig& config,
                                       const std::filesystem::path& cache, const std::vector<Exchange>& exchanges) {
  std::optional<LocalModel> local;
  JudgeOptions options{.kind = config.kind,
                       .base_url = config.base_url,
                       .model = config.kind == "local" ? config.local_model.string() : config.model,
                       .api_key_env = config.api_key_env,
                       .concurrency = config.concurrency,
                       .budget_tokens = config.budget_tokens,
                       .instruction = config.instruction,
                       .cache = cache,
                       .complete = {}};
  options.complete = [&](const std::string& instruction) {
    context.stop_if_interrupted();
    if (!local) local.emplace(context, config);
    return local->answer(instruction);
  };
  return make_judge(options)->judge(exchanges);
}

}  // namespace subspect::experiments
