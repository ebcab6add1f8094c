// What plans and running experiments ask of their contexts.
#include "experiments/experiment.h"

#include "runtime/error.h"
#include "runtime/interrupt.h"

namespace subspect::experiments {

std::string PlanContext::describing(const Path& model) const {
  if (model.stage().empty()) return model.string();
  std::error_code ignored;
  if (std::filesystem::exists(model.filesystem() / "config.json", ignored)) return model.string();
  return planned_model ? planned_model(model) : std::string();
}

std::filesystem::path PlanContext::config_json(const std::string& described) const {
  if (std::filesystem::path(described).extension() == ".json") return described;
  if (has_weights(described)) return model::find_model(described, downloads) / "config.json";
  std::string name = described.substr(0, described.find('@'));
  if (const size_t slash = name.find('/'); slash != std::string::npos) name.replace(slash, 1, "--");
  std::filesystem::path config = assumed->model_configs / (name + ".json");
  std::error_code ignored;
  if (std::filesystem::exists(config, ignored)) return config;
  throw runtime::UsageError("the model is not there, and nothing is known of it", described,
                            fmt::format("download it, or put its config.json at {}", config.string()));
}

bool PlanContext::has_weights(const std::string& described) const {
  if (std::filesystem::path(described).extension() == ".json") return false;
  if (assumed == nullptr) return true;
  try {
    model::find_model(described, downloads);
    return true;
  } catch (const runtime::Error&) {
    assumed->missing.insert("model " + described);
    return false;
  }
}

std::filesystem::path PlanContext::tokenizer_directory(const Path& path) const {
  std::error_code ignored;
  if (!path.stage().empty() && !std::filesystem::exists(path.filesystem() / "tokenizer.json", ignored)) return {};
  if (std::filesystem::is_directory(path.filesystem(), ignored)) return path.filesystem();
  return has_weights(path.string()) ? model::find_model(path.string(), downloads) : std::filesystem::path();
}

std::optional<model::DecoderConfig> PlanContext::decoder_config(const Path& model) const {
  const std::string described = describing(model);
  if (described.empty()) return std::nullopt;
  return model::read_decoder_config(config_json(described));
}

bool PlanContext::require_file(const Path& path, std::string_view key) const {
  std::error_code ignored;
  if (std::filesystem::exists(path.filesystem(), ignored)) return true;
  if (!path.stage().empty()) return false;
  const bool is_pattern = path.filesystem().filename().string().find_first_of("*?[") != std::string::npos;
  if (is_pattern && std::filesystem::is_directory(path.filesystem().parent_path(), ignored)) return true;
  if (assumed == nullptr) {
    throw runtime::UsageError(fmt::format("there is no file for '{}'", key), path.string(), "check the path");
  }
  assumed->missing.insert("file " + path.string());
  return false;
}

bool RunContext::interrupted() const {
  const bool requested = runtime::interrupt_requested();
  return ranks == nullptr ? requested : ranks->any(requested);
}

void RunContext::stop() const {
  throw runtime::Interrupted("interrupted", dir.path().string(), "run the same command again to go on");
}

void RunContext::stop_if_interrupted() const {
  if (interrupted()) stop();
}

}  // namespace subspect::experiments
