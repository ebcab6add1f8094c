// Damaged and unfitting input through the program: one line of error that names what is wrong and where, the right
// exit code, and nothing half-written. Configurations, full disks and ctrl-C are in run_test.cpp.
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "tests/tools/program.h"

namespace subspect::tests {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* projection_yaml = "model.layers.0.self_attn.q_proj.weight";  // [32, 32]
constexpr const char* norm = "model.norm.weight";                                  // [32], the last one of the file

std::string bytes_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string length_prefix(uint64_t length) {
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes;
}

/// A safetensors file in parts, to be damaged and put together again.
struct Parts {
  explicit Parts(const std::string& file) {
    uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof(length));
    header = json::parse(file.substr(sizeof(length), length));
    body = file.substr(sizeof(length) + length);
  }
  std::string bytes() const { return with_header(header.dump()); }
  std::string with_header(const std::string& text) const { return length_prefix(text.size()) + text + body; }
  json& offsets(const std::string& tensor) { return header[tensor]["data_offsets"]; }
  void set(const std::string& tensor, float value) {
    std::memcpy(body.data() + offsets(tensor)[0].get<size_t>(), &value, sizeof(value));
  }
  void shift(const std::string& tensor, int64_t by) {
    for (json& offset : offsets(tensor)) offset = offset.get<int64_t>() + by;
  }

  json header;
  std::string body;
};

class BadInput : public ProgramTest {
 protected:
  static fs::path fixture() { return fs::path(SUBSPECT_SOURCE_DIR) / "tests/fixtures/models/llama3"; }

  /// A model directory under a name, with these weights and the word tokenizer.
  void write_model(const std::string& name, const std::string& weights) const {
    write(name + "/config.json", bytes_of(fixture() / "config.json"));
    write(name + "/model.safetensors", weights);
    write(name + "/tokenizer.json", tokenizer().dump());
    write(name + "/tokenizer_config.json", R"({"eos_token": "<eos>"})");
  }
  static Parts parts() { return Parts(bytes_of(fixture() / "model.safetensors")); }

  /// The fixture with every weight moved a little: an update of full rank.
  static std::string moved(float by) {
    Parts model = parts();
    for (size_t at = 0; at < model.body.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, model.body.data() + at, sizeof(value));
      value += by * std::sin(static_cast<float>(at * at % 7919));
      std::memcpy(model.body.data() + at, &value, sizeof(value));
    }
    return model.bytes();
  }

  /// Words w1 .. w38, "<unk>" 39, "<eos>" 0.
  static json tokenizer() {
    json vocabulary = {{"<eos>", 0}, {"<unk>", 39}};
    for (int id = 1; id < 39; ++id) vocabulary["w" + std::to_string(id)] = id;
    const json eos = {{"id", 0},         {"content", "<eos>"},  {"single_word", false}, {"lstrip", false},
                      {"rstrip", false}, {"normalized", false}, {"special", true}};
    return {{"version", "1.0"},
            {"added_tokens", {eos}},
            {"normalizer", nullptr},
            {"pre_tokenizer", {{"type", "WhitespaceSplit"}}},
            {"post_processor", nullptr},
            {"decoder", nullptr},
            {"model", {{"type", "WordLevel"}, {"vocab", vocabulary}, {"unk_token", "<unk>"}}}};
  }

  /// All files of the folder but those of the calls themselves.
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      const std::string name = entry.path().lexically_relative(folder_).string();
      if (name != "in.txt" && name != "out.txt" && name != "err.txt") names.insert(name);
    }
    return names;
  }

  /// The error of a call that must fail with this code and leave no file behind.
  std::string failure(const std::vector<std::string>& arguments, int exit_code = 1, const std::string& input = {}) {
    const std::set<std::string> before = files();
    const Result result = run(arguments, input);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(files(), before);
    return result.error();
  }

  std::string logits_failure(const std::string& model) {
    write("tokens.json", "[[1, 2, 3]]");
    return failure({"logits", "--model", "./" + model, "--tokens", "tokens.json", "--output", "out.safetensors"});
  }

  /// The error of a run whose directory holds no table and no model when it failed.
  std::string run_failure(const std::string& yaml, int exit_code = 1) {
    write("bad.yaml", yaml);
    const Result result = run({"run", "bad.yaml"});
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    for (const char* file : {"results.csv", "results.json", "report.html", "model", "samples.jsonl"}) {
      EXPECT_FALSE(fs::exists(folder_ / "runs/bad" / file)) << file;
    }
    fs::remove_all(folder_ / "runs");
    return result.error();
  }

  /// A training of a tiny model on data.jsonl; `more` is appended to the YAML.
  std::string training(const std::string& more = "") const {
    write("words/tokenizer.json", tokenizer().dump());
    write("words/tokenizer_config.json", R"({"eos_token": "<eos>"})");
    write("tiny.json", R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64,
      "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 128,
      "vocab_size": 40, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
      "eos_token_id": 0})");
    return "kind: finetune\nmodel: {config: tiny.json, tokenizer: words, init: random}\ndata: [{path: data.jsonl}]\n"
           "prompt_format: custom\nprompt_template: \"{instruction} w9 {response}\"\nglobal_batch: 4\n" +
           more;
  }
  void write_rows(int count) const {
    std::string rows;
    for (int i = 0; i < count; ++i) {
      const auto word = [](int id) { return "w" + std::to_string(id); };
      rows += json({{"prompt", word(1 + i % 7)}, {"response", word(1 + i % 5) + " " + word(1 + i % 13)}}).dump() + "\n";
    }
    write("data.jsonl", rows);
  }
};

