// The list of kernels.
#include "kernels/registry.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

namespace subspect::kernels {
namespace {

#ifdef SUBSPECT_CUDA
constexpr bool built_with_cuda = true;
#else
constexpr bool built_with_cuda = false;
#endif

TEST(Registry, NamesAreUniqueAndHeadersExist) {
  std::set<std::string_view> names;
  for (const KernelInfo& kernel : kernels()) {
    EXPECT_TRUE(names.insert(kernel.name).second) << kernel.name;
    EXPECT_TRUE(std::filesystem::exists(std::filesystem::path(SUBSPECT_SOURCE_DIR) / "kernels" / kernel.header))
        << kernel.header;
    EXPECT_EQ(find_kernel(kernel.name), &kernel);
    EXPECT_FALSE(kernel.summary.empty());
    EXPECT_TRUE(kernel.cpu);
    EXPECT_EQ(kernel.cuda, built_with_cuda) << kernel.name;
  }
  EXPECT_EQ(find_kernel("no such kernel"), nullptr);
}

/// Value of a cost formula: sums of products of numbers and the letters of CostSizes.
class Formula {
 public:
  Formula(std::string_view text, const CostSizes& sizes) : text_(text), sizes_(sizes) {}

  double value() {
    double sum = product();
    while (skip(), at_ < text_.size() && text_[at_] == '+') {
      ++at_;
      sum += product();
    }
    return sum;
  }

 private:
  void skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }

  double product() {
    double result = 1;
    while (skip(), at_ < text_.size() && text_[at_] != '+' && text_[at_] != ')') result *= factor();
    return result;
  }

  double factor() {
    const char c = text_[at_];
    if (c == '(') {
      ++at_;
      const double inside = value();
      ++at_;
      return inside;
    }
    if (c >= '0' && c <= '9') {
      double number = 0;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') number = number * 10 + (text_[at_++] - '0');
      return number;
    }
    ++at_;
    switch (c) {
      case 'R':
        return sizes_.rows;
      case 'C':
        return sizes_.cols;
      case 'O':
        return sizes_.out;
      case 'H':
        return sizes_.heads;
      case 'G':
        return sizes_.kv_heads;
      case 'd':
        return sizes_.head_dim;
      case 'P':
        return sizes_.pairs;
      case 'e':
        return sizes_.element;
      default:
        ADD_FAILURE() << "letter " << c << " in " << text_;
        return 0;
    }
  }

  std::string_view text_;
  const CostSizes& sizes_;
  size_t at_ = 0;
};

TEST(Registry, FormulasSayWhatIsComputed) {
  const CostSizes sizes{101, 7, 53, 13, 3, 17, 997, 2};
  for (const KernelInfo& kernel : kernels()) {
    const KernelCost cost = kernel.cost(sizes);
    EXPECT_EQ(cost.bytes, Formula(kernel.bytes, sizes).value()) << kernel.name;
    EXPECT_EQ(cost.flops, Formula(kernel.flops, sizes).value()) << kernel.name;
  }
}

TEST(Registry, CausalPairsAreCounted) {
  for (int length = 1; length < 12; ++length) {
    for (int window = 0; window < 14; ++window) {
      int count = 0;
      for (int i = 0; i < length; ++i) {
        for (int j = 0; j <= i; ++j) count += window == 0 || i - j < window ? 1 : 0;
      }
      EXPECT_EQ(causal_pairs(length, window), count);
    }
  }
}

}  // namespace
}  // namespace subspect::kernels
