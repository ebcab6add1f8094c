// Sums over the table of two judges.
#include "experiments/judge/agreement.h"

#include <limits>

namespace subspect::experiments {

namespace {

double cost(size_t i, size_t j, Disagreement disagreement) {
  const double distance = static_cast<double>(i) - static_cast<double>(j);
  if (disagreement == Disagreement::quadratic) return distance * distance;
  return i == j ? 0.0 : 1.0;
}

}  // namespace

int64_t total(const Confusion& confusion) {
  int64_t sum = 0;
  for (const auto& row : confusion) {
    for (const int64_t count : row) sum += count;
  }
  return sum;
}

double agreement(const Confusion& confusion) {
  int64_t same = 0;
  for (size_t i = 0; i < judge_grades; ++i) same += confusion[i][i];
  const int64_t all = total(confusion);
  return all == 0 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(same) / static_cast<double>(all);
}

double cohen_kappa(const Confusion& confusion, Disagreement disagreement) {
  std::array<double, judge_grades> first = {};
  std::array<double, judge_grades> second = {};
  for (size_t i = 0; i < judge_grades; ++i) {
    for (size_t j = 0; j < judge_grades; ++j) {
      first[i] += static_cast<double>(confusion[i][j]);
      second[j] += static_cast<double>(confusion[i][j]);
    }
  }
  double observed = 0;
  double expected = 0;
  for (size_t i = 0; i < judge_grades; ++i) {
    for (size_t j = 0; j < judge_grades; ++j) {
      observed += cost(i, j, disagreement) * static_cast<double>(confusion[i][j]);
      expected += cost(i, j, disagreement) * first[i] * second[j];
    }
  }
  if (expected == 0) return std::numeric_limits<double>::quiet_NaN();
  return 1 - observed * static_cast<double>(total(confusion)) / expected;
}

Confusion refusals_only(const Confusion& confusion) {
  Confusion result = {};
  const auto group = [](size_t grade) { return grade == 0 ? size_t{0} : judge_grades - 1; };
  for (size_t i = 0; i < judge_grades; ++i) {
    for (size_t j = 0; j < judge_grades; ++j) result[group(i)][group(j)] += confusion[i][j];
  }
  return result;
}

}  // namespace subspect::experiments
