// Hostile data: the first byte chooses the format, the rest is the file. Every record must be an object whose fields
// can be asked for.
#include <array>
#include <nlohmann/json.hpp>

#include "experiments/data/records.h"
#include "runtime/error.h"
#include "tests/fuzz/fuzz.h"

namespace subspect::fuzz {

namespace {

constexpr std::array<const char*, 6> names = {"rows.jsonl",    "rows.json",    "rows.csv",
                                              "rows.jsonl.gz", "rows.csv.zst", "rows.json.xz"};

}  // namespace

void fuzz_one(std::string_view input) {
  if (input.empty()) return;
  const char* name = names.at(static_cast<unsigned char>(input.front()) % names.size());
  int64_t records = 0;
  experiments::read_records(input_file(name, input.substr(1)),
                            [&](const nlohmann::json& record, const experiments::RecordPlace& place) {
                              FUZZ_CHECK(record.is_object());
                              FUZZ_CHECK(place.index == records++);
                              for (const auto& [key, value] : record.items()) {
                                FUZZ_CHECK(experiments::find_field(record, key) == &value);
                                try {
                                  experiments::text_field(record, key, place);
                                } catch (const runtime::Error&) {
                                  FUZZ_CHECK(value.is_structured());  // lists and objects are no text
                                }
                              }
                              return true;
                            });
}

}  // namespace subspect::fuzz
