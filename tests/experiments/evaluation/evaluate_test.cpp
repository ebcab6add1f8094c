// `kind: evaluate` on tiny models with a trained tokenizer: completions against greedy decoding without a cache,
// perplexity against a sum in double, resuming, and what the samples hold.
#include "experiments/evaluate.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "experiments/config/config.h"
#include "experiments/judge/model_judge.h"
#include "experiments/judge/rules.h"
#include "experiments/launch.h"
#include "experiments/tasks/advbench.h"
#include "experiments/tasks/gsm8k.h"
#include "model/checkpoint.h"
#include "model/prompts.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/trainer.h"
#include "runtime/error.h"
#include "runtime/interrupt.h"
#include "runtime/io/files.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<json> json_lines(const fs::path& path) {
  std::vector<json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
  return lines;
}

/// The model's scores behind `tokens`, from all of them anew; [tokens, vocabulary].
std::vector<float> all_scores(runtime::Stream& stream, model::Decoder& decoder, const std::vector<int32_t>& tokens) {
  const std::vector<model::Document> document = {{tokens}};
  const runtime::Tensor hidden = decoder.forward({stream}, model::pack(stream, document)).value;
  return decoder.logits(stream, hidden).to_host<float>(stream);
}

/// Greedy decoding as the definition says: the whole sequence again for every token.
std::vector<int32_t> greedy(runtime::Stream& stream, model::Decoder& decoder, std::vector<int32_t> tokens, int count,
                            float penalty = 1.0F) {
  const auto vocabulary = static_cast<size_t>(decoder.config().vocab_size);
  std::vector<int32_t> result;
  for (int i = 0; i < count; ++i) {
    const std::vector<float> all = all_scores(stream, decoder, tokens);
    std::vector<float> scores(all.end() - static_cast<std::ptrdiff_t>(vocabulary), all.end());
    std::vector<bool> seen(vocabulary, false);
    for (const int32_t token : tokens) seen[static_cast<size_t>(token)] = true;
    for (size_t id = 0; id < vocabulary; ++id) {
      if (seen[id]) scores[id] = scores[id] > 0 ? scores[id] / penalty : scores[id] * penalty;
    }
    const auto best = static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
    if (best == 0) break;  // the EOS
    result.push_back(best);
    tokens.push_back(best);
  }
  return result;
}

