// What plans and running experiments ask of their contexts.
#include "experiments/experiment.h"

#include "model/hub.h"
#include "runtime/error.h"
#include "runtime/interrupt.h"

namespace subspect::experiments {

std::string PlanContext::describing(const Path& model) const {
  if (model.stage().empty()) return model.string();
  std::error_code ignored;
  if (std::filesystem::exists(model.filesystem() / "config.json", ignored)) return model.string();
  return planned_model ? planned_model(model) : std::string();
}

std::optional<model::DecoderConfig> PlanContext::decoder_config(const Path& model) const {
  const std::string described = describing(model);
  if (described.empty()) return std::nullopt;
  const std::filesystem::path path = described;
  return model::read_decoder_config(path.extension() == ".json" ? path : model::find_model(described) / "config.json");
}

void PlanContext::require_file(const Path& path, std::string_view key) const {
  std::error_code ignored;
  if (!path.stage().empty() || std::filesystem::exists(path.filesystem(), ignored)) return;
  throw runtime::UsageError(fmt::format("there is no file for '{}'", key), path.string(), "check the path");
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
