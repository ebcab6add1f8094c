// Sums over documents.
#include "experiments/tasks/perplexity.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/error.h"

namespace subspect::experiments {

namespace {
constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
}

void Perplexity::add(double negative_log_likelihood, int64_t tokens) {
  runtime::require(tokens >= 0, "Perplexity::add", "a number of tokens is required, not {}", tokens);
  if (tokens == 0) return;
  const auto count = static_cast<double>(tokens);
  ++documents_;
  tokens_ += tokens;
  loss_ += negative_log_likelihood;
  loss_squares_ += negative_log_likelihood * negative_log_likelihood;
  token_squares_ += count * count;
  loss_tokens_ += negative_log_likelihood * count;
}

double Perplexity::mean_loss() const {
  return tokens_ > 0 ? loss_ / static_cast<double>(tokens_) : undefined;
}

double Perplexity::value() const {
  return std::exp(mean_loss());
}

double Perplexity::standard_error() const {
  if (documents_ < 2) return undefined;
  // Variance of the ratio r = sum(loss) / sum(tokens): sum of (loss_i - r tokens_i)^2, over sum(tokens)^2.
  const double ratio = mean_loss();
  const double residuals = loss_squares_ - 2 * ratio * loss_tokens_ + ratio * ratio * token_squares_;
  const auto n = static_cast<double>(documents_);
  const double variance = std::max(0.0, residuals) * n / (n - 1);
  return value() * std::sqrt(variance) / static_cast<double>(tokens_);
}

}  // namespace subspect::experiments