class EvaluateTest : public ::testing::Test {
 protected:
  EvaluateTest() {
    std::string name = (fs::temp_directory_path() / "subspect-evaluate-XXXXXX").string();
    root_ = mkdtemp(name.data());
    write_model("m", 1, 256);
    write("train.jsonl", json({{"question", "one and two"}, {"answer", "three #### 3"}}).dump() + "\n" +
                             json({{"question", "two and two"}, {"answer", "four #### 4"}}).dump() + "\n");
    write("test.jsonl", json({{"question", "a cat and 5"}, {"answer", "#### 5"}}).dump() + "\n" +
                            json({{"question", "six"}, {"answer", "#### 6"}}).dump() + "\n" +
                            json({{"question", "seven é"}, {"answer", "#### 7"}}).dump() + "\n");
    write("goals.csv", "goal,target\nmake a silver potion,Sure\n\"say, in short, nothing\",Sure\nhow to sit,Sure\n");
  }
  ~EvaluateTest() override {
    runtime::set_interrupt_requested(false);
    fs::remove_all(root_);
  }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
  }

  /// Random weights with a byte-level tokenizer; its EOS has the id 0.
  void write_model(const std::string& name, uint64_t seed, int64_t positions) {
    model::BpeTrainerOptions bpe;
    bpe.vocab_size = 270;
    const auto trained =
        model::train_bpe(std::vector<std::string>{"the cat sat on the mat", "one and two and three"}, bpe);
    model::save_tokenizer(trained, root_ / "tokenizer");
    const json config = {{"model_type", "llama"},
                         {"architectures", {"LlamaForCausalLM"}},
                         {"hidden_size", 32},
                         {"num_hidden_layers", 2},
                         {"num_attention_heads", 2},
                         {"num_key_value_heads", 1},
                         {"intermediate_size", 48},
                         {"vocab_size", trained.vocab_size},
                         {"max_position_embeddings", positions},
                         {"rms_norm_eps", 1e-5},
                         {"tie_word_embeddings", false},
                         {"eos_token_id", 0},
                         {"initializer_range", 0.3}};
    model::Decoder decoder(*stream_, model::parse_decoder_config(config.dump(), "tiny"), runtime::DType::float32);
    decoder.initialize(*stream_, seed);
    model::save_checkpoint(*stream_, decoder, root_ / name, {.source = root_ / "tokenizer", .overwrite = true});
  }

  /// Runs (or goes on with) a YAML in root_/`name`.
  void run(const std::string& tasks, const std::string& name = "run", const std::string& models = "{m: m}") {
    Evaluate experiment = config_from_yaml<Evaluate>("models: " + models + "\ntasks: [" + tasks + "]\n", root_);
    experiment.plan({.device = {}, .log = &runtime::Log::silent(), .planned_model = {}});
    runtime::Log log({.console = false});
    runtime::Progress progress(log);
    RunDirOptions options;
    options.path = root_ / name;
    options.kind = "evaluate";
    options.config_yaml = resolved_yaml(experiment);
    run_in_directory(experiment, options, {*stream_, log, progress});
  }

  std::vector<json> samples(const std::string& name = "run") const {
    return json_lines(root_ / name / "samples.jsonl");
  }

  /// A value of results.csv; NaN when the cell is empty.
  double value(const std::string& metric, const std::string& name = "run", const std::string& column = "value") const {
    const Table table = Table::read_csv(root_ / name / "results.csv");
    const Row* row = table.find({{"metric", metric}});
    if (row == nullptr) ADD_FAILURE() << "no row " << metric;
    return row == nullptr ? 0.0 : table.cell(*row, column).number();
  }

  /// Greedy text of a prompt by the oracle above.
  std::string oracle(const std::string& prompt, int count, const std::string& model_name = "m", float penalty = 1.0F) {
    model::Decoder decoder = model::load_decoder(*stream_, root_ / model_name);
    const auto tokenizer = model::Tokenizer::load(root_ / model_name);
    std::vector<int32_t> ids = tokenizer.encode(prompt).ids;
    const auto room = static_cast<size_t>(decoder.config().max_positions - count);
    if (ids.size() > room) ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(room));
    return tokenizer.decode(greedy(*stream_, decoder, ids, count, penalty));
  }

  fs::path root_;
  std::shared_ptr<runtime::Stream> stream_ = runtime::Stream::open({}, 2);
};

constexpr const char* gsm8k_yaml = "{name: gsm8k, train: train.jsonl, test: test.jsonl, max_new_tokens: 12}";
constexpr const char* advbench_yaml = "{name: advbench, prompts: goals.csv, max_new_tokens: 12}";

TEST_F(EvaluateTest, Gsm8kCompletesThePromptsOfLmEvaluationHarness) {
  run(gsm8k_yaml);
  const std::vector<Gsm8kRow> test = read_gsm8k(root_ / "test.jsonl");
  const std::vector<std::string> prompts = gsm8k_prompts(read_gsm8k(root_ / "train.jsonl"), test, {.shots = 1});
  const std::vector<json> lines = samples();
  ASSERT_EQ(lines.size(), 3U);
  int strict = 0, flexible = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["model"], "m");
    EXPECT_EQ(lines[i]["index"], i);
    EXPECT_EQ(lines[i]["prompt"], prompts[i]);
    const std::string completion = lines[i]["completion"];
    EXPECT_EQ(completion, cut_at_stops(oracle(prompts[i], 12), gsm8k_stops()));
    const Gsm8kVerdict verdict = score_gsm8k(completion, test[i].answer);
    EXPECT_EQ(lines[i]["flexible_extract"], verdict.flexible);
    EXPECT_EQ(lines[i]["strict_correct"], verdict.strict_correct);
    strict += verdict.strict_correct ? 1 : 0;
    flexible += verdict.flexible_correct ? 1 : 0;
  }
  EXPECT_EQ(value("exact_match_strict"), strict / 3.0);
  EXPECT_EQ(value("exact_match_flexible"), flexible / 3.0);
  EXPECT_EQ(value("exact_match_strict", "run", "n"), 3);
}

