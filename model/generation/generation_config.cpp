// Reading of generation_config.json.
#include "model/generation/generation_config.h"

#include "model/config_reader.h"

namespace subspect::model {

double read_repetition_penalty(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "generation_config.json";
  if (!std::filesystem::exists(path)) return 1.0;
  const ConfigReader config = ConfigReader::read(path);
  const double penalty = config.number_or("repetition_penalty", 1.0);
  if (!(penalty > 0)) config.fail("repetition_penalty", "the penalty must be above 0", "correct it");
  return penalty;
}

}  // namespace subspect::model
