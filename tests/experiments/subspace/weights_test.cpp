// Checkpoints as the subspace experiments read them.
#include "experiments/subspace/weights.h"

#include <fstream>

#include "runtime/error.h"
#include "tests/experiments/subspace/subspace_fixture.h"

namespace subspect::experiments::subspace {
namespace {

class Weights : public testing::SubspaceTest {};

TEST_F(Weights, TiedEmbeddingsAreThereOnce) {
  testing::Checkpoint checkpoint = testing::random_checkpoint(1);
  checkpoint.emplace("lm_head.weight", checkpoint.at("model.embed_tokens.weight"));
  const std::filesystem::path directory = save("model", checkpoint);
  const auto with_config = [&](bool tied) {
    std::ofstream(directory / "config.json")
        << R"({"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":12,"intermediate_size":20,)"
        << R"("num_hidden_layers":2,"num_attention_heads":1,"num_key_value_heads":1,"vocab_size":40,)"
        << R"("max_position_embeddings":32,"rms_norm_eps":1e-5,"tie_word_embeddings":)" << (tied ? "true}" : "false}");
    return WeightSource::open("m", directory);
  };
  EXPECT_EQ(with_config(true).tensors().size(), checkpoint.size() - 1);
  EXPECT_EQ(with_config(false).tensors().size(), checkpoint.size());
}

TEST_F(Weights, IntegerTensorsAreSetAside) {
  const std::vector<runtime::io::TensorSpec> specs = {{"w", runtime::DType::bfloat16, {2, 2}},
                                                      {"ids", runtime::DType::int64, {3}}};
  runtime::io::write_safetensors_set(
      folder_ / "m", specs, [&](size_t i) { return runtime::Tensor::zeros(*stream_, specs[i].shape, specs[i].dtype); });
  const WeightSource source = WeightSource::open("m", folder_ / "m");
  EXPECT_EQ(source.tensors(), std::vector<std::string>{"w"});
  EXPECT_EQ(source.other_tensors(), std::vector<std::string>{"ids"});
  EXPECT_EQ(source.load(*stream_, "w").dtype(), runtime::DType::float32);
}

TEST_F(Weights, DifferencesAreFormedInFloat32) {
  testing::Checkpoint a, b;
  a.emplace("w", testing::values_of({5, 3}, 1));
  b.emplace("w", testing::values_of({5, 3}, 2));
  const WeightSource left = WeightSource::open("a", save("a", a, runtime::DType::bfloat16));
  const WeightSource right = WeightSource::open("b", save("b", b, runtime::DType::float16));
  const runtime::Tensor d = difference(*stream_, left, right, "w");
  const std::vector<float> x = left.stored("w").to_host<float>(*stream_);
  const std::vector<float> y = right.stored("w").to_host<float>(*stream_);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(d.data<float>()[i], x[i] - y[i]);
}

TEST(TensorNames, LayersAndGroups) {
  EXPECT_EQ(decoder_layer_of("model.layers.31.mlp.up_proj.weight"), "layers.31");
  EXPECT_EQ(decoder_layer_of("layers.0.w"), "layers.0");
  EXPECT_EQ(decoder_layer_of("model.norm.weight"), "");
  EXPECT_EQ(decoder_layer_of("model.sublayers.3.w"), "");
  EXPECT_EQ(decoder_layer_of("model.layers.x.w"), "");
  EXPECT_EQ(group_of("model.layers.3.input_layernorm.weight"), "layers.3");
  EXPECT_EQ(group_of("model.embed_tokens.weight"), "embed_tokens");
  EXPECT_EQ(group_of("lm_head.weight"), "lm_head");
  EXPECT_EQ(module_of("model.layers.31.self_attn.q_proj.weight"), "self_attn.q_proj");
  EXPECT_EQ(module_of("model.layers.3.self_attn.q_proj.bias"), "self_attn.q_proj");
  EXPECT_EQ(module_of("model.layers.3.self_attn.k_norm.weight"), "norms");
  EXPECT_EQ(module_of("model.norm.weight"), "norms");
  EXPECT_EQ(module_of("model.embed_tokens.weight"), "embeddings");
  EXPECT_EQ(module_of("lm_head.weight"), "lm_head");
  EXPECT_TRUE(matches_any({"*.mlp.*", "lm_head.weight"}, "lm_head.weight"));
  EXPECT_FALSE(matches_any({"*.mlp.*"}, "lm_head.weight"));
}

}  // namespace
}  // namespace subspect::experiments::subspace
