// generation_config.json: what a model directory says about generating with it.
#pragma once

#include <filesystem>

namespace subspect::model {

/// `repetition_penalty`, 1 where the file or the key is absent. Throws Error for a value that is not above 0.
double read_repetition_penalty(const std::filesystem::path& directory);

}  // namespace subspect::model
