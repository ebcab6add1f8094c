#include "runtime/error.h"

#include <utility>

namespace subspect::runtime {

namespace {

std::string one_line(const std::string& what_happened, const std::string& where, const std::string& advice) {
  std::string line = what_happened;
  if (!where.empty()) line += " (" + where + ")";
  if (!advice.empty()) line += ": " + advice;
  return line;
}

}  // namespace

Error::Error(std::string what_happened, std::string where, std::string advice)
    : std::runtime_error(one_line(what_happened, where, advice)),
      what_happened_(std::move(what_happened)),
      where_(std::move(where)),
      advice_(std::move(advice)) {}

}  // namespace subspect::runtime
