// Escaping and number formatting of the report.
#include "experiments/report/markup.h"

#include <fmt/format.h>

#include <cmath>

#include "model/tokenizer/unicode.h"

namespace subspect::experiments::report {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

void append_ascii(std::string& out, char c) {
  switch (c) {
    case '&':
      out += "&amp;";
      return;
    case '<':
      out += "&lt;";
      return;
    case '>':
      out += "&gt;";
      return;
    case '"':
      out += "&quot;";
      return;
    case '\'':
      out += "&#39;";
      return;
    case '\t':
    case '\n':
    case '\r':
      out += c;
      return;
    default:
      break;
  }
  const auto code = static_cast<unsigned char>(c);
  if (code < 0x20 || code == 0x7F) {
    out += replacement;
  } else {
    out += c;
  }
}

}  // namespace

std::string escape(std::string_view text) {
  std::string valid;
  model::tokenizer::append_utf8_lossy(valid, text, true);
  std::string out;
  out.reserve(valid.size() + valid.size() / 8);
  for (const char c : valid) {
    if (static_cast<unsigned char>(c) < 0x80) {
      append_ascii(out, c);
    } else {
      out += c;
    }
  }
  return out;
}

std::string format_number(double value) {
  if (std::isnan(value)) return "–";
  if (std::isinf(value)) return value > 0 ? "∞" : "−∞";
  if (value == 0) return "0";
  const double magnitude = std::abs(value);
  if (value == std::floor(value) && magnitude < 1e15) return fmt::format("{:.0f}", value);
  if (magnitude >= 1e5 || magnitude < 1e-4) return fmt::format("{:.3g}", value);
  if (magnitude >= 1e3) return fmt::format("{:.1f}", value);
  return fmt::format("{:.4g}", value);
}

std::string format_fixed(double value, int decimals) {
  if (std::isnan(value)) return "–";
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.front() == '-' && text.find_first_not_of("-0.") == std::string::npos) text.erase(0, 1);
  return text;
}

std::string format_count(int64_t value) {
  const std::string digits = std::to_string(value < 0 ? -value : value);
  std::string out = value < 0 ? "−" : "";
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += "\u202F";
    out += digits[i];
  }
  return out;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "–";
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

std::string slug(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool keep = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (keep) {
      out += upper ? static_cast<char>(c - 'A' + 'a') : c;
    } else if (!out.empty() && out.back() != '-') {
      out += '-';
    }
    if (out.size() >= 60) break;
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.empty() ? "x" : out;
}

int64_t code_points(std::string_view text) {
  return model::tokenizer::count_code_points(text);
}

std::string shorten(std::string_view text, int64_t limit) {
  if (code_points(text) <= limit) return std::string(text);
  int64_t seen = 0;
  size_t end = 0;
  while (end < text.size()) {
    const bool starts = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (starts && seen == limit - 1) break;
    seen += starts;
    ++end;
  }
  return std::string(text.substr(0, end)) + "…";
}

}  // namespace subspect::experiments::report
