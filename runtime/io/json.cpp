// JSON from files of others.
#include "runtime/io/json.h"

#include <fmt/format.h>

#include "runtime/error.h"

namespace subspect::runtime::io {

nlohmann::json parse_json(std::string_view text, const std::string& where, const std::string& advice) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw Error(fmt::format("not valid JSON at byte {}", error.byte), where, advice);
  } catch (const nlohmann::json::exception& error) {  // a number that no double holds
    throw Error(fmt::format("not valid JSON: {}", error.what()), where, advice);
  }
}

nlohmann::json parse_json_object(std::string_view text, const std::string& where) {
  const std::string advice = "the file is damaged: fetch it again";
  nlohmann::json root = parse_json(text, where, advice);
  if (!root.is_object()) throw Error("a JSON object is required", where, advice);
  return root;
}

}  // namespace subspect::runtime::io
