// Shapes from the configuration against the checkpoints that Transformers wrote, and the known sizes of the paper's
// models.
#include "model/tensor_shapes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "model/inspect.h"
#include "runtime/io/safetensors.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

namespace fs = std::filesystem;

TEST(TensorShapes, AreThoseOfTheCheckpoints) {
  for (const std::string& name : testing::fixture_names()) {
    const auto checkpoint = runtime::io::SafetensorsSet::open(testing::fixture(name));
    std::vector<runtime::Shape> stored;
    for (const std::string& tensor : checkpoint.names()) stored.push_back(checkpoint.info(tensor).shape);
    std::vector<runtime::Shape> planned = tensor_shapes(read_decoder_config(testing::fixture(name) / "config.json"));
    std::sort(stored.begin(), stored.end());
    std::sort(planned.begin(), planned.end());
    EXPECT_EQ(planned, stored) << name;
  }
}

TEST(TensorShapes, OfThePapersModelsHaveTheirPublishedSizes) {
  const fs::path hub = fs::path(SUBSPECT_SOURCE_DIR) / "configs" / "models" / "hub";
  int configs = 0;
  for (const auto& [name, parameters] : {std::pair{"meta-llama--Llama-2-7b-hf", int64_t{6'738'415'616}},
                                         {"meta-llama--Llama-2-7b-chat-hf", int64_t{6'738'415'616}},
                                         {"meta-llama--Llama-3.2-1B", int64_t{1'235'814'400}},
                                         {"meta-llama--Llama-3.2-1B-Instruct", int64_t{1'235'814'400}},
                                         {"Qwen--Qwen2.5-1.5B", int64_t{1'543'714'304}},
                                         {"Qwen--Qwen2.5-1.5B-Instruct", int64_t{1'543'714'304}},
                                         {"Qwen--Qwen2.5-3B", int64_t{3'085'938'688}},
                                         {"Qwen--Qwen2.5-3B-Instruct", int64_t{3'085'938'688}},
                                         {"Qwen--Qwen2.5-7B", int64_t{7'615'616'512}},
                                         {"Qwen--Qwen2.5-7B-Instruct", int64_t{7'615'616'512}}}) {
    const DecoderConfig config = read_decoder_config(hub / (std::string(name) + ".json"));
    int64_t count = 0;
    for (const runtime::Shape& shape : tensor_shapes(config)) {
      int64_t elements = 1;
      for (const int64_t size : shape) elements *= size;
      count += elements;
    }
    EXPECT_EQ(count, parameters) << name;
    EXPECT_EQ(count_parameters(config).total(), parameters) << name;
    ++configs;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(hub), {}), configs);
}

}  // namespace
}  // namespace subspect::model
