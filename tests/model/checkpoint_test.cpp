// Directories read and written: what comes back, which files appear, and what is refused.
#include "model/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/error.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

namespace fs = std::filesystem;
using runtime::DType;
using runtime::Tensor;
using runtime::io::SafetensorsSet;
using ::testing::AllOf;
using ::testing::HasSubstr;

class CheckpointOfFamily : public ::testing::TestWithParam<std::string> {};

std::set<std::string> files_of(const fs::path& directory) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) names.insert(entry.path().filename());
  return names;
}

void expect_same_weights(const fs::path& a, const fs::path& b) {
  const auto left = SafetensorsSet::open(a);
  const auto right = SafetensorsSet::open(b);
  EXPECT_EQ(std::set(left.names().begin(), left.names().end()), std::set(right.names().begin(), right.names().end()));
  for (const std::string& name : left.names()) {
    const Tensor x = left.tensor(name);
    const Tensor y = right.tensor(name);
    ASSERT_EQ(x.shape(), y.shape()) << name;
    ASSERT_EQ(x.dtype(), y.dtype()) << name;
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())), 0) << name;
  }
}

TEST_P(CheckpointOfFamily, ComesBackBitByBit) {
  const testing::TemporaryDirectory temporary;
  const fs::path source = testing::fixture(GetParam());
  const Decoder decoder = load_decoder(testing::cpu(), source);
  const fs::path output = temporary.path() / "model";
  save_checkpoint(testing::cpu(), decoder, output, {.source = source});
  EXPECT_EQ(files_of(output), (std::set<std::string>{"config.json", "generation_config.json", "model.safetensors"}));
  EXPECT_EQ(files_of(temporary.path()), (std::set<std::string>{"model"}));
  EXPECT_EQ(testing::read_text(output / "generation_config.json"),
            testing::read_text(source / "generation_config.json"));
  EXPECT_EQ(SafetensorsSet::open(output).files()[0].metadata().at("format"), "pt");
  expect_same_weights(source, output);
  // Everything that config.json said is still there.
  const auto before = nlohmann::json::parse(testing::read_text(source / "config.json"));
  const auto after = nlohmann::json::parse(testing::read_text(output / "config.json"));
  for (const auto& item : before.items()) EXPECT_EQ(after[item.key()], item.value()) << item.key();
  const std::string dtype = GetParam().ends_with("_bf16") ? "bfloat16" : "float32";
  EXPECT_EQ(after["dtype"], dtype);
  EXPECT_EQ(after["torch_dtype"], dtype);
}

INSTANTIATE_TEST_SUITE_P(Families, CheckpointOfFamily, ::testing::ValuesIn(testing::fixture_names()),
                         [](const auto& family) { return family.param; });

