// Text that goes into the report: escaping for HTML and SVG, numbers as people read them, names for files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace subspect::experiments::report {

/// `text` for HTML or SVG content and for quoted attributes: & < > " ' are escaped, control characters that XML
/// forbids are replaced by U+FFFD, and so are bytes that are not valid UTF-8.
std::string escape(std::string_view text);

/// A number for a table or a tick: integers as such, 4 significant digits otherwise, an en dash for NaN.
std::string format_number(double value);

/// A number with exactly `decimals` digits behind the point, an en dash for NaN. Never "-0.00".
std::string format_fixed(double value, int decimals);

/// An integer with thin spaces between groups of three digits: 12 345.
std::string format_count(int64_t value);

/// Seconds as "41 s", "3 min 20 s" or "2 h 5 min".
std::string format_duration(double seconds);

/// `text` as part of a file name or an HTML id: lower-case letters, digits and single hyphens, at most 60 of them.
std::string slug(std::string_view text);

/// How many code points `text` has (for estimating widths).
int64_t code_points(std::string_view text);

/// `text` cut to at most `limit` code points, the last of which is then an ellipsis.
std::string shorten(std::string_view text, int64_t limit);

}  // namespace subspect::experiments::report
