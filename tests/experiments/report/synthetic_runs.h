// Run directories made from formulas, for tests of the report: the same bytes every time.
#pragma once

#include <filesystem>
#include <string>

namespace subspect::experiments::report::testing {

/// A model name that would run as a script if it reached the page unescaped.
inline const std::string hostile_name = "<script>window.hacked=1</script>\"'&,x";

/// Knobs of the made-up study.
struct Effect {
  double harmful = 5.0;               ///< harmfulness of the harmful model
  double useful = 0.9;                ///< utility of the useful model
  double basis_shift = 0.0;           ///< how much less energy the basis top_k needs than the others
  double alignment_of_harmful = 0.2;  ///< MSO of harmful/aligned; useful/aligned is 0.18
  double spread = 1.0;                ///< widens the intervals of a projection's scores
  std::string extra_model;            ///< a further fine-tuned model in the projection
};

/// Each writes one run directory of the kind with its tables, config.yaml and environment.json, as `contracts` has
/// them.
void make_finetune(const std::filesystem::path& folder, int steps, double last_loss);
void make_projection(const std::filesystem::path& folder, const Effect& effect = {});
void make_overlap(const std::filesystem::path& folder, const Effect& effect = {});
void make_activations(const std::filesystem::path& folder);
/// A grid of task arithmetic over two updates.
void make_arithmetic(const std::filesystem::path& folder);
/// Two updates by three groups.
void make_ablation(const std::filesystem::path& folder);
/// SafeLoRA of two models with two thresholds and a count; or LoX.
void make_safelora(const std::filesystem::path& folder);
void make_lox(const std::filesystem::path& folder);
void make_steering(const std::filesystem::path& folder);
void make_evaluate(const std::filesystem::path& folder, const Effect& effect = {});
/// All of them as stages, several fine-tunings, one stage that has not begun.
void make_study(const std::filesystem::path& folder, const Effect& effect = {});

/// A fresh folder below the system's temporary one, removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The text of a file; fails the test if it cannot be read.
std::string read_text(const std::filesystem::path& path);
void write_text(const std::filesystem::path& path, const std::string& text);

}  // namespace subspect::experiments::report::testing