TEST_F(BadInput, DamagedSafetensorsNameWhatIsWrong) {
  const std::string whole = bytes_of(fixture() / "model.safetensors");
  struct Case {
    const char* name;
    std::function<std::string()> bytes;
    const char* expected;
  };
  const auto edited = [](const std::function<void(Parts&)>& edit) {
    return [edit] {
      Parts model = parts();
      edit(model);
      return model.bytes();
    };
  };
  const std::vector<Case> cases = {
      {"truncated", [&] { return whole.substr(0, whole.size() - 100); }, "ends at byte"},
      {"tiny", [&] { return whole.substr(0, 5); }, "this one has 5"},
      {"empty", [] { return std::string(); }, "empty"},
      {"huge", [&] { return length_prefix(1ULL << 40) + whole.substr(8); }, "the header claims 1099511627776 bytes"},
      {"negative", [&] { return length_prefix((1ULL << 63) + 5) + whole.substr(8); }, "the header claims 92233720"},
      {"minus-one", [&] { return length_prefix(~0ULL) + whole.substr(8); }, "the header claims 18446744073709551615"},
      {"overlap", edited([](Parts& model) { model.shift("model.layers.0.input_layernorm.weight", -4); }),
       "overlapping"},
      {"out-of-range", edited([](Parts& model) { model.shift(norm, 400); }), norm},
      {"negative-offset", edited([](Parts& model) { model.offsets(norm)[0] = -4; }), "non-negative"},
      {"reversed", edited([](Parts& model) { std::swap(model.offsets(norm)[0], model.offsets(norm)[1]); }), norm},
      {"duplicate",
       [] {
         const Parts model = parts();
         const std::string text = model.header.dump();
         return model.with_header(text.substr(0, text.size() - 1) + ",\"" + norm + "\":" + model.header[norm].dump() +
                                  "}");
       },
       "twice"},
      {"missing", edited([](Parts& model) {
         model.body.resize(model.offsets(norm)[0].get<size_t>());
         model.header.erase(norm);
       }),
       "model.norm.weight is missing"},
      {"hole", edited([](Parts& model) { model.header.erase(norm); }), "belong to no tensor"},
      {"shape", edited([](Parts& model) {
         model.header[projection_yaml]["shape"] = {16, 64};
       }),
       "has shape [16, 64], config.json asks for [32, 32]"},
      {"impossible-shape", edited([](Parts& model) {
         model.header[projection_yaml]["shape"] = {1LL << 40, 1LL << 40};
       }),
       "impossible shape"},
      {"dtype", edited([](Parts& model) { model.header[projection_yaml]["dtype"] = "F7"; }), "unknown dtype \"F7\""},
      {"no-json", [] { return parts().with_header("{not json"); }, "not valid JSON"},
      {"list", [] { return parts().with_header("[1, 2]"); }, "does not begin with '{'"},
  };
  for (const Case& bad : cases) {
    SCOPED_TRACE(bad.name);
    write_model(bad.name, bad.bytes());
    const std::string error = logits_failure(bad.name);
    EXPECT_THAT(error, HasSubstr(bad.expected));
    EXPECT_THAT(error, HasSubstr("(./" + std::string(bad.name)));
  }
}

