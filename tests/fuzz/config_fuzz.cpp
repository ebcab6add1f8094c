// A hostile config.json: read, counted, and written back.
#include "model/config.h"
#include "model/inspect.h"
#include "tests/fuzz/fuzz.h"

namespace subspect::fuzz {

void fuzz_one(std::string_view input) {
  const model::DecoderConfig config = model::parse_decoder_config(std::string(input), "config.json");
  FUZZ_CHECK(config.q_size() > 0 && config.kv_size() > 0);
  FUZZ_CHECK(static_cast<int64_t>(config.windows.size()) == config.layers);
  FUZZ_CHECK(model::count_parameters(config).total() > 0);
  const std::string written = model::config_json_text(config, config.dtype);
  const model::DecoderConfig again = model::parse_decoder_config(written, "written.json");
  FUZZ_CHECK(model::count_parameters(again).total() == model::count_parameters(config).total());
}

}  // namespace subspect::fuzz
