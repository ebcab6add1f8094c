// Reading of bench/shapes, and the flops of a step.
#include "bench/shapes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "runtime/error.h"

namespace subspect::bench {
namespace {

/// In the working folder, which is the project's root or the bundle's, else where the program was built.
std::filesystem::path shapes_folder() {
  const std::filesystem::path here = "bench/shapes";
  return std::filesystem::is_directory(here) ? here : std::filesystem::path(SUBSPECT_SOURCE_DIR) / here;
}

}  // namespace

model::DecoderConfig read_shape(const std::string& name) {
  const std::filesystem::path folder = shapes_folder();
  const std::filesystem::path file = folder / (name + ".json");
  if (std::filesystem::is_regular_file(file)) return model::read_decoder_config(file);
  std::vector<std::string> known;
  if (std::filesystem::is_directory(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) known.push_back(entry.path().stem().string());
  }
  std::sort(known.begin(), known.end());
  throw runtime::UsageError(fmt::format("there is no model \"{}\"", name), folder.string(),
                            fmt::format("known are: {}", fmt::join(known, ", ")));
}

ModelChoice take_models(const Session& session, Arguments& arguments, std::string_view on_cpu,
                        std::string_view dtypes) {
  ModelChoice choice;
  choice.models = arguments.list("models", session.quick() ? "mini" : session.on_gpu() ? "0.5b,1.5b,3b,7b" : on_cpu);
  for (const std::string& name : arguments.list("dtypes", dtypes)) choice.dtypes.push_back(runtime::parse_dtype(name));
  return choice;
}

double step_flops_per_token(const model::DecoderConfig& config, int64_t length) {
  const auto layers = static_cast<double>(config.layers);
  const auto hidden = static_cast<double>(config.hidden_size);
  const auto intermediate = static_cast<double>(config.intermediate_size);
  const double products = 3 * intermediate + hidden + static_cast<double>(config.qkv_size());
  return 6 * layers * hidden * products + 6 * static_cast<double>(config.vocab_size) * hidden +
         6 * layers * static_cast<double>(config.q_size()) * static_cast<double>(length);
}

}  // namespace subspect::bench