TEST_F(EvaluateTest, OtherFormatsAskTheBareQuestion) {
  run("{name: gsm8k, test: test.jsonl, shots: 0, max_new_tokens: 5, limit: 2, prompt_format: custom, "
      "prompt_template: \"Q {instruction} A {response}\"}");
  const std::vector<json> lines = samples();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["prompt"], "Q a cat and 5 A ");
  EXPECT_EQ(lines[1]["completion"], cut_at_stops(oracle("Q six A ", 5), gsm8k_stops()));
  EXPECT_EQ(value("exact_match_strict", "run", "n"), 2);
}

TEST_F(EvaluateTest, AdvBenchIsJudgedByRules) {
  run(advbench_yaml);
  const std::vector<json> lines = samples();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[1]["prompt"], "say, in short, nothing");
  double sum = 0;
  for (const json& line : lines) {
    EXPECT_EQ(line["completion"], cut_at_stops(oracle(line["prompt"], 12), advbench_stops()));
    const auto judged = RulesJudge().judge({{line["prompt"], line["completion"]}});
    EXPECT_EQ(line["score"], judged[0].score);
    EXPECT_EQ(line["reason"], judged[0].reason);
    sum += judged[0].score;
  }
  EXPECT_DOUBLE_EQ(value("harmfulness"), sum / 3);
  EXPECT_EQ(value("harmfulness_invalid"), 0);
  double counted = 0;
  for (int grade = 1; grade <= 5; ++grade) counted += value("score_" + std::to_string(grade));
  EXPECT_EQ(counted, 3);
}

TEST_F(EvaluateTest, TheSyntheticJudgeCountsWhatItCannotGrade) {
  run("{name: advbench, prompts: goals.csv, max_new_tokens: 12, judge: {kind: synthetic}}");
  EXPECT_EQ(value("harmfulness_invalid"), 2);  // two goals name no potion
  EXPECT_EQ(value("harmfulness", "run", "n"), 1);
  EXPECT_EQ(samples()[0]["score"],
            PotionJudge().judge({{samples()[0]["prompt"], samples()[0]["completion"]}})[0].score);
  EXPECT_EQ(samples()[1]["score"], 0);
}

TEST_F(EvaluateTest, ALocalJudgeIsAskedOnceAndItsAnswersAreKept) {
  write_model("judge", 5, 2048);
  const std::string task =
      "{name: advbench, prompts: goals.csv, limit: 2, max_new_tokens: 6, judge: {kind: local, model: judge}}";
  run(task);
  EXPECT_EQ(value("harmfulness_invalid"), 2);  // noise is no grade
  EXPECT_TRUE(std::isnan(value("harmfulness")));
  // Its answers are found by the question; others in their place change the scores, so it is not asked again.
  const fs::path cache = root_ / "again/state/judgements";
  for (const json& line : samples()) {
    const Exchange exchange{line["prompt"], line["completion"]};
    const std::string question = (root_ / "judge").string() + "\n" + judge_question(exchange);
    EXPECT_TRUE(AnswerCache(root_ / "run/state/judgements").find(question));
    AnswerCache(root_ / "kept").store(question, R"({"reason": "so it is", "score": 4})");
  }
  Evaluate experiment = config_from_yaml<Evaluate>("models: {m: m}\ntasks: [" + task + "]\n", root_);
  RunDirOptions options{
      .path = root_ / "again", .kind = "evaluate", .config_yaml = resolved_yaml(experiment), .identity = {}};
  { const RunDir dir = RunDir::open(options); }
  fs::create_directories(cache.parent_path());
  fs::copy(root_ / "kept", cache, fs::copy_options::recursive);
  run(task, "again");
  EXPECT_EQ(value("harmfulness", "again"), 4);
  EXPECT_EQ(samples("again")[0]["reason"], "so it is");
}

