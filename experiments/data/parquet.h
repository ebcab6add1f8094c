// Parquet files by Apache Arrow, where the build found it (cmake/SubspectArrow.cmake).
#pragma once

#include <filesystem>

#include "experiments/data/records.h"

namespace subspect::experiments {

/// Whether this build has Apache Arrow.
bool can_read_parquet();

/// Reads the rows of a Parquet file in order, a batch of them in memory at a time. Numbers, booleans, text, lists and
/// structs become what they are in JSON, null becomes null, every other type (dates, decimals) the text that Arrow
/// writes for it. False when `take` ended the reading. Throws Error naming the file for one that is damaged or holds
/// invalid UTF-8, and in a build without Arrow.
bool read_parquet(const std::filesystem::path& file, const RecordFunction& take);

}  // namespace subspect::experiments
