// Parquet in a build without Apache Arrow: an error that says what to do.
#include "experiments/data/parquet.h"
#include "runtime/error.h"

namespace subspect::experiments {

bool can_read_parquet() {
  return false;
}

bool read_parquet(const std::filesystem::path& file, const RecordFunction& /*take*/) {
  throw runtime::Error(
      "Parquet needs a build with Apache Arrow, and this is not one", file.string(),
      "convert the file to .jsonl (in Python: pandas.read_parquet(f).to_json(g, orient='records', lines=True)), or "
      "build with Arrow (docs/datasets.md)");
}

}  // namespace subspect::experiments