TEST_F(BadInput, AnIndexMustStayInItsDirectory) {
  write_model("good", bytes_of(fixture() / "model.safetensors"));
  const auto shard_error = [&](const std::string& shard) {
    write_model("indexed", "");
    fs::remove(folder_ / "indexed/model.safetensors");
    json map;
    const Parts model = parts();
    for (const auto& item : model.header.items()) {
      if (item.key() != "__metadata__") map[item.key()] = shard;
    }
    write("indexed/model.safetensors.index.json", json({{"metadata", json::object()}, {"weight_map", map}}).dump());
    return logits_failure("indexed");
  };
  EXPECT_THAT(shard_error("../good/model.safetensors"), HasSubstr("outside the directory"));
  EXPECT_THAT(shard_error((folder_ / "good/model.safetensors").string()), HasSubstr("outside the directory"));
  EXPECT_THAT(shard_error("model-00001-of-00002.safetensors"), HasSubstr("model-00001-of-00002.safetensors"));
}

TEST_F(BadInput, DamagedModelDirectoriesNameTheFile) {
  EXPECT_THAT(logits_failure("nowhere"), HasSubstr("no such model directory (./nowhere)"));
  write_model("damaged", bytes_of(fixture() / "model.safetensors"));
  write("damaged/config.json", R"({"model_type": )");
  EXPECT_THAT(logits_failure("damaged"), HasSubstr("not valid JSON at byte"));
  write("damaged/config.json", R"({"model_type": "gpt9", "architectures": ["Gpt9"]})");
  EXPECT_THAT(logits_failure("damaged"), HasSubstr("unsupported architecture \"gpt9\" (./damaged/config.json"));
  write_model("empty", "");
  fs::remove(folder_ / "empty/model.safetensors");
  EXPECT_THAT(logits_failure("empty"), HasSubstr("neither model.safetensors nor model.safetensors.index.json"));
}

TEST_F(BadInput, TokenizersThatCannotBeHonouredAreRefused) {
  const auto error = [&](const std::function<void(json&)>& edit) {
    json changed = tokenizer();
    edit(changed);
    write("tok/tokenizer.json", changed.dump());
    return failure({"tokenize", "--model", "./tok"}, 1, "{\"text\": \"w1 w2\"}\n");
  };
  const json unknown = {{"type", "Magic"}};
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    const std::string message = error([&](json& t) { t[part] = unknown; });
    EXPECT_THAT(message, StartsWith("unsupported tokenizer component Magic"));
    EXPECT_THAT(message, HasSubstr(part));
  }
  EXPECT_THAT(error([](json& t) { t["model"]["vocab"]["w1"] = -1; }), HasSubstr("token id -1 is out of range"));
  EXPECT_THAT(error([](json& t) { t["model"]["vocab"]["w1"] = 1LL << 40; }), HasSubstr("is out of range"));
  EXPECT_THAT(error([](json& t) { t["model"]["vocab"]["w1"] = 2; }), HasSubstr("token id 2 is given twice"));
  EXPECT_THAT(error([](json& t) {
                t["pre_tokenizer"] = {
                    {"type", "Split"}, {"pattern", {{"Regex", "(["}}}, {"behavior", "Isolated"}, {"invert", false}};
              }),
              HasSubstr("does not compile"));
  EXPECT_THAT(error([](json& t) { t = json::array(); }), HasSubstr("JSON object"));
}

