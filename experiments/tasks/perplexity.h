// Perplexity of a collection of documents from their summed log-likelihoods.
#pragma once

#include <cstdint>

namespace subspect::experiments {

/// Adds documents up: exp of the mean negative log-likelihood per predicted token.
class Perplexity {
 public:
  /// @param negative_log_likelihood summed over the document's predicted tokens, in nats. @param tokens how many.
  /// Throws Error for a negative number of tokens.
  void add(double negative_log_likelihood, int64_t tokens);

  double value() const;  ///< NaN without tokens
  /// Of `value`, over documents: the delta method on the ratio of sums; NaN under two documents with tokens.
  double standard_error() const;
  double mean_loss() const;  ///< nats per token; NaN without tokens
  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }

 private:
  int64_t documents_ = 0;
  int64_t tokens_ = 0;
  double loss_ = 0;
  double loss_squares_ = 0;  // sums over documents: for the variance of the ratio
  double token_squares_ = 0;
  double loss_tokens_ = 0;
};

}  // namespace subspect::experiments