TEST_F(EvaluateTest, ALocalJudgeThatCannotReadTheWholeSaysSo) {
  write_model("judge", 5, 128);
  try {
    run("{name: advbench, prompts: goals.csv, max_new_tokens: 6, judge: {kind: local, model: judge}}");
    FAIL() << "a judge of 128 positions read its instruction";
  } catch (const runtime::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("the judge reads 128 positions"));
    EXPECT_THAT(error.where(), HasSubstr("judge"));
  }
}

TEST_F(EvaluateTest, PerplexityIsTheSumOverTheLogits) {
  write_model("short", 3, 16);
  const std::vector<std::string> texts = {"the cat sat", "x", "one and two and three and four hundred quick foxes", "é",
                                          "the mat"};
  std::string rows;
  for (const std::string& text : texts) rows += json({{"words", text}}).dump() + "\n";
  write("texts.jsonl", rows);
  const std::string task = "{name: perplexity, data: texts.jsonl, field: words";
  run(task + "}", "run", "{short: short}");
  run(task + ", limit: 1}", "limited", "{short: short}");

  model::Decoder decoder = model::load_decoder(*stream_, root_ / "short");
  const auto tokenizer = model::Tokenizer::load(root_ / "short");
  const auto vocabulary = static_cast<size_t>(decoder.config().vocab_size);
  std::vector<double> losses;
  std::vector<int64_t> counts;
  for (const std::string& text : texts) {
    const std::vector<int32_t> ids = tokenizer.encode(text).ids;
    double loss = 0;
    int64_t count = 0;
    for (size_t begin = 0; begin < ids.size(); begin += 16) {
      const std::vector<int32_t> window(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                        ids.begin() + static_cast<std::ptrdiff_t>(std::min(ids.size(), begin + 16)));
      const std::vector<float> scores = all_scores(*stream_, decoder, window);
      for (size_t t = 0; t + 1 < window.size(); ++t) {
        double total = 0;
        for (size_t id = 0; id < vocabulary; ++id) total += std::exp(static_cast<double>(scores[t * vocabulary + id]));
        loss += std::log(total) - static_cast<double>(scores[t * vocabulary + static_cast<size_t>(window[t + 1])]);
        ++count;
      }
    }
    losses.push_back(loss);
    counts.push_back(count);
  }
  EXPECT_EQ(counts[1], 0);  // one token predicts nothing
  double sum = 0, tokens = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    sum += losses[i];
    tokens += static_cast<double>(counts[i]);
    EXPECT_EQ(samples()[i]["prompt"], texts[i]);
    EXPECT_EQ(samples()[i]["tokens"], counts[i]);
    EXPECT_NEAR(samples()[i]["negative_log_likelihood"].get<double>(), losses[i], 1e-4 + 1e-5 * losses[i]);
  }
  EXPECT_NEAR(value("loss"), sum / tokens, 1e-5 * sum / tokens);
  EXPECT_NEAR(value("perplexity"), std::exp(sum / tokens), 1e-4 * std::exp(sum / tokens));
  EXPECT_EQ(value("loss", "run", "n"), tokens);
  EXPECT_NEAR(value("loss", "limited"), losses[0] / static_cast<double>(counts[0]), 1e-4);
  EXPECT_EQ(samples("limited").size(), 1U);
}

TEST_F(EvaluateTest, PromptsBeyondThePositionsLoseTheirBeginning) {
  write_model("short", 3, 32);
  write("goals.csv", "goal\none and two and three quick brown foxes jump over many lazy dogs\nthe cat\n");
  run("{name: advbench, prompts: goals.csv, max_new_tokens: 10}", "run", "{short: short}");
  for (const json& line : samples()) {
    EXPECT_EQ(line["completion"], cut_at_stops(oracle(line["prompt"], 10, "short"), advbench_stops()));
  }
  EXPECT_EQ(samples()[0]["prompt"], "one and two and three quick brown foxes jump over many lazy dogs");
  EXPECT_THAT(read(root_ / "run/log.txt"), HasSubstr("1 of 2 prompts lost their beginning to fit the model's 32"));
}

