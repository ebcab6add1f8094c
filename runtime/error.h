// The project's exceptions. What reaches the user is one line: `subspect: error: WHAT (WHERE): WHAT TO DO`.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace subspect::runtime {

/// Work that failed (exit code 1): `what_happened`, `where` (a file, a tensor, an op; may be empty) and `advice`.
class Error : public std::runtime_error {
 public:
  Error(std::string what_happened, std::string where, std::string advice);

  const std::string& what_happened() const { return what_happened_; }
  const std::string& where() const { return where_; }
  const std::string& advice() const { return advice_; }

  /// The code the program ends with: 1 here, 2 for usage, 130 when interrupted.
  virtual int exit_code() const { return 1; }

 private:
  std::string what_happened_;
  std::string where_;
  std::string advice_;
};

/// A wrong command line or configuration (exit code 2).
class UsageError : public Error {
 public:
  using Error::Error;
  int exit_code() const override { return 2; }
};

/// The user asked to stop; what was done is kept and the same command goes on (exit code 130).
class Interrupted : public Error {
 public:
  using Error::Error;
  int exit_code() const override { return 130; }
};

/// Throws `Error` for a violated precondition of an op: "[op] what is required. Received what came."
template <class... Args>
void require(bool condition, std::string_view op, fmt::format_string<Args...> message, Args&&... args) {
  if (!condition) {
    throw Error(fmt::format("[{}] {}", op, fmt::format(message, std::forward<Args>(args)...)), "",
                "this is a mistake in the calling code or in the shapes of its input");
  }
}

}  // namespace subspect::runtime
