// config.json of every family in every spelling, and what is refused.
#include "model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "model/architectures/architecture.h"
#include "runtime/error.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A small config.json with some members replaced; a null text removes the member.
std::string config_with(const nlohmann::json& changes) {
  auto json = nlohmann::json::parse(testing::small_config());
  for (const auto& item : changes.items()) {
    json[item.key()] = item.value();
    if (item.value() == "REMOVE") json.erase(item.key());
  }
  return json.dump();
}

DecoderConfig parse(const nlohmann::json& changes) {
  return parse_decoder_config(config_with(changes), "models/x/config.json");
}

std::string error_of_text(const std::string& text) {
  try {
    parse_decoder_config(text, "models/x/config.json");
  } catch (const runtime::Error& error) {
    return error.what();
  }
  return "no error";
}

std::string error_of(const nlohmann::json& changes) {
  return error_of_text(config_with(changes));
}

TEST(DecoderConfigTest, LlamaDefaults) {
  const DecoderConfig config = parse({});
  EXPECT_EQ(config.model_type, "llama");
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.rope, (RopeConfig{.original_max_positions = 256}));
  EXPECT_FLOAT_EQ(config.rms_norm_eps, 1e-6F);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_THAT(config.windows, ElementsAre(0, 0));
  EXPECT_EQ(config.bos_id, 1);
  EXPECT_THAT(config.eos_ids, ElementsAre(2));
  EXPECT_EQ(config.dtype, runtime::DType::float32);
}

TEST(DecoderConfigTest, RopeScalingInEverySpelling) {
  const nlohmann::json llama3 = {{"factor", 32.0},
                                 {"low_freq_factor", 1.0},
                                 {"high_freq_factor", 4.0},
                                 {"original_max_position_embeddings", 8192}};
  for (const char* type_key : {"type", "rope_type"}) {
    nlohmann::json scaling = llama3;
    scaling[type_key] = "llama3";
    const RopeConfig old_spelling = parse({{"rope_theta", 5e5}, {"rope_scaling", scaling}}).rope;
    EXPECT_EQ(old_spelling.scaling, RopeScaling::llama3);
    EXPECT_EQ(old_spelling.theta, 5e5);
    EXPECT_EQ(old_spelling.factor, 32);
    EXPECT_EQ(old_spelling.original_max_positions, 8192);
    scaling["rope_theta"] = 5e5;
    EXPECT_EQ(parse({{"rope_parameters", scaling}}).rope, old_spelling);
  }
  EXPECT_EQ(parse({{"rope_theta", 5e5}, {"rope_scaling", nullptr}}).rope.scaling, RopeScaling::none);
  EXPECT_EQ(parse({{"rope_parameters", {{"rope_theta", 7.0}, {"rope_type", "default"}}}}).rope.theta, 7.0);
}

TEST(DecoderConfigTest, Llama3FrequenciesInTheirThreeBands) {
  const RopeConfig rope{.theta = 5e5,
                        .scaling = RopeScaling::llama3,
                        .factor = 32,
                        .low_freq_factor = 1,
                        .high_freq_factor = 4,
                        .original_max_positions = 8192};
  const std::vector<float> scaled = rope_inverse_frequencies(rope, 64);
  ASSERT_EQ(scaled.size(), 32U);
  for (size_t i = 0; i < scaled.size(); ++i) {
    const double plain = std::pow(5e5, -static_cast<double>(2 * i) / 64);
    const double wavelength = 2 * M_PI / plain;
    double expected = plain;
    if (wavelength > 8192) {
      expected = plain / 32;
    } else if (wavelength >= 2048) {
      const double smooth = (8192 / wavelength - 1) / 3;
      expected = (1 - smooth) * plain / 32 + smooth * plain;
    }
    EXPECT_NEAR(scaled[i], expected, 1e-6 * expected) << i;
  }
}

TEST(DecoderConfigTest, YarnAttentionFactor) {
  EXPECT_EQ(rope_attention_factor({}), 1.0F);
  EXPECT_FLOAT_EQ(rope_attention_factor({.scaling = RopeScaling::yarn, .factor = 4}), 0.1F * std::log(4.0F) + 1.0F);
  EXPECT_FLOAT_EQ(rope_attention_factor({.scaling = RopeScaling::yarn, .factor = 4, .attention_factor = 0.5}), 0.5F);
}

TEST(DecoderConfigTest, Qwen2SlidesInTheUpperLayersOnlyWhenAsked) {
  const nlohmann::json qwen = {
      {"model_type", "qwen2"}, {"num_hidden_layers", 3}, {"sliding_window", 5}, {"max_window_layers", 1}};
  EXPECT_THAT(parse(qwen).windows, ElementsAre(0, 0, 0));
  nlohmann::json sliding = qwen;
  sliding["use_sliding_window"] = true;
  EXPECT_THAT(parse(sliding).windows, ElementsAre(0, 5, 5));
  sliding["layer_types"] = {"sliding_attention", "full_attention", "sliding_attention"};
  EXPECT_THAT(parse(sliding).windows, ElementsAre(5, 0, 5));
  EXPECT_TRUE(parse(qwen).qkv_bias);
  EXPECT_FALSE(parse(qwen).o_bias);
}

TEST(DecoderConfigTest, MistralWindowMayBeNull) {
  EXPECT_THAT(parse({{"model_type", "mistral"}, {"sliding_window", 5}}).windows, ElementsAre(5, 5));
  EXPECT_THAT(parse({{"model_type", "mistral"}, {"sliding_window", nullptr}}).windows, ElementsAre(0, 0));
}

