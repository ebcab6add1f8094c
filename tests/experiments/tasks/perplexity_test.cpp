// Perplexity over documents against hand-computed values.
#include "experiments/tasks/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/error.h"

namespace subspect::experiments {
namespace {

TEST(PerplexityTest, IsTheExponentialOfTheMeanLossPerToken) {
  Perplexity perplexity;
  perplexity.add(3.0, 2);
  perplexity.add(1.0, 2);
  EXPECT_DOUBLE_EQ(perplexity.mean_loss(), 1.0);
  EXPECT_DOUBLE_EQ(perplexity.value(), std::exp(1.0));
  EXPECT_EQ(perplexity.tokens(), 4);
  EXPECT_EQ(perplexity.documents(), 2);
  // Residuals loss - ratio * tokens are 1 and -1: variance 2 * 2/1, over 4 tokens.
  EXPECT_NEAR(perplexity.standard_error(), std::exp(1.0) * 2.0 / 4.0, 1e-12);
}

TEST(PerplexityTest, DocumentsThatAgreeHaveNoError) {
  Perplexity perplexity;
  for (int64_t tokens = 1; tokens < 50; ++tokens) perplexity.add(0.7 * static_cast<double>(tokens), tokens);
  EXPECT_NEAR(perplexity.value(), std::exp(0.7), 1e-12);
  EXPECT_NEAR(perplexity.standard_error(), 0, 1e-7);
}

TEST(PerplexityTest, IsUndefinedWithoutTokens) {
  Perplexity perplexity;
  perplexity.add(0, 0);
  EXPECT_TRUE(std::isnan(perplexity.value()) && std::isnan(perplexity.standard_error()));
  EXPECT_EQ(perplexity.documents(), 0);
  perplexity.add(2, 1);
  EXPECT_TRUE(std::isnan(perplexity.standard_error()));
  EXPECT_THROW(perplexity.add(1, -1), runtime::Error);
}

}  // namespace
}  // namespace subspect::experiments
