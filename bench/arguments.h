// The command line and the `main` of every benchmark program.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::bench {

/// The number that `text` is; throws UsageError naming the argument for anything else.
template <class Number = int64_t>
Number to_number(std::string_view name, std::string_view text);

/// Arguments of the form --NAME=VALUE, or --NAME alone. Each is taken out once; `finish` rejects what is left.
class Arguments {
 public:
  Arguments(int argc, const char* const* argv);

  /// The last value given for `name`, else `otherwise`.
  std::string text(std::string_view name, std::string otherwise);
  int64_t number(std::string_view name, int64_t otherwise);
  double real(std::string_view name, double otherwise);
  /// A list with commas between its elements.
  std::vector<std::string> list(std::string_view name, std::string_view otherwise);
  bool flag(std::string_view name);

  /// Throws UsageError that names the first argument that nothing has taken.
  void finish() const;

 private:
  std::vector<std::string> left_;
};

/// What a program does after its arguments are split; returns the exit code.
using Body = std::function<int(Arguments& arguments)>;

/// Runs `body`; prints `usage` for --help, and one line for an error, whose exit code it returns.
int run_program(std::string_view name, std::string_view usage, int argc, const char* const* argv, const Body& body);

}  // namespace subspect::bench