TEST(DecoderConfigTest, Qwen3HasItsOwnHeadDim) {
  const DecoderConfig config = parse({{"model_type", "qwen3"}, {"head_dim", 12}});
  EXPECT_TRUE(config.qk_norm);
  EXPECT_EQ(config.head_dim, 12);
  EXPECT_EQ(config.q_size(), 48);
  EXPECT_EQ(parse({{"model_type", "qwen3"}}).head_dim, 128);
}

TEST(DecoderConfigTest, TokenIdsAsNumberListOrNull) {
  EXPECT_THAT(parse({{"eos_token_id", 7}}).eos_ids, ElementsAre(7));
  EXPECT_THAT(parse({{"eos_token_id", {128001, 128009}}}).eos_ids, ElementsAre(128001, 128009));
  EXPECT_THAT(parse({{"eos_token_id", nullptr}}).eos_ids, ElementsAre());
  EXPECT_EQ(parse({{"bos_token_id", nullptr}}).bos_id, std::nullopt);
}

TEST(DecoderConfigTest, DtypeInBothSpellings) {
  EXPECT_EQ(parse({{"torch_dtype", "bfloat16"}}).dtype, runtime::DType::bfloat16);
  EXPECT_EQ(parse({{"dtype", "float16"}}).dtype, runtime::DType::float16);
  EXPECT_EQ(parse({{"torch_dtype", "torch.bfloat16"}}).dtype, runtime::DType::bfloat16);
  EXPECT_THAT(error_of({{"dtype", "int4"}}), HasSubstr("unsupported dtype \"int4\""));
}

TEST(DecoderConfigTest, ErrorsNameFileKeyAndWhatIsSupported) {
  EXPECT_THAT(error_of({{"model_type", "gpt2"}}),
              AllOf(HasSubstr("unsupported architecture \"gpt2\""), HasSubstr("models/x/config.json: model_type"),
                    HasSubstr("llama, mistral, qwen2, qwen3")));
  EXPECT_THAT(error_of({{"rope_scaling", {{"type", "longrope"}}}}),
              AllOf(HasSubstr("\"longrope\""), HasSubstr("default, linear, llama3, yarn")));
  EXPECT_THAT(error_of({{"hidden_act", "relu"}}), AllOf(HasSubstr("\"relu\""), HasSubstr("silu, gelu_pytorch_tanh")));
  EXPECT_THAT(error_of({{"hidden_size", "REMOVE"}}), HasSubstr("models/x/config.json: hidden_size"));
  EXPECT_THAT(error_of({{"hidden_size", "big"}}), HasSubstr("a whole number is required, not \"big\""));
  EXPECT_THAT(error_of({{"rope_scaling", {{"type", "linear"}}}}), HasSubstr("rope_scaling.factor"));
  EXPECT_THAT(error_of({{"partial_rotary_factor", 0.5}}), HasSubstr("partial rotary embedding is unsupported"));
}

TEST(DecoderConfigTest, RefusesSizesThatDoNotFit) {
  EXPECT_THAT(error_of({{"num_key_value_heads", 3}}), HasSubstr("4 heads cannot share 3 key/value heads"));
  EXPECT_THAT(error_of({{"hidden_size", 33}}), HasSubstr("no multiple of num_attention_heads"));
  EXPECT_THAT(error_of({{"head_dim", 7}}), HasSubstr("7 is odd"));
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                          "intermediate_size", "vocab_size", "max_position_embeddings"}) {
    for (const int64_t size : {int64_t{0}, int64_t{-4}, int64_t{1} << 50}) {
      EXPECT_THAT(error_of({{key, size}, {"head_dim", 8}}), HasSubstr("is not between 1 and")) << key << " " << size;
    }
  }
  EXPECT_THAT(error_of({{"rms_norm_eps", -1.0}}), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(error_of({{"rope_theta", 0.0}}), HasSubstr("rope_theta"));
  EXPECT_THAT(error_of({{"model_type", "mistral"}, {"sliding_window", -5}}), HasSubstr("sliding_window"));
}

TEST(DecoderConfigTest, RefusesDamagedJson) {
  EXPECT_THAT(error_of_text("{\"model_type\": "), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(error_of_text("[1]"), HasSubstr("a JSON object is required"));
  EXPECT_THROW(read_decoder_config("/no/such/config.json"), runtime::Error);
}

TEST(DecoderConfigTest, WritesUnknownKeysBackAndBothSpellings) {
  const DecoderConfig config =
      parse({{"my_key", {{"a", 1}}},
             {"dtype", "float32"},
             {"rope_parameters", {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 9.0}}}});
  const auto written = nlohmann::json::parse(config_json_text(config, runtime::DType::bfloat16));
  EXPECT_EQ(written["my_key"]["a"], 1);
  EXPECT_EQ(written["dtype"], "bfloat16");
  EXPECT_EQ(written["torch_dtype"], "bfloat16");
  EXPECT_EQ(written["architectures"][0], "LlamaForCausalLM");
  EXPECT_EQ(written["rope_theta"], 9.0);
  EXPECT_EQ(written["rope_scaling"]["rope_type"], "linear");
  EXPECT_EQ(written["rope_parameters"]["rope_theta"], 9.0);
  EXPECT_EQ(parse_decoder_config(written.dump(), "again").rope, config.rope);
}

TEST(ArchitectureRegistry, NamesAreUniqueAndFound) {
  std::vector<std::string_view> names;
  for (const Architecture* entry : architectures()) {
    names.push_back(entry->model_type);
    EXPECT_EQ(find_architecture(entry->model_type), entry);
    EXPECT_FALSE(entry->summary.empty());
  }
  EXPECT_THAT(names, ::testing::IsSupersetOf({"llama", "mistral", "qwen2", "qwen3"}));
  EXPECT_EQ(find_architecture("gpt2"), nullptr);
}

}  // namespace
}  // namespace subspect::model
