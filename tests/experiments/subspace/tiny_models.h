// Tiny decoders written to disk with a tokenizer and texts, and experiments run on them from YAML.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <string>

#include "experiments/config/config.h"
#include "model/checkpoint.h"
#include "tests/experiments/subspace/subspace_fixture.h"
#include "tests/experiments/training/tiny_training.h"

namespace subspect::experiments::subspace::testing {

class TinyModelsTest : public SubspaceTest {
 protected:
  /// Random weights of a seed plus `shift` times those of another: models that differ a little.
  void write_model(const std::string& name, uint64_t seed, float shift) {
    const model::DecoderConfig config = model::parse_decoder_config(experiments::testing::tiny_config_json(), "tiny");
    model::Decoder decoder(*stream_, config, runtime::DType::float32);
    model::Decoder other(*stream_, config, runtime::DType::float32);
    decoder.initialize(*stream_, seed);
    other.initialize(*stream_, 17 + static_cast<uint64_t>(std::lround(shift * 1000.0F)));
    const model::NamedTensors addends = model::named_weights(other);
    for (const auto& item : model::named_weights(decoder)) {
      float* values = item.second.data<float>();
      const float* addend = addends.at(item.first).data<float>();
      for (int64_t i = 0; i < item.second.numel(); ++i) values[i] += shift * addend[i];
    }
    std::ofstream(folder_ / "tokenizer.json") << experiments::testing::tiny_tokenizer_json();
    std::ofstream(folder_ / "tokenizer_config.json") << experiments::testing::tiny_tokenizer_config();
    model::save_checkpoint(*stream_, decoder, folder_ / name, {.source = folder_, .dtype = {}});
  }

  /// texts.jsonl: 24 rows of text, of the kinds a and b.
  void write_texts() const {
    std::ofstream texts(folder_ / "texts.jsonl");
    for (int i = 0; i < 24; ++i) {
      texts << fmt::format(R"({{"text": "w{} w{} w{} w{}{}", "kind": "{}"}})", i % 5 + 1, i % 7 + 2, i % 11 + 3,
                           i % 30 + 1, i % 3 == 0 ? " w4 w5" : "", i % 2 == 0 ? "a" : "b")
            << "\n";
    }
  }

  template <class E>
  E read_yaml(const std::string& yaml) const {
    return config_from_yaml<E>(yaml, folder_);
  }
  /// Plans and runs (or resumes) an experiment in folder/name.
  template <class E>
  void run_yaml(const std::string& name, const std::string& yaml) {
    E experiment = read_yaml<E>(yaml);
    runtime::Log log({.console = false});
    experiment.plan(PlanContext{.device = {}, .log = &log, .planned_model = {}});
    in_run(name, [&](RunContext& context) { experiment.run(context); });
  }
};

}  // namespace subspect::experiments::subspace::testing
