// Splitting of arguments, and errors as one line.
#include "bench/arguments.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <type_traits>

#include "runtime/error.h"

namespace subspect::bench {
namespace {

/// Takes every argument out for which `value_of` gives something; the last one.
template <class ValueOf>
std::optional<std::string> take(std::vector<std::string>& left, const ValueOf& value_of) {
  std::optional<std::string> taken;
  std::erase_if(left, [&](const std::string& argument) {
    std::optional<std::string> value = value_of(argument);
    if (!value) return false;
    taken = std::move(value);
    return true;
  });
  return taken;
}

}  // namespace

template <class Number>
Number to_number(std::string_view name, std::string_view text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw runtime::UsageError(fmt::format("\"{}\" is no {}number", text, std::is_integral_v<Number> ? "whole " : ""),
                              fmt::format("--{}", name), "write the number alone");
  }
  return value;
}
template int64_t to_number<int64_t>(std::string_view name, std::string_view text);
template double to_number<double>(std::string_view name, std::string_view text);

Arguments::Arguments(int argc, const char* const* argv) : left_(argv + std::min(argc, 1), argv + argc) {}

std::string Arguments::text(std::string_view name, std::string otherwise) {
  const std::string prefix = fmt::format("--{}=", name);
  return take(left_,
              [&](const std::string& argument) {
                return argument.starts_with(prefix) ? std::optional(argument.substr(prefix.size())) : std::nullopt;
              })
      .value_or(std::move(otherwise));
}

int64_t Arguments::number(std::string_view name, int64_t otherwise) {
  return to_number(name, text(name, std::to_string(otherwise)));
}

double Arguments::real(std::string_view name, double otherwise) {
  return to_number<double>(name, text(name, fmt::format("{}", otherwise)));
}

std::vector<std::string> Arguments::list(std::string_view name, std::string_view otherwise) {
  const std::string given = text(name, std::string(otherwise));
  std::vector<std::string> elements;
  for (size_t begin = 0; begin <= given.size();) {
    const size_t end = std::min(given.find(',', begin), given.size());
    if (end > begin) elements.push_back(given.substr(begin, end - begin));
    begin = end + 1;
  }
  return elements;
}

bool Arguments::flag(std::string_view name) {
  const std::string wanted = fmt::format("--{}", name);
  return take(left_,
              [&](const std::string& argument) {
                return argument == wanted ? std::optional<std::string>(argument) : std::nullopt;
              })
      .has_value();
}

void Arguments::finish() const {
  if (left_.empty()) return;
  throw runtime::UsageError(fmt::format("\"{}\" is not understood", left_.front()), "",
                            "--help lists the arguments; values are given as --name=value");
}

int run_program(std::string_view name, std::string_view usage, int argc, const char* const* argv, const Body& body) {
  const auto fail = [&](const std::exception& error, int code) {
    std::fputs(fmt::format("{}: error: {}\n", name, error.what()).c_str(), stderr);
    return code;
  };
  try {
    Arguments arguments(argc, argv);
    if (arguments.flag("help")) {
      std::fputs(std::string(usage).c_str(), stdout);
      return 0;
    }
    return body(arguments);
  } catch (const runtime::Error& error) {
    return fail(error, error.exit_code());
  } catch (const std::exception& error) {
    return fail(error, 1);
  }
}

}  // namespace subspect::bench
