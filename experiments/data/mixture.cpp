// Reads sources, removes duplicates, takes shares, and reports.
#include "experiments/data/mixture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "model/tokenizer/unicode.h"
#include "runtime/error.h"
#include "runtime/random.h"

namespace subspect::experiments {

namespace {

namespace unicode = model::tokenizer;

/// Lower case, white space in single blanks and none at the ends. Punctuation stays: "3 + 5" is not "3 - 5".
std::string normalized(std::string_view text) {
  std::vector<char32_t> points;
  for (const char32_t point : unicode::code_points(text)) {
    if (!unicode::is_whitespace(point)) {
      unicode::append_lowercase(points, point);
    } else if (!points.empty() && points.back() != U' ') {
      points.push_back(U' ');
    }
  }
  if (!points.empty() && points.back() == U' ') points.pop_back();
  std::string result;
  for (const char32_t point : points) unicode::append_utf8(result, point);
  return result;
}

/// The same for examples that count as the same. The length keeps ("a", "bc") from ("ab", "c").
std::string key_of(const Example& example, Duplicates duplicates) {
  const bool exact = duplicates == Duplicates::exact;
  const std::string prompt = exact ? example.prompt : normalized(example.prompt);
  return fmt::format("{}:{}{}", prompt.size(), prompt, exact ? example.response : normalized(example.response));
}

void remove_duplicates(std::vector<Dataset>& parts, Duplicates duplicates) {
  if (duplicates == Duplicates::keep) return;
  std::unordered_set<std::string> seen;
  for (Dataset& part : parts) {
    std::vector<Example> kept;
    for (Example& example : part.examples) {
      if (seen.insert(key_of(example, duplicates)).second) kept.push_back(std::move(example));
    }
    part.reports.front().duplicates = static_cast<int64_t>(part.examples.size() - kept.size());
    part.examples = std::move(kept);
  }
}

/// How many examples each source gives: `total` in the proportions of the weights, rounded by largest remainder.
std::vector<int64_t> shares(const std::vector<DataSource>& sources, const std::vector<Dataset>& parts) {
  const double weights = std::accumulate(sources.begin(), sources.end(), 0.0,
                                         [](double sum, const DataSource& source) { return sum + source.weight; });
  int64_t total = std::numeric_limits<int64_t>::max();
  for (size_t i = 0; i < parts.size(); ++i) {
    constexpr double rounding = 1e-9;  // 10 / 0.1 is 100, whatever its last bits say
    const double most = static_cast<double>(parts[i].examples.size()) * weights / sources[i].weight;
    total = std::min(total, static_cast<int64_t>(std::floor(most * (1 + rounding))));
  }
  std::vector<int64_t> given(parts.size());
  std::vector<double> remainders(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    const double exact = static_cast<double>(total) * sources[i].weight / weights;
    given[i] = std::min(static_cast<int64_t>(exact), static_cast<int64_t>(parts[i].examples.size()));
    remainders[i] = exact - static_cast<double>(given[i]);
  }
  std::vector<size_t> order(parts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return remainders[a] > remainders[b]; });
  int64_t missing = total - std::accumulate(given.begin(), given.end(), int64_t{0});
  for (const size_t i : order) {
    if (missing == 0) break;
    if (given[i] == static_cast<int64_t>(parts[i].examples.size())) continue;
    ++given[i];
    --missing;
  }
  return given;
}

void take_shares(const std::vector<DataSource>& sources, std::vector<Dataset>& parts) {
  const auto weighted =
      std::count_if(sources.begin(), sources.end(), [](const auto& source) { return source.weight > 0; });
  if (weighted == 0) return;
  if (weighted != static_cast<std::ptrdiff_t>(sources.size())) {
    throw runtime::UsageError("only some of the data sources have a weight", "data",
                              "give every source a weight, or none (then all examples of all sources are used)");
  }
  const std::vector<int64_t> given = shares(sources, parts);
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].reports.front().beyond_share = static_cast<int64_t>(parts[i].examples.size()) - given[i];
    parts[i].examples.resize(static_cast<size_t>(given[i]));
  }
}

/// The smallest length that at least this share of the sorted lengths does not exceed; empty when there is none.
Cell quantile(const std::vector<int64_t>& sorted, double share) {
  if (sorted.empty()) return {};
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<size_t>(rank, 1) - 1];
}

}  // namespace

Dataset read_mixture(const std::vector<DataSource>& sources, const MixtureOptions& options) {
  std::vector<Dataset> parts;
  for (size_t i = 0; i < sources.size(); ++i) {
    const uint64_t stream = runtime::stream_of(fmt::format("data.{}", i));
    parts.push_back(read_source(sources[i], runtime::Random(options.seed, stream).next_u64()));
  }
  remove_duplicates(parts, options.duplicates);
  take_shares(sources, parts);
  Dataset mixture;
  for (Dataset& part : parts) {
    part.reports.front().examples = static_cast<int64_t>(part.examples.size());
    std::move(part.examples.begin(), part.examples.end(), std::back_inserter(mixture.examples));
    std::move(part.reports.begin(), part.reports.end(), std::back_inserter(mixture.reports));
  }
  if (mixture.examples.empty()) {
    throw runtime::Error("no examples are left of the mixture", "data", "check the weights and the duplicates");
  }
  if (options.shuffle) runtime::Random(options.seed, runtime::stream_of("data.mixture")).shuffle(mixture.examples);
  return mixture;
}

Table data_table(const Dataset& mixture, const std::vector<int64_t>& lengths, int64_t max_seq_length) {
  Table table({"source", "rows", "filtered", "empty_responses", "duplicates", "beyond_limit", "beyond_share",
               "examples", "tokens", "tokens_min", "tokens_median", "tokens_p95", "tokens_max", "too_long"});
  auto next = lengths.begin();
  for (const SourceReport& report : mixture.reports) {
    std::vector<int64_t> sorted(next, next + report.examples);
    next += report.examples;
    std::sort(sorted.begin(), sorted.end());
    const auto too_long =
        max_seq_length == 0 ? sorted.end() : std::upper_bound(sorted.begin(), sorted.end(), max_seq_length);
    table.append({{"source", report.source},
                  {"rows", report.rows},
                  {"filtered", report.filtered},
                  {"empty_responses", report.empty_responses},
                  {"duplicates", report.duplicates},
                  {"beyond_limit", report.beyond_limit},
                  {"beyond_share", report.beyond_share},
                  {"examples", report.examples},
                  {"tokens", std::accumulate(sorted.begin(), sorted.end(), int64_t{0})},
                  {"tokens_min", quantile(sorted, 0)},
                  {"tokens_median", quantile(sorted, 0.5)},
                  {"tokens_p95", quantile(sorted, 0.95)},
                  {"tokens_max", quantile(sorted, 1)},
                  {"too_long", static_cast<int64_t>(sorted.end() - too_long)}});
  }
  return table;
}

}  // namespace subspect::experiments
