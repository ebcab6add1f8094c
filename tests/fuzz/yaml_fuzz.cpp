// A hostile configuration: what is accepted must resolve to a YAML that reads back as the same.
#include "experiments/launch.h"
#include "tests/fuzz/fuzz.h"

namespace subspect::fuzz {

void fuzz_one(std::string_view input) {
  const experiments::Job job = experiments::read_job(input_file("study.yaml", input), {}, "out");
  const auto resolved = input_file("resolved.yaml", job.options.config_yaml);
  const experiments::Job again = experiments::read_job(resolved, {}, "out");
  FUZZ_CHECK(again.options.config_yaml == job.options.config_yaml);
}

}  // namespace subspect::fuzz
