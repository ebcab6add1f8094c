// Findings on models formed in memory: ranges of scores, groups of tensors that carry them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "experiments/report/findings.h"
#include "experiments/report/markup.h"
#include "experiments/report/support.h"

namespace subspect::experiments::report {

namespace {

using Rows = std::vector<int64_t>;

class FormedFindings {
 public:
  FormedFindings(const CsvTable& table, const std::vector<ComparisonRow>& comparisons)
      : table_(table), comparisons_(comparisons) {}

  /// The smallest and largest value of a score over all rows; nothing where it was not measured.
  std::optional<Finding> range(const std::string& score) const;
  /// The groups that alone, or left out, move a score of one model most.
  std::optional<Finding> groups(const std::string& model, const std::string& score) const;
  /// The models that have groups.
  std::vector<std::string> grouped_models() const;

 private:
  double value(int64_t row, const std::string& score) const { return table_.number(row, score); }
  std::string with_interval(int64_t row, const std::string& score) const {
    return fmt::format("{} ({})", format_fixed(value(row, score), 2),
                       interval_text(interval_of(table_, row, score), 2));
  }
  /// The rows where the score was measured; of one model and mode unless these are empty.
  Rows rows(const std::string& score, const std::string& model = "", const std::string& mode = "") const;
  /// "3 of 9", of the rows whose difference from `against` is supported; "" where none was tested.
  std::string supported(const Rows& rows, const std::string& score, const std::string& against) const;

  const CsvTable& table_;
  const std::vector<ComparisonRow>& comparisons_;
};

Rows FormedFindings::rows(const std::string& score, const std::string& model, const std::string& mode) const {
  Rows rows;
  for (int64_t row = 0; row < table_.rows(); ++row) {
    const bool wanted =
        (model.empty() || table_.text(row, "model") == model) && (mode.empty() || table_.text(row, "mode") == mode);
    if (wanted && std::isfinite(value(row, score))) rows.push_back(row);
  }
  return rows;
}

std::string FormedFindings::supported(const Rows& rows, const std::string& score, const std::string& against) const {
  int64_t tested = 0, standing = 0;
  for (const int64_t row : rows) {
    const std::string name = formed_name(table_, row);
    for (const ComparisonRow& comparison : comparisons_) {
      const bool same = comparison.metric == score || (is_utility(score) && is_utility(comparison.metric));
      if (!same || comparison.model != name || comparison.against != against) continue;
      tested += 1;
      standing += comparison.p_holm <= significance_level ? 1 : 0;
    }
  }
  return tested == 0 ? "" : fmt::format("{} of {}", standing, tested);
}

std::optional<Finding> FormedFindings::range(const std::string& score) const {
  const Rows all = rows(score);
  if (all.empty()) return std::nullopt;
  const auto below = [&](int64_t a, int64_t b) { return value(a, score) < value(b, score); };
  const auto described = [&](int64_t row) {
    return fmt::format("{} for {}", with_interval(row, score), formed_name(table_, row));
  };
  Finding fact{Verdict::fact, fmt::format("{} of {} models", score, all.size()), ""};
  fact.numbers = fmt::format("From {} to {}.", described(*std::min_element(all.begin(), all.end(), below)),
                             described(*std::max_element(all.begin(), all.end(), below)));
  const std::string count = supported(all, score, "aligned");
  if (!count.empty()) {
    fact.numbers += fmt::format(" {} differences from the aligned model are supported (Holm, 5 %).", count);
  }
  return fact;
}

std::optional<Finding> FormedFindings::groups(const std::string& model, const std::string& score) const {
  const Rows plain = rows(score, model, "none"), aligned = rows(score, "aligned");
  if (plain.empty() || aligned.empty()) return std::nullopt;
  const double whole = value(plain.front(), score), start = value(aligned.front(), score);
  Finding fact{Verdict::fact, fmt::format("{} of {}: which tensors carry it", score, model), ""};
  fact.numbers = fmt::format("Aligned {}, with the whole update {}.", format_fixed(start, 2), format_fixed(whole, 2));
  const auto add = [&](const char* mode, double from, const std::string& against, const char* words) {
    const Rows some = rows(score, model, mode);
    if (some.empty()) return;
    const int64_t most = *std::max_element(some.begin(), some.end(), [&](int64_t a, int64_t b) {
      return std::abs(value(a, score) - from) < std::abs(value(b, score) - from);
    });
    if (value(most, score) == from) {
      fact.numbers += fmt::format(" {} no group moves it.", words);
      return;
    }
    fact.numbers +=
        fmt::format(" {} {} moves it most, to {}", words, table_.text(most, "group"), with_interval(most, score));
    const std::string count = supported(some, score, against);
    fact.numbers += count.empty() ? "." : fmt::format("; {} groups differ (Holm, 5 %).", count);
  };
  add("only", start, "aligned", "Added alone,");
  add("without", whole, model, "Left out alone,");
  return fact;
}

std::vector<std::string> FormedFindings::grouped_models() const {
  std::vector<std::string> models;
  for (int64_t row = 0; row < table_.rows(); ++row) {
    const std::string &model = table_.text(row, "model"), &group = table_.text(row, "group");
    const bool known = std::find(models.begin(), models.end(), model) != models.end();
    if (!known && !group.empty() && group != "none") models.push_back(model);
  }
  return models;
}

}  // namespace

std::vector<Finding> formed_findings(const CsvTable& table, const std::vector<ComparisonRow>& comparisons) {
  const FormedFindings made(table, comparisons);
  const std::vector<std::string> models = made.grouped_models();
  std::vector<Finding> findings;
  for (const std::string& score : score_columns(table)) {
    for (const std::string& model : models) {
      if (auto finding = made.groups(model, score)) findings.push_back(std::move(*finding));
    }
    if (!models.empty()) continue;
    if (auto finding = made.range(score)) findings.push_back(std::move(*finding));
  }
  return findings;
}

}  // namespace subspect::experiments::report