TEST(CheckpointTest, ShardsComeBack) {
  const testing::TemporaryDirectory temporary;
  const fs::path source = testing::fixture("qwen2");
  const Decoder decoder = load_decoder(testing::cpu(), source);
  save_checkpoint(testing::cpu(), decoder, temporary.path() / "m", {.max_shard_bytes = 20'000});
  EXPECT_GT(SafetensorsSet::open(temporary.path() / "m").files().size(), 2U);
  EXPECT_TRUE(fs::exists(temporary.path() / "m" / "model.safetensors.index.json"));
  expect_same_weights(source, temporary.path() / "m");
}

TEST(CheckpointTest, ConvertsDtypes) {
  const testing::TemporaryDirectory temporary;
  const Decoder decoder = testing::small_decoder(1);
  for (const DType dtype : {DType::bfloat16, DType::float16, DType::float32}) {
    const fs::path output = temporary.path() / std::string(runtime::name(dtype));
    save_checkpoint(testing::cpu(), decoder, output, {.dtype = dtype});
    EXPECT_EQ(SafetensorsSet::open(output).info("model.norm.weight").dtype, dtype);
    const Decoder loaded = load_decoder(testing::cpu(), output);
    EXPECT_EQ(loaded.config().dtype, dtype);
    EXPECT_EQ(loaded.dtype(), dtype == DType::bfloat16 ? DType::bfloat16 : DType::float32);
    // 2^-9 and 2^-12 are half a unit in the last place; values below float16's normal range round more coarsely.
    const double bound = dtype == DType::bfloat16 ? 0x1p-9 : dtype == DType::float16 ? 0x1p-11 : 0.0;
    for (const auto& [name, tensor] : named_weights(loaded)) {
      EXPECT_LE(testing::relative_error(tensor, named_weights(decoder).at(name)), bound) << name;
    }
  }
}

TEST(CheckpointTest, TiedModelMayHoldItsHeadOrNot) {
  NamedTensors tensors;
  const auto set = SafetensorsSet::open(testing::fixture("llama3"));
  for (const std::string& name : set.names()) tensors.emplace(name, set.tensor(name));
  ASSERT_FALSE(tensors.contains("lm_head.weight"));
  tensors.emplace("lm_head.weight", tensors.at("model.embed_tokens.weight"));
  tensors.emplace("model.layers.0.self_attn.rotary_emb.inv_freq", tensors.at("model.norm.weight"));
  Decoder decoder(testing::cpu(), read_decoder_config(testing::fixture("llama3") / "config.json"), DType::float32);
  load_weights(testing::cpu(), decoder, tensors, "memory");
  EXPECT_FALSE(named_weights(decoder).contains("lm_head.weight"));
  EXPECT_EQ(&decoder.lm_head(), &decoder.embedding());
}

TEST(CheckpointTest, CopiesTokenizerFiles) {
  const testing::TemporaryDirectory temporary;
  const fs::path source = temporary.path() / "source";
  fs::create_directory(source);
  testing::write_text(source / "tokenizer.json", "{\"a\": 1}");
  testing::write_text(source / "chat_template.jinja", "{{ x }}");
  testing::write_text(source / "pytorch_model.bin", "not this");
  save_checkpoint(testing::cpu(), testing::small_decoder(1), temporary.path() / "m", {.source = source});
  EXPECT_EQ(files_of(temporary.path() / "m"),
            (std::set<std::string>{"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                                   "chat_template.jinja"}));
  EXPECT_EQ(testing::read_text(temporary.path() / "m" / "tokenizer.json"), "{\"a\": 1}");
}

TEST(CheckpointTest, OverwritesOnlyWhenAllowed) {
  const testing::TemporaryDirectory temporary;
  const fs::path output = temporary.path() / "m";
  save_checkpoint(testing::cpu(), testing::small_decoder(1), output, {});
  testing::write_text(output / "stale", "x");
  EXPECT_THROW(save_checkpoint(testing::cpu(), testing::small_decoder(2), output, {}), runtime::Error);
  EXPECT_TRUE(fs::exists(output / "stale"));
  save_checkpoint(testing::cpu(), testing::small_decoder(2), output, {.overwrite = true});
  EXPECT_FALSE(fs::exists(output / "stale"));
  EXPECT_EQ(files_of(temporary.path()), (std::set<std::string>{"m"}));
  const Decoder loaded = load_decoder(testing::cpu(), output);
  EXPECT_EQ(testing::relative_error(named_weights(loaded).at("model.embed_tokens.weight"),
                                    named_weights(testing::small_decoder(2)).at("model.embed_tokens.weight")),
            0.0);
}

/// The message of the error that loading the small model's tensors gives after `change`.
template <class Change>
std::string error_after(Change change) {
  const Decoder source = testing::small_decoder(1);
  NamedTensors tensors;
  for (const auto& [name, tensor] : named_weights(source)) tensors.emplace(name, tensor.clone(testing::cpu()));
  change(tensors);
  Decoder decoder = testing::small_decoder(2);
  try {
    load_weights(testing::cpu(), decoder, tensors, "shards/x.safetensors");
  } catch (const runtime::Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(CheckpointTest, ErrorsNameTensorAndFile) {
  const std::string q = "model.layers.1.self_attn.q_proj.weight";
  EXPECT_EQ(error_after([](NamedTensors&) {}), "no error");
  EXPECT_THAT(error_after([&](NamedTensors& t) { t.erase(q); }),
              AllOf(HasSubstr("tensor " + q + " is missing"), HasSubstr("shards/x.safetensors")));
  EXPECT_THAT(error_after([&](NamedTensors& t) { t.emplace("model.extra", t.at(q)); }),
              AllOf(HasSubstr("unexpected tensor model.extra"), HasSubstr("shards/x.safetensors")));
  EXPECT_THAT(error_after([](NamedTensors& t) { t.emplace("lm_head.bias", t.at("model.norm.weight")); }),
              HasSubstr("unexpected tensor lm_head.bias"));
  EXPECT_THAT(error_after([&](NamedTensors& t) { t.at(q) = t.at(q).narrow(0, 0, 8); }),
              AllOf(HasSubstr(q + " has shape [8, 32], config.json asks for [32, 32]"), HasSubstr("shards/x")));
  EXPECT_THAT(error_after([&](NamedTensors& t) { t.at(q) = t.at(q).to(testing::cpu(), DType::int32); }),
              HasSubstr("holds int32"));
}

TEST(CheckpointTest, NamesWhatIsNotANumber) {
  const std::string q = "model.layers.0.mlp.up_proj.weight";
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    EXPECT_THAT(error_after([&](NamedTensors& t) { t.at(q).data<float>()[37] = bad; }),
                AllOf(HasSubstr(q), HasSubstr("[1, 5]"), HasSubstr("shards/x.safetensors")));
  }
}

TEST(CheckpointTest, MissingDirectoryIsAnError) {
  EXPECT_THROW(load_decoder(testing::cpu(), "/no/such/model"), runtime::Error);
}

}  // namespace
}  // namespace subspect::model
