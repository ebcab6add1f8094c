// Words that are near, and words that are not.
#include "runtime/nearest.h"

#include <gtest/gtest.h>

namespace subspect::runtime {
namespace {

TEST(Nearest, WordsAreNear) {
  EXPECT_EQ(nearest("lernig_rate", {"learning_rate", "seed"}), "learning_rate");
  EXPECT_EQ(nearest("xyz", {"learning_rate", "seed"}), "");
  EXPECT_EQ(nearest("a", {"b"}), "");
}

}  // namespace
}  // namespace subspect::runtime
