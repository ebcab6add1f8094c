// JSON from files of others, with errors that name the file.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace subspect::runtime::io {

/// Throws Error at `where` with the byte at which the text stops being JSON. @param advice what to do then.
nlohmann::json parse_json(std::string_view text, const std::string& where, const std::string& advice);

/// The same for the text of a checkpoint's file, which must be an object.
nlohmann::json parse_json_object(std::string_view text, const std::string& where);

}  // namespace subspect::runtime::io
