// The word that was meant: names in errors.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace subspect::runtime {

/// The candidate with the fewest edits (Levenshtein) from `word`; empty when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace subspect::runtime
