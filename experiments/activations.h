// `kind: activations`: whether useful and harmful prompts activate the same directions of the residual stream.
// Method: "Safety Subspaces are Not Linearly Distinct" (arXiv 2505.14185), overlap of representations.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/decomposition.h"
#include "runtime/tensor.h"

namespace subspect::experiments {

/// Where prompts come from: a field of the rows of a file, or a corpus that the program generates.
struct PromptSource {
  InputPath path;
  std::string synthetic;
  std::string split = "train";  ///< of the corpus
  std::string field = "prompt";
  int64_t count = 5000;
  Named<Scalar> where;

  void visit(Fields& f);
  /// `count` prompts, drawn without replacement by the seed. Throws Error when there are fewer.
  std::vector<std::string> read(uint64_t seed) const;
  /// Reads what is there already, for plans: finds missing files and fields, and too few rows.
  void check(const PlanContext& context, uint64_t seed) const;
};

class Activations final : public Experiment {
 public:
  std::string_view kind() const override { return "activations"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  struct Prompts {
    PromptSource useful;
    PromptSource harmful;
    void visit(Fields& f);
  };

  /// The tables of a run.
  struct Tables;

  bool finished(const Tables& tables, const std::string& model, const std::vector<int64_t>& layers) const;
  std::vector<int64_t> layers_of(int64_t decoder_layers) const;
  /// Last-token states of the texts: one matrix for each layer.
  std::vector<runtime::Tensor> states(RunContext& context, const std::string& name,
                                      const std::filesystem::path& directory, const std::vector<int64_t>& layers,
                                      const std::vector<std::string>& texts) const;
  void compare_layer(RunContext& context, const std::string& name, int64_t layer, const runtime::Tensor& useful,
                     const runtime::Tensor& harmful, const runtime::linalg::BasisOptions& basis, Tables& tables) const;
  void probe_layer(RunContext& context, const std::string& name, int64_t layer, const runtime::Tensor& useful,
                   const runtime::Tensor& harmful, Tables& tables) const;

  Named<ModelPath> models_;
  Prompts prompts_;
  std::string prompt_format_ = "raw";
  bool center_ = false;
  AllOr<std::array<double, 2>> layers_ = {.all = false, .value = {0.65, 0.90}};
  std::vector<double> energies_ = {0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6};
  int64_t max_length_ = 512;
  int64_t batch_tokens_ = 4096;
  std::vector<std::string> deviations_;
  int64_t padded_batch_ = 8;
  int64_t resamples_ = 0;
  int64_t probe_folds_ = 5;
  subspace::DecompositionFields decomposition_;
  int64_t seed_ = 123;
};

}  // namespace subspect::experiments
