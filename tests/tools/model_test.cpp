// Commands on models: tokenizers, logits, generation, spectra, inspection, and their bad input.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/io/safetensors.h"
#include "tests/tools/program.h"

namespace subspect::tests {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

class Model : public ProgramTest {
 protected:
  static std::string fixture(const std::string& name) {
    return (fs::path(SUBSPECT_SOURCE_DIR) / "tests/fixtures" / name).string();
  }

  static std::vector<json> lines(const std::string& text) {
    std::vector<json> result;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) result.push_back(json::parse(line));
    return result;
  }

  /// A tiny model with a tokenizer, trained for one step.
  std::string tiny_model() const {
    write("tiny.json", R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32,
      "num_hidden_layers": 2, "num_attention_heads": 1, "num_key_value_heads": 1, "intermediate_size": 64,
      "vocab_size": 512, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": true})");
    write("tiny.yaml", R"(kind: study
stages:
  words: {kind: tokenizer, vocab_size: 400, data: [{synthetic: useful, count: 50}]}
  tiny:
    kind: finetune
    model: {config: tiny.json, tokenizer: words}
    data: [{synthetic: useful, count: 16}]
    max_seq_length: 128
    max_steps: 1
)");
    const Result result = run({"run", "tiny.yaml"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return "runs/tiny/stages/tiny/model";
  }
};

TEST_F(Model, TrainedTokenizersGoBackAndForth) {
  write("corpus.txt", "the cat sat on the mat\nthe dog sat on the log\n");
  ASSERT_EQ(run({"tokenizer", "train", "--input", "corpus.txt", "--vocab-size", "270", "--output", "tok"}).exit_code,
            0);
  const Result ids = run({"tokenize", "--model", "tok"}, "{\"text\": \"the cat\"}\n\n{\"text\": \"é😀 x\"}\n");
  ASSERT_EQ(ids.exit_code, 0) << ids.err;
  const auto encoded = lines(ids.out);
  ASSERT_EQ(encoded.size(), 2U);
  EXPECT_EQ(encoded[0]["offsets"].front()[0], 0);
  EXPECT_EQ(encoded[0]["offsets"].back()[1], 7);
  EXPECT_EQ(encoded[1]["offsets"].back()[1], 4);  // code points, not bytes
  const Result texts = run({"detokenize", "--model", "tok", "--skip-special-tokens"}, ids.out);
  ASSERT_EQ(texts.exit_code, 0) << texts.err;
  EXPECT_EQ(lines(texts.out)[0]["text"], "the cat");
  EXPECT_EQ(lines(texts.out)[1]["text"], "é😀 x");
}

TEST_F(Model, TokenizerGoldensThroughTheProgram) {
  const Result result = run({"tokenize", "--model", fixture("tokenizers/qwen2")}, "{\"text\": \"Hello, world 123\"}\n");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(lines(result.out).size(), 1U);
}

TEST_F(Model, BadLinesNameTheLine) {
  const std::string tokenizer = fixture("tokenizers/qwen2");
  EXPECT_THAT(run({"tokenize", "--model", tokenizer}, "{\"text\": \"a\"}\n{\"txt\": 1}\n").error(),
              HasSubstr("the line has no text 'text' (standard input:2)"));
  EXPECT_THAT(run({"tokenize", "--model", tokenizer}, "not json\n").error(), HasSubstr("standard input:1"));
  EXPECT_THAT(run({"detokenize", "--model", tokenizer}, "{\"ids\": [-1]}\n").error(),
              HasSubstr("-1 is not a token id"));
  EXPECT_EQ(run({"detokenize", "--model", tokenizer}, "{\"ids\": [99999999]}\n").exit_code, 1);
  EXPECT_EQ(run({"tokenize", "--model", tokenizer, "--input", "nowhere.jsonl"}).exit_code, 1);
  EXPECT_EQ(run({"tokenize", "--model", "./nowhere"}, "").exit_code, 1);
}

TEST_F(Model, LogitsAndHiddenStatesHaveTheContractsNamesAndShapes) {
  write("ids.json", "[[1, 2, 3], [4]]");
  const Result result = run({"logits", "--model", fixture("models/qwen2"), "--tokens", "ids.json", "--output",
                             "out.safetensors", "--hidden-states"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto file = runtime::io::SafetensorsFile::open(folder_ / "out.safetensors");
  const json config = json::parse(std::ifstream(fixture("models/qwen2/config.json")));
  const int64_t layers = config["num_hidden_layers"];
  EXPECT_EQ(file.info("logits.0").shape, (runtime::Shape{3, config["vocab_size"]}));
  EXPECT_EQ(file.info("logits.1").shape, (runtime::Shape{1, config["vocab_size"]}));
  EXPECT_EQ(file.info("hidden.0." + std::to_string(layers)).shape, (runtime::Shape{3, config["hidden_size"]}));
  EXPECT_EQ(file.names().size(), 2U * (static_cast<size_t>(layers) + 2));
}

TEST_F(Model, LogitsRefuseIdsOutsideTheVocabulary) {
  write("ids.json", "[[1, 9999999]]");
  const Result result = run({"logits", "--model", fixture("models/qwen2"), "--tokens", "ids.json", "--output", "o"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error(), HasSubstr("token id 9999999"));
  EXPECT_FALSE(fs::exists(folder_ / "o"));
}

TEST_F(Model, GenerationAnswersInInputOrder) {
  const std::string model = tiny_model();
  write("prompts.jsonl", "{\"prompt\": \"the cat\"}\n{\"prompt\": \"dog\"}\n");
  const Result result =
      run({"generate", "--model", model, "--input", "prompts.jsonl", "--output", "out.jsonl", "--max-new-tokens", "5"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto answers = lines(read("out.jsonl"));
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0]["prompt"], "the cat");
  EXPECT_EQ(answers[1]["prompt"], "dog");
  for (const json& answer : answers) {
    EXPECT_TRUE(answer["completion"].is_string());
    EXPECT_LE(answer["tokens"].size(), 5U);
    EXPECT_THAT(answer["finish_reason"].get<std::string>(), ::testing::AnyOf("stop", "length"));
  }
  const Result again = run({"generate", "--model", model, "--max-new-tokens", "5"}, read("prompts.jsonl"));
  EXPECT_EQ(again.out, read("out.jsonl"));
}

TEST_F(Model, GenerationRefusesAnUnknownFormatAndAnEmptyPrompt) {
  const std::string model = tiny_model();
  EXPECT_THAT(run({"generate", "--model", model, "--prompt-format", "alpacca"}, "{\"prompt\": \"x\"}\n").error(),
              HasSubstr("alpaca"));
  EXPECT_THAT(run({"generate", "--model", model}, "{\"prompt\": \"\"}\n").error(), HasSubstr("no tokens"));
}

TEST_F(Model, SpectraOfADifference) {
  const Result same = run({"spectrum", fixture("models/llama3"), fixture("models/llama3"), "--pattern", "*norm*"});
  ASSERT_EQ(same.exit_code, 0) << same.err;
  EXPECT_THAT(same.out, ::testing::StartsWith("tensor,rows,cols,"));
  EXPECT_EQ(run({"spectrum", fixture("models/llama3"), fixture("models/qwen2")}).exit_code, 1);
  EXPECT_EQ(run({"spectrum", fixture("models/llama3"), fixture("models/llama3"), "--pattern", "none*"}).exit_code, 2);
}

TEST_F(Model, InspectionNamesWhatCounts) {
  const Result result = run({"inspect", fixture("models/qwen2")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* text : {"architecture:", "qwen2", "parameters:", "tensors:", "tokenizer:", "to fine-tune:"}) {
    EXPECT_THAT(result.out, HasSubstr(text));
  }
}

TEST_F(Model, AnOutputThatCannotBeWrittenIsNotSuccess) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  Call call{.arguments = {"list", "kernels"}, .input = {}};
  call.output_file = "/dev/full";
  const Result result = run(call);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error(), HasSubstr("standard output"));
}

}  // namespace
}  // namespace subspect::tests