TEST_F(BadInput, TokensBeyondTheModelsRowsAreRefusedBeforeTraining) {
  write("data.jsonl", "{\"prompt\": \"w1\", \"response\": \"w2\"}\n{\"prompt\": \"w1\", \"response\": \"w30\"}\n");
  const std::string yaml = training();
  std::string config = read("tiny.json");
  config.replace(config.find("\"vocab_size\": 40"), 16, "\"vocab_size\": 20");
  write("tiny.json", config);
  const std::string error = run_failure(yaml);
  EXPECT_THAT(error, HasSubstr("id 30, but the model has 20 rows of embeddings"));
  EXPECT_THAT(error, HasSubstr("data.jsonl, example 1"));
}

TEST_F(BadInput, LongAndEmptyExamplesAreCountedInTheLog) {
  write("data.jsonl",
        "{\"prompt\": \"w1\", \"response\": \"w1 w2 w3 w4 w5 w6 w7 w8\"}\n"
        "{\"prompt\": \"w1 w2 w3 w4 w5 w6 w7\", \"response\": \"w1\"}\n"
        "{\"prompt\": \"w1\", \"response\": \"\"}\n"
        "{\"prompt\": \"w1\", \"response\": \"w2\"}\n");
  write("long.yaml", training("max_seq_length: 6\nmax_steps: 1\n"));
  const Result result = run({"run", "long.yaml"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::string log = read("runs/long/log.txt");
  EXPECT_THAT(log, HasSubstr("1 of 3 responses were shortened to fit max_seq_length 6 (their EOS was kept)"));
  EXPECT_THAT(log, HasSubstr("1 of 3 examples were left out"));
  EXPECT_THAT(log, HasSubstr("1 with an empty response left out"));
  EXPECT_THAT(log, HasSubstr("2 sequences"));
  const json environment = json::parse(read("runs/long/environment.json"));
  EXPECT_EQ(environment["sequences"]["truncated"], 1);
}

TEST_F(BadInput, DataThatCannotBeReadNamesTheLine) {
  const std::string good = "{\"prompt\": \"w1\", \"response\": \"w2\"}\n";
  const auto error = [&](const std::string& rows) {
    write("data.jsonl", rows);
    return run_failure(training("max_steps: 1\n"));
  };
  EXPECT_THAT(error(good + "{\"prompt\": \"w1 \xff\xfe\", \"response\": \"w2\"}\n"),
              HasSubstr("data.jsonl:2): convert the file to UTF-8"));
  EXPECT_THAT(error(good + "{\"prompt\": \n"), HasSubstr("data.jsonl:2)"));
  EXPECT_THAT(error(good + "{\"prompt\": \"w1\"}\n"), HasSubstr("no field 'response'"));
  EXPECT_THAT(error("{\"prompt\": \"w1\", \"response\": \"\"}\n"), HasSubstr("no examples"));
  EXPECT_THAT(error(""), HasSubstr("no examples"));
}

TEST_F(BadInput, WeightsThatAreNotFiniteAreNamedWhereverTheyAreRead) {
  write_model("good", bytes_of(fixture() / "model.safetensors"));
  write("texts.jsonl", "{\"text\": \"w1 w2 w3\"}\n{\"text\": \"w3 w4\"}\n");
  write_rows(4);
  const std::string train = training("max_steps: 1\n");
  const std::string source = "{config: tiny.json, tokenizer: words, init: random}";
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    Parts model = parts();
    model.set(projection_yaml, value);
    write_model("broken", model.bytes());
    const auto names_it = HasSubstr("tensor " + std::string(projection_yaml) + " has a NaN or infinity at [0, 0]");
    EXPECT_THAT(logits_failure("broken"), names_it);
    EXPECT_THAT(run_failure("kind: projection\nbase: good\naligned: good\nfinetuned: {x: broken}\n"), names_it);
    EXPECT_THAT(run_failure("kind: overlap\nreference: good\nmodels: {a: good, b: broken}\n"), names_it);
    EXPECT_THAT(run_failure("kind: evaluate\nmodels: {x: broken}\ntasks: [{name: perplexity, data: texts.jsonl}]\n"),
                names_it);
    EXPECT_THAT(run_failure("kind: activations\nmodels: {x: broken, y: good}\nprompts:\n"
                            "  useful: {path: texts.jsonl, field: text, count: 2}\n"
                            "  harmful: {path: texts.jsonl, field: text, count: 2}\n"),
                names_it);
    EXPECT_THAT(run_failure(std::string(train).replace(train.find(source), source.size(), "broken")), names_it);
    EXPECT_THAT(failure({"spectrum", "good", "broken"}), names_it);
  }
}

TEST_F(BadInput, ALossThatDivergesStopsWithTheStepAndKeepsTheCheckpoint) {
  write_rows(30);
  write("bad.yaml", training("epochs: 3\ncheckpoint_every: 1\noptimizer: {name: adamw, lr: 1.0e30}\n"));
  const Result result = run({"run", "bad.yaml"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error(), HasSubstr("(step "));
  EXPECT_FALSE(fs::exists(folder_ / "runs/bad/model"));
  EXPECT_EQ(json::parse(read("runs/bad/environment.json"))["status"], "failed");
  size_t checkpoints = 0;
  for (const auto& entry : fs::directory_iterator(folder_ / "runs/bad/state")) {
    checkpoints += entry.path().extension() == ".safetensors" ? 1 : 0;
  }
  EXPECT_EQ(checkpoints, 1U);
  // The same command goes on from the checkpoint, to the same failure.
  const Result again = run({"run", "bad.yaml"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_EQ(again.error(), result.error());
  EXPECT_THAT(again.err, HasSubstr("going on"));
}

TEST_F(BadInput, ModelsOfDifferentShapesAreNotCompared) {
  write_model("good", bytes_of(fixture() / "model.safetensors"));
  const std::string other = (fixture().parent_path() / "qwen3").string();
  EXPECT_THAT(run_failure("kind: projection\nbase: good\naligned: good\nfinetuned: {x: " + other + "}\n"),
              HasSubstr("in base and"));
  EXPECT_THAT(run_failure("kind: overlap\nreference: good\nmodels: {a: good, x: " + other + "}\n"),
              HasSubstr("in reference and"));
}

TEST_F(BadInput, NoAlignmentUpdateIsNoFailure) {
  write_model("base", bytes_of(fixture() / "model.safetensors"));
  write_model("useful", moved(0.01F));
  write("zero.yaml",
        "kind: projection\nbase: base\naligned: base\nfinetuned: {useful: useful, same: base}\n"
        "bases: [top_k, random_k, random]\nmodes: [same, orth]\nfractions: [0.5]\n");
  const Result result = run({"run", "zero.yaml"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::string table = read("runs/zero/results.csv");
  // Nothing lies in an empty space, everything outside it; shares of no update are empty cells.
  EXPECT_THAT(table, HasSubstr("\nuseful,top_k,same,0.5,0,0,"));
  EXPECT_THAT(table, HasSubstr("\nuseful,top_k,orth,0.5,0,1,1,"));
  EXPECT_THAT(table, HasSubstr("\nsame,top_k,same,0.5,0,,,"));
  EXPECT_THAT(table, ::testing::Not(HasSubstr("nan")));
  write("overlap.yaml", "kind: overlap\nreference: base\nmodels: {none: base, useful: useful}\n");
  EXPECT_EQ(run({"run", "overlap.yaml"}).exit_code, 0);
  EXPECT_THAT(read("runs/overlap/results.csv"), ::testing::Not(HasSubstr("nan")));
}

TEST_F(BadInput, FractionsOutsideTheUnitIntervalWorkWithAWarning) {
  write_model("base", bytes_of(fixture() / "model.safetensors"));
  write_model("aligned", moved(0.02F));
  write_model("useful", moved(0.03F));
  write("f.yaml",
        "kind: projection\nbase: base\naligned: aligned\nfinetuned: {useful: useful}\n"
        "bases: [top_k]\nmodes: [same]\nfractions: [1.5, -0.5]\n");
  const Result result = run({"run", "f.yaml"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("warning: fraction 1.5 is outside (0, 1)"));
  EXPECT_THAT(result.err, HasSubstr("warning: fraction -0.5 is outside (0, 1)"));
  EXPECT_THAT(read("runs/f/results.csv"), HasSubstr("\nuseful,top_k,same,1.5,"));
  EXPECT_THAT(read("runs/f/results.csv"), HasSubstr("\nuseful,top_k,same,-0.5,"));
}

TEST_F(BadInput, EvaluationsThatCannotWorkAreRefusedBeforeAnythingRuns) {
  write_model("good", bytes_of(fixture() / "model.safetensors"));
  write("goals.jsonl", "{\"goal\": \"w1 w2\"}\n");
  const auto error = [&](const std::string& tasks, int exit_code = 2) {
    write("e.yaml", "kind: evaluate\nmodels: {good: good}\ntasks: [" + tasks + "]\n");
    return failure({"run", "e.yaml", "--out", "never"}, exit_code);
  };
  EXPECT_THAT(error("{name: gsm8q}"), HasSubstr("did you mean 'gsm8k'?"));
  EXPECT_THAT(error("{name: gsm8k, test: goals.jsonl}"), HasSubstr("'tasks.0.train' is missing"));
  EXPECT_THAT(error("{name: advbench, prompts: none.jsonl}"), HasSubstr("none.jsonl"));
  EXPECT_THAT(error("{name: advbench, prompts: goals.jsonl, shots: 1}"), HasSubstr("unknown key 'tasks.0.shots'"));
  EXPECT_THAT(error("{name: advbench, prompts: goals.jsonl, judge: {kind: rule}}"), HasSubstr("did you mean 'rules'?"));
  EXPECT_THAT(error("{name: advbench, prompts: goals.jsonl, judge: {kind: local}}"),
              HasSubstr("'tasks.0.judge.model' is missing"));
  EXPECT_THAT(error("{name: advbench, prompts: goals.jsonl, judge: {kind: local, model: ./nobody}}", 1),
              HasSubstr("nobody"));
  EXPECT_THAT(error("{name: advbench, prompts: goals.jsonl}, {name: advbench, prompts: goals.jsonl}"),
              HasSubstr("the task 'advbench' is listed twice"));
}

TEST_F(BadInput, AFullDiskLeavesNoHalfWrittenModel) {
  write_rows(12);
  write("full.yaml", training("epochs: 1\n"));
  Call call{.arguments = {"run", "full.yaml"}, .input = {}};
  call.file_size_limit = 20'000;
  const Result result = run(call);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error(), HasSubstr("safetensors"));
  EXPECT_FALSE(fs::exists(folder_ / "runs/full/model"));
  for (const std::string& file : files()) EXPECT_THAT(file, ::testing::Not(HasSubstr(".tmp")));
  EXPECT_EQ(run({"run", "full.yaml"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(folder_ / "runs/full/model/model.safetensors"));
}

TEST_F(BadInput, AKilledTrainingGoesOnToTheSameBits) {
  write_rows(40);
  write("train.yaml", training("epochs: 8\ncheckpoint_every: 3\noptimizer: {name: adamw, lr: 1.0e-2}\n"));
  ASSERT_EQ(run({"run", "train.yaml", "--out", "straight"}).exit_code, 0);
  const fs::path metrics = folder_ / "killed/metrics.jsonl";
  const auto rows = [&] {
    const std::string text = bytes_of(metrics);
    return std::count(text.begin(), text.end(), '\n');
  };
  int kills = 0;
  for (const int wanted : {0, 2, 7, 25, 60}) {
    const pid_t process = start({"run", "train.yaml", "--out", "killed"});
    for (int tries = 0; tries < 20'000 && rows() < wanted; ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ::kill(process, SIGKILL);
    const int code = wait(process);
    kills += code == 128 + SIGKILL ? 1 : 0;
    EXPECT_TRUE(code == 0 || code == 128 + SIGKILL) << code << read("err.txt");
  }
  EXPECT_GE(kills, 2);
  const Result result = run({"run", "train.yaml", "--out", "killed"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(read("killed/model/model.safetensors") == read("straight/model/model.safetensors"));
  EXPECT_EQ(rows(), 80);
  for (const std::string& file : files()) EXPECT_THAT(file, ::testing::Not(HasSubstr(".tmp"))) << "left behind";
}

}  // namespace
}  // namespace subspect::tests
