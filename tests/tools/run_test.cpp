// subspect run: bad configurations, resuming, studies and their caching, ctrl-C, a full disk.
#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/tools/program.h"

namespace subspect::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* data = "kind: data\nfiles: {useful: {corpus: useful, count: 20}}\nseed: 3\n";

constexpr const char* study = R"(kind: study
stages:
  words:
    kind: tokenizer
    vocab_size: 300
    data: [{path: texts/useful.jsonl, limit: "${LIMIT:-10}"}]
  texts:
    kind: data
    files:
      useful: {corpus: useful, count: 20}
    seed: ${SEED:-1}
  other:
    kind: data
    files: {harmful: {corpus: harmful, count: 5}}
)";

class Run : public ProgramTest {
 protected:
  /// The error of running a configuration, which must be one of usage.
  std::string config_error(const std::string& yaml) {
    write("bad.yaml", yaml);
    const Result result = run({"run", "bad.yaml", "--out", "never"});
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_FALSE(fs::exists(folder_ / "never"));
    return result.error();
  }

  nlohmann::json environment(const std::string& directory) const {
    return nlohmann::json::parse(read(directory + "/environment.json"));
  }

  /// When the stage's tables were last written: changes when it runs again.
  fs::file_time_type written(const std::string& stage) const {
    return fs::last_write_time(folder_ / "runs/study/stages" / stage / "results.csv");
  }

  /// A training that takes a while, on texts of its own.
  void write_training() const {
    write("tiny.json", R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64,
      "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 128,
      "vocab_size": 512, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": true})");
    write("train.yaml", R"(kind: study
stages:
  words: {kind: tokenizer, vocab_size: 400, data: [{synthetic: useful, count: 200}]}
  model:
    kind: finetune
    model: {config: tiny.json, tokenizer: words}
    data: [{synthetic: useful, count: 400}]
    prompt_format: raw
    max_seq_length: 128
    global_batch: 8
    micro_batch_tokens: 512
    max_steps: ${STEPS:-60}
    optimizer: {name: adamw, lr: 1.0e-3}
    checkpoint_every: 10
)");
  }
};

TEST_F(Run, MistakesInTheConfigurationNameFileAndLine) {
  EXPECT_THAT(config_error("kind: data\nfils: {}\n"), HasSubstr("bad.yaml"));
  EXPECT_THAT(config_error(std::string(data) + "sede: 1\n"),
              HasSubstr("unknown key 'sede' (bad.yaml:4): did you mean 'seed'?"));
  EXPECT_THAT(config_error("kind: data\nfiles: {a: {corpus: useful, count: many}}\n"),
              HasSubstr("'files.a.count' must be a whole number, not the string \"many\" (bad.yaml:2)"));
  EXPECT_THAT(config_error("kind: data\nfiles: {a: {corpus: usefull, count: 1}}\n"),
              HasSubstr("did you mean 'useful'?"));
  EXPECT_THAT(config_error("kind: dta\n"),
              HasSubstr("unknown kind of experiment 'dta' (bad.yaml:1): did you mean 'data'?"));
  EXPECT_THAT(config_error("seed: 1\n"), HasSubstr("the key 'kind' is missing"));
  EXPECT_THAT(config_error("extends: bad.yaml\n"), HasSubstr("'extends' forms a cycle"));
  EXPECT_THAT(config_error("kind: data\nfiles: {a: [}\n"), HasSubstr("this is not YAML"));
  EXPECT_THAT(run({"run", "nowhere.yaml"}).error(), HasSubstr("there is no configuration 'nowhere.yaml'"));
}

TEST_F(Run, MissingInputsAreFoundBeforeAnythingRuns) {
  const std::string error = config_error("kind: tokenizer\ndata: [{path: nowhere.jsonl}]\n");
  EXPECT_THAT(error, HasSubstr("nowhere.jsonl"));
}