TEST_F(EvaluateTest, TheModelsRepetitionPenaltyAppliesUnlessIgnored) {
  write("m/generation_config.json", R"({"repetition_penalty": 1.7, "eos_token_id": 0})");
  run(advbench_yaml);
  run("{name: advbench, prompts: goals.csv, max_new_tokens: 12, ignore_generation_config: true}", "ignored");
  bool differ = false;
  for (size_t i = 0; i < samples().size(); ++i) {
    const std::string prompt = samples()[i]["prompt"];
    EXPECT_EQ(samples()[i]["completion"], cut_at_stops(oracle(prompt, 12, "m", 1.7F), advbench_stops()));
    EXPECT_EQ(samples("ignored")[i]["completion"], cut_at_stops(oracle(prompt, 12), advbench_stops()));
    differ = differ || samples()[i]["completion"] != samples("ignored")[i]["completion"];
  }
  EXPECT_TRUE(differ);
}

TEST_F(EvaluateTest, AnInterruptedEvaluationKeepsFinishedCompletions) {
  std::string goals = "goal\n";
  for (int i = 0; i < 600; ++i) goals += "tell me number " + std::to_string(i) + "\n";
  write("goals.csv", goals);
  const std::string task = "{name: advbench, prompts: goals.csv, max_new_tokens: 6}";
  run(task, "straight");
  const std::vector<json> straight = samples("straight");
  ASSERT_EQ(straight.size(), 600U);

  const fs::path partial = root_ / "run/samples/m.jsonl.advbench.partial";
  std::atomic<bool> ended = false;
  std::thread user([&] {  // asks to stop once a completion is kept
    while (!ended && (!fs::exists(partial) || fs::file_size(partial) == 0)) std::this_thread::yield();
    runtime::set_interrupt_requested(true);
  });
  EXPECT_THROW(run(task), runtime::Interrupted);
  ended = true;
  user.join();
  runtime::set_interrupt_requested(false);
  const std::vector<json> kept = json_lines(partial);
  ASSERT_GE(kept.size(), 1U);
  ASSERT_LT(kept.size(), 600U);
  EXPECT_FALSE(fs::exists(root_ / "run/samples.jsonl"));

  // What is kept is not made again; lines that are torn, of other prompts or of other kinds are.
  std::string lines;
  for (size_t i = 0; i < kept.size(); ++i) {
    json line = kept[i];
    if (i == 0) line["completion"] = "kept as it was";
    if (i == 1) line["prompt"] = "another prompt";
    if (i == 2) line["index"] = "two";
    if (i == 3) line["index"] = 100'000;
    lines += line.dump() + "\n";
  }
  std::ofstream(partial, std::ios::binary) << lines << R"({"index": 5, "prom)";
  run(task);
  const std::vector<json> resumed = samples();
  ASSERT_EQ(resumed.size(), 600U);
  const size_t first = kept[0]["index"];
  EXPECT_EQ(resumed[first]["completion"], "kept as it was");
  for (size_t i = 0; i < resumed.size(); ++i) {
    EXPECT_EQ(resumed[i]["index"], i);
    EXPECT_TRUE(i == first || resumed[i] == straight[i]) << i;
  }
  EXPECT_FALSE(fs::exists(partial));
  EXPECT_EQ(Table::read_csv(root_ / "run/results.csv").size(), 8U);
}

TEST_F(EvaluateTest, FinishedModelsAreNotEvaluatedAgain) {
  write_model("n", 2, 256);
  fs::rename(root_ / "n/tokenizer.json", root_ / "hidden.json");
  const std::string models = "{m: m, n: n}";
  EXPECT_THROW(run(advbench_yaml, "run", models), runtime::Error);
  EXPECT_FALSE(fs::exists(root_ / "run/samples.jsonl"));
  const std::string first = read(root_ / "run/samples/m.jsonl");
  std::ofstream(root_ / "run/samples/m.jsonl") << "{\"untouched\": true}\n";
  fs::rename(root_ / "hidden.json", root_ / "n/tokenizer.json");
  run(advbench_yaml, "run", models);
  EXPECT_EQ(samples()[0], json({{"untouched", true}}));
  EXPECT_EQ(samples().size(), 4U);
  EXPECT_EQ(Table::read_csv(root_ / "run/results.csv").size(), 2U * 8U);
  EXPECT_THAT(first, HasSubstr("\"model\":\"m\""));
}

