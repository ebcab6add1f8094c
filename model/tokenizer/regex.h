// Regular expressions of tokenizer files, which are written for Oniguruma, run by PCRE2 with its JIT compiler.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace subspect::model::tokenizer {

/// What matching needs besides the expression; one per thread.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(RegexScratch&&) noexcept;

 private:
  friend class Regex;
  struct State;
  std::unique_ptr<State> state_;
};

using Ranges = std::vector<std::pair<size_t, size_t>>;

/// A compiled expression; may be used by several threads, each with its own scratch.
class Regex {
 public:
  /// @param where names the component in errors. Throws Error for an expression that cannot be compiled or uses what
  /// means something else in PCRE2.
  Regex(std::string_view pattern, const std::string& where);
  /// An expression that matches `text` literally.
  static Regex literal(std::string_view text, const std::string& where);
  ~Regex();
  Regex(Regex&&) noexcept;

  /// Appends the ranges of all matches in valid UTF-8, from left to right; empty matches are left out.
  void find_all(std::string_view text, RegexScratch& scratch, Ranges& matches) const;

 private:
  Regex() = default;
  void compile(const std::string& translated, std::string_view pattern, const std::string& where);

  struct Code;
  std::unique_ptr<Code> code_;
};

struct JsonPart;

/// A "pattern" of tokenizer.json: {"Regex": ...}, or {"String": ...} that matches literally.
Regex read_pattern(const JsonPart& part);

/// The pattern with Oniguruma's meaning of \s, \w, \h and \b spelled out for PCRE2 (see the .cpp for the differences).
std::string translate_oniguruma(std::string_view pattern, const std::string& where);

}  // namespace subspect::model::tokenizer