TEST_F(Run, AGpuThatIsNotThereIsAnErrorAndNotACpuRun) {
  if (fs::exists("/dev/nvidiactl")) GTEST_SKIP() << "there may be a GPU";
  write("d.yaml", data);
  const Result result = run({"run", "d.yaml", "--device", "cuda"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error(), HasSubstr("no usable GPU"));
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
  EXPECT_EQ(run({"run", "d.yaml", "--device", "tpu"}).exit_code, 2);
}

TEST_F(Run, TheSameCommandAgainSaysThatItIsFinished) {
  write("d.yaml", data);
  const Result first = run({"run", "d.yaml"});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(first.out, "");
  for (const char* file :
       {"config.yaml", "environment.json", "log.txt", "results.csv", "results.json", "useful.jsonl", "report.html"}) {
    EXPECT_TRUE(fs::exists(folder_ / "runs/d" / file)) << file;
  }
  EXPECT_EQ(environment("runs/d")["status"], "finished");
  const Result second = run({"run", "d.yaml"});
  EXPECT_EQ(second.exit_code, 0);
  EXPECT_THAT(second.err, HasSubstr("finished"));
}

TEST_F(Run, SeedsRepeatStagesAndWhatReadsFromThem) {
  write("study.yaml", std::string(study) + "seeds: {values: [5, 6], stages: [texts]}\n");
  const Result first = run({"run", "study.yaml"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const fs::path stages = folder_ / "runs/study/stages";
  for (const char* stage : {"texts-seed5", "texts-seed6", "words-seed5", "words-seed6", "other"}) {
    EXPECT_TRUE(fs::exists(stages / stage / "results.csv")) << stage;
  }
  EXPECT_FALSE(fs::exists(stages / "texts"));
  EXPECT_EQ(environment("runs/study/stages/texts-seed6")["seed"], 6);
  EXPECT_NE(read("runs/study/stages/texts-seed5/useful.jsonl"), read("runs/study/stages/texts-seed6/useful.jsonl"));
  EXPECT_THAT(read("runs/study/stages/words-seed6/config.yaml"), HasSubstr("stages/texts-seed6/useful.jsonl"));
  const std::string table = read("runs/study/seeds/words/results.csv");
  EXPECT_EQ(table.rfind("seed,", 0), 0U) << table;
  EXPECT_THAT(table, HasSubstr("\n5,"));
  EXPECT_THAT(table, HasSubstr("\n6,"));
  const Result again = run({"run", "study.yaml"});
  EXPECT_THAT(again.err, HasSubstr("words-seed6 (tokenizer): done before"));
}

TEST_F(Run, SeedsOfStagesThatHaveNoneAreRefused) {
  const std::string scores = "  scores: {kind: evaluate, models: {m: m}, tasks: [{name: perplexity, data: x.jsonl}]}\n";
  EXPECT_THAT(config_error(study + scores + "seeds: {values: [5], stages: [scores]}\n"),
              HasSubstr("the stage 'scores' has no seed"));
  EXPECT_THAT(config_error(std::string(study) + "seeds: {values: [5], stages: [nowhere]}\n"),
              HasSubstr("there is no stage 'nowhere'"));
}

TEST_F(Run, ADirectoryOfAnotherConfigurationIsRefused) {
  write("d.yaml", data);
  ASSERT_EQ(run({"run", "d.yaml", "--out", "here"}).exit_code, 0);
  const Result result = run({"run", "d.yaml", "--out", "here", "--set", "seed=4"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.error(), HasSubstr("belongs to another configuration: seed: 3 there, 4 here"));
  EXPECT_EQ(run({"run", "d.yaml", "--out", "here", "--set", "seed=4", "--overwrite"}).exit_code, 0);
  EXPECT_THAT(read("here/config.yaml"), HasSubstr("seed: 4"));
}

TEST_F(Run, ADryRunPrintsThePlanAndWritesNothing) {
  write("study.yaml", study);
  const Result result = run({"run", "study.yaml", "--dry-run"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("  1. texts (data)"));
  EXPECT_THAT(result.out, HasSubstr("  2. words (tokenizer) after texts"));
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

TEST_F(Run, ADryRunPlansForAGpuThatIsNotThere) {
  write("wide.json", R"({"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16,
      "num_attention_heads": 16, "intermediate_size": 5632, "vocab_size": 32000, "max_position_embeddings": 2048})");
  write("wide.yaml", R"(kind: study
stages:
  words: {kind: tokenizer, vocab_size: 300, data: [{synthetic: facts, count: 40}]}
  train:
    kind: finetune
    model: {config: wide.json, tokenizer: words}
    data: [{synthetic: facts, count: 4}]
    max_seq_length: 1024
)");
  const auto plan = [&](const char* memory, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"run", "wide.yaml", "--dry-run", "--device-memory", memory};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  const std::string ample = plan("80GB");
  for (const char* line : {"memory on cuda:0:", " of 80.00 GB", "  master weights ", "  optimizer moments ",
                           "  saved activations ", "  library workspaces ", "recomputed: none"}) {
    EXPECT_THAT(ample, HasSubstr(line));
  }
  EXPECT_THAT(ample, Not(HasSubstr("exceeds")));
  EXPECT_THAT(plan("27GB"), HasSubstr("recomputed: cheap ops"));
  EXPECT_THAT(plan("10GB"), AllOf(HasSubstr("recomputed: all blocks"), HasSubstr("this exceeds the memory of cuda:0")));
  EXPECT_THAT(plan("27GB", {"--set", "stages.train.recompute=none"}), HasSubstr("recomputed: none"));
  EXPECT_THAT(plan("64GB", {"--device", "cpu"}), HasSubstr("memory on cpu:"));
  const std::string offloaded = plan("27GB", {"--set", "stages.train.optimizer.offload=true"});
  EXPECT_THAT(offloaded, AllOf(HasSubstr("  optimizer windows "), Not(HasSubstr("  master weights "))));
  const std::string shared = plan("27GB", {"--nproc", "4"});
  EXPECT_THAT(shared, AllOf(HasSubstr("cuda:0, one of 4"), HasSubstr("recomputed: none")));
  const Result on_cpu = run({"run", "wide.yaml", "--dry-run", "--device-memory", "27GB", "--device", "cpu", "--set",
                             "stages.train.optimizer.offload=true"});
  EXPECT_EQ(on_cpu.exit_code, 2);
  EXPECT_THAT(on_cpu.error(), HasSubstr("offloaded from a GPU only"));
  const Result refused = run({"run", "wide.yaml", "--device-memory", "24GB"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.error(), HasSubstr("--dry-run"));
  EXPECT_EQ(run({"run", "wide.yaml", "--dry-run", "--device-memory", "much"}).exit_code, 2);
}

TEST_F(Run, AStudyRunsStagesInOrderAndEachOnce) {
  write("study.yaml", study);
  const Result first = run({"run", "study.yaml"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_TRUE(fs::exists(folder_ / "runs/study/stages/words/model/tokenizer.json"));
  const auto texts = written("texts"), words = written("words"), other = written("other");
  const Result second = run({"run", "study.yaml"});
  EXPECT_EQ(second.exit_code, 0);
  EXPECT_THAT(second.err, HasSubstr("done before"));
  EXPECT_EQ(written("texts"), texts);
  EXPECT_EQ(written("words"), words);

  // A changed stage runs again, and so does what reads its output; the others stay.
  ASSERT_EQ(run({"run", "study.yaml", "--set", "stages.texts.seed=2"}).exit_code, 0);
  EXPECT_NE(written("texts"), texts);
  EXPECT_NE(written("words"), words);
  EXPECT_EQ(written("other"), other);

  // A change downstream leaves what is upstream.
  const auto changed_texts = written("texts"), changed_words = written("words");
  ASSERT_EQ(
      run({"run", "study.yaml", "--set", "stages.texts.seed=2", "--set", "stages.words.vocab_size=280"}).exit_code, 0);
  EXPECT_EQ(written("texts"), changed_texts);
  EXPECT_NE(written("words"), changed_words);
}

TEST_F(Run, AStudyThatMovedOrWhoseInputsWereRewrittenTheSameIsDone) {
  write("rows.jsonl", "{\"prompt\": \"a b\", \"response\": \"c d\"}\n");
  write("study.yaml",
        "kind: study\nstages:\n  words: {kind: tokenizer, vocab_size: 260, data: [{path: rows.jsonl}]}\n");
  ASSERT_EQ(run({"run", "study.yaml"}).exit_code, 0);
  write("rows.jsonl", "{\"prompt\": \"a b\", \"response\": \"c d\"}\n");
  EXPECT_THAT(run({"run", "study.yaml"}).err, HasSubstr("done before"));
  fs::rename(folder_ / "runs/study", folder_ / "moved");
  EXPECT_THAT(run({"run", "study.yaml", "--out", "moved"}).err, HasSubstr("done before"));
  write("rows.jsonl", "{\"prompt\": \"a b\", \"response\": \"other\"}\n");
  EXPECT_THAT(run({"run", "study.yaml", "--out", "moved"}).err, HasSubstr("changed, begins anew"));
}

TEST_F(Run, StudiesWithCyclesOrUnknownStagesAreRefused) {
  EXPECT_THAT(config_error("kind: study\nstages:\n"
                           "  a: {kind: tokenizer, data: [{path: b/x.jsonl}]}\n"
                           "  b: {kind: tokenizer, data: [{path: a/x.jsonl}]}\n"),
              HasSubstr("the stages form a cycle: a -> b -> a"));
  EXPECT_THAT(
      config_error(std::string("kind: study\nstages:\n  a: {kind: data, needs: [c], files: {x: {corpus: useful, "
                               "count: 1}}}\n")),
      HasSubstr("stage 'a' needs 'c', which is no stage (bad.yaml:3)"));
  EXPECT_THAT(config_error("kind: study\nstages: {a: {kind: data, fils: {}}}\n"), HasSubstr("bad.yaml:2"));
  EXPECT_THAT(config_error("kind: study\nstages: {}\n"), HasSubstr("'stages' is empty"));
  EXPECT_THAT(config_error("kind: study\nstages: {a: {kind: study}}\n"),
              HasSubstr("'stages.a.kind' cannot be 'study'"));
}

TEST_F(Run, CtrlCKeepsWhatIsDoneAndTheSameCommandGoesOn) {
  write_training();
  ::setenv("STEPS", "60", 1);
  const pid_t process = start({"run", "train.yaml"});
  const fs::path metrics = folder_ / "runs/train/stages/model/metrics.jsonl";
  for (int tries = 0; tries < 6000 && !(fs::exists(metrics) && fs::file_size(metrics) > 0); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_TRUE(fs::exists(metrics)) << read("err.txt");
  ::kill(process, SIGINT);
  EXPECT_EQ(wait(process), 130) << read("err.txt");
  EXPECT_THAT(read("err.txt"), HasSubstr("subspect: error: interrupted"));
  EXPECT_EQ(environment("runs/train/stages/model")["status"], "interrupted");
  EXPECT_EQ(environment("runs/train")["status"], "interrupted");
  const Result again = run({"run", "train.yaml"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(environment("runs/train")["status"], "finished");
  std::istringstream lines(read("runs/train/stages/model/metrics.jsonl"));
  int64_t expected = 1;
  for (std::string line; std::getline(lines, line); ++expected) {
    EXPECT_EQ(nlohmann::json::parse(line)["step"], expected);
  }
  EXPECT_EQ(expected, 61);
}

TEST_F(Run, AFullDiskIsAnErrorThatNamesTheFile) {
  write("d.yaml", "kind: data\nfiles: {useful: {corpus: useful, count: 5000}}\n");
  Call call{.arguments = {"run", "d.yaml"}, .input = {}};
  call.file_size_limit = 100'000;
  const Result result = run(call);
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_THAT(result.error(), HasSubstr("useful.jsonl"));
  EXPECT_FALSE(fs::exists(folder_ / "runs/d/useful.jsonl"));
  EXPECT_EQ(run({"run", "d.yaml"}).exit_code, 0);
}

TEST_F(Run, TwoProcessesDoNotShareADirectory) {
  write_training();
  ::setenv("STEPS", "2000", 1);
  const pid_t process = start({"run", "train.yaml"});
  const fs::path environment_file = folder_ / "runs/train/environment.json";
  for (int tries = 0; tries < 3000 && !fs::exists(environment_file); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const Result second = run({"run", "train.yaml"});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.error(), HasSubstr("runs/train"));
  ::kill(process, SIGKILL);
  EXPECT_EQ(wait(process), 128 + SIGKILL);
  ::unsetenv("STEPS");
}

TEST_F(Run, ReportsAreMadeAgainFromTheTables) {
  write("d.yaml", data);
  ASSERT_EQ(run({"run", "d.yaml"}).exit_code, 0);
  fs::remove(folder_ / "runs/d/report.html");
  const Result result = run({"report", "runs/d"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "runs/d/report.html\n");
  EXPECT_TRUE(fs::exists(folder_ / "runs/d/report.html"));
  EXPECT_EQ(run({"report", "nowhere"}).exit_code, 1);
}

}  // namespace
}  // namespace subspect::tests