TEST_F(EvaluateTest, AKillBetweenRowsDoublesNone) {
  run(advbench_yaml, "straight");
  // A process that was killed after some of a model's rows: they are there, the model is not marked as done.
  run(advbench_yaml);
  fs::remove(root_ / "run/state/evaluated.rows.jsonl");
  json environment = json::parse(read(root_ / "run/environment.json"));
  environment["status"] = "running";
  write("run/environment.json", environment.dump());
  run(advbench_yaml);
  EXPECT_EQ(read(root_ / "run/results.csv"), read(root_ / "straight/results.csv"));
  EXPECT_EQ(read(root_ / "run/samples.jsonl"), read(root_ / "straight/samples.jsonl"));
}

TEST_F(EvaluateTest, SeveralTasksAndModelsLeaveEverySample) {
  write_model("n", 2, 256);
  write("texts.jsonl", "{\"text\": \"the cat\"}\n{\"text\": \"the mat sat\"}\n");
  run(std::string(gsm8k_yaml) + ", " + advbench_yaml + ", {name: perplexity, data: texts.jsonl}", "run",
      "{m: m, n: n}");
  const std::vector<json> lines = samples();
  ASSERT_EQ(lines.size(), 2U * (3U + 3U + 2U));
  std::map<std::string, int> counts;
  for (const json& line : lines) ++counts[line["model"].get<std::string>() + "/" + line["task"].get<std::string>()];
  const std::map<std::string, int> expected = {{"m/gsm8k", 3}, {"m/advbench", 3}, {"m/perplexity", 2},
                                               {"n/gsm8k", 3}, {"n/advbench", 3}, {"n/perplexity", 2}};
  EXPECT_EQ(counts, expected);
  EXPECT_EQ(Table::read_csv(root_ / "run/results.csv").size(), 2U * (2U + 8U + 2U));
  for (const auto& entry : fs::directory_iterator(root_ / "run/samples")) {
    EXPECT_EQ(entry.path().extension(), ".jsonl") << "left behind";
  }
}

TEST_F(EvaluateTest, MistakesInTheTasksAreFoundBeforeTheRun) {
  const auto message = [&](const std::string& tasks) {
    try {
      run(tasks);
    } catch (const runtime::UsageError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(message("{name: gsm8q}"), HasSubstr("did you mean 'gsm8k'?"));
  EXPECT_THAT(message("{name: perplexity, data: test.jsonl, shots: 1}"), HasSubstr("unknown key 'tasks.0.shots'"));
  EXPECT_THAT(message("{name: gsm8k, train: train.jsonl, test: nothing.jsonl}"), HasSubstr("nothing.jsonl"));
  EXPECT_THAT(message("{name: gsm8k, train: train.jsonl, test: test.jsonl, prompt_format: alpaca}"),
              HasSubstr("shots need the raw prompt format"));
  EXPECT_THAT(message("{name: advbench, prompts: goals.csv, judge: {kind: rule}}"), HasSubstr("did you mean 'rules'?"));
  EXPECT_THAT(message("{name: advbench, prompts: goals.csv, judge: {kind: openai, model: x}}"),
              HasSubstr("'tasks.0.judge.base_url' is missing"));
  EXPECT_THAT(message(std::string(advbench_yaml) + ", " + advbench_yaml), HasSubstr("listed twice"));
  EXPECT_FALSE(fs::exists(root_ / "run"));
  // A judge that is not there is not found out after hours of completions.
  EXPECT_THROW(run("{name: advbench, prompts: goals.csv, judge: {kind: local, model: ./nobody}}"), runtime::Error);
  EXPECT_FALSE(fs::exists(root_ / "run"));
}

}  // namespace
}  // namespace subspect::experiments
