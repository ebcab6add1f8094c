// The fused head on CUDA (kernels in the shim, cuBLASLt's stand-in) against the CPU's.
#include "kernels/linear_cross_entropy.h"

#include <limits>

#include "tests/simt/libraries/support.h"

namespace subspect::kernels::test {
namespace {

constexpr float scale = 0.125F;

template <class T>
struct Outputs {
  double loss = NAN;
  int64_t count = -1;
  std::vector<float> log_p;
  std::vector<T> dx;
  std::vector<float> dweight;
};

/// What a case asks for.
struct Wanted {
  bool dx = true;
  bool dweight = true;
  bool log_p = true;
  bool count = true;
};

template <class T>
struct Head {
  int64_t tokens, vocab, dim;
  float size;
  std::vector<T> x = random_values<T>(tokens * dim, 1, size);
  std::vector<T> weight = random_values<T>(vocab * dim, 2, 0.5F);
  std::vector<int32_t> targets = random_ids(tokens, vocab, 3);
  int64_t counted = 0;

  Head(int64_t t, int64_t v, int64_t d, float s = 1.0F) : tokens(t), vocab(v), dim(d), size(s) {
    for (size_t i = 0; i < targets.size(); i += 3) targets[i] = i % 2 == 0 ? ignored_target : -1;
    counted = tokens - (tokens + 2) / 3;
  }

  LinearCrossEntropyParams<T> params() const {
    LinearCrossEntropyParams<T> p;
    p.gradient_scale = scale;
    p.tokens = tokens;
    p.vocab = vocab;
    p.dim = dim;
    p.score_bytes = 1;  // the smallest chunks
    return p;
  }

  Outputs<T> on_cpu() const {
    Outputs<T> out{0, 0, std::vector<float>(targets.size()), std::vector<T>(x.size()),
                   std::vector<float>(weight.size(), 0.25F)};
    LinearCrossEntropyParams<T> p = params();
    p.x = x.data();
    p.weight = weight.data();
    p.targets = targets.data();
    p.loss_sum = &out.loss;
    p.target_count = &out.count;
    p.log_probabilities = out.log_p.data();
    p.dx = out.dx.data();
    p.dweight = out.dweight.data();
    const Workspace workspace(linear_cross_entropy_workspace_bytes<Cpu>(p));
    p.workspace = workspace.get();
    linear_cross_entropy(context(), p);
    return out;
  }

  Outputs<T> on_gpu(Context<Cuda> on, int64_t counted_tokens = -1, const Wanted& wanted = {}) const {
    const DeviceArray<T> d_x(x), d_weight(weight), d_dx(x.size());
    const DeviceArray<int32_t> d_targets(targets);
    const DeviceArray<float> log_p(targets.size()), dweight(std::vector<float>(weight.size(), 0.25F));
    const DeviceArray<double> loss(1);
    const DeviceArray<int64_t> count(1);
    LinearCrossEntropyParams<T> p = params();
    p.counted_tokens = counted_tokens;
    p.x = d_x.data();
    p.weight = d_weight.data();
    p.targets = d_targets.data();
    p.loss_sum = loss.data();
    p.target_count = wanted.count ? count.data() : nullptr;
    p.log_probabilities = wanted.log_p ? log_p.data() : nullptr;
    p.dx = wanted.dx ? d_dx.data() : nullptr;
    p.dweight = wanted.dweight ? dweight.data() : nullptr;
    const DeviceArray<std::byte> workspace(static_cast<size_t>(linear_cross_entropy_workspace_bytes<Cuda>(p)));
    p.workspace = workspace.data();
    linear_cross_entropy(on, p);
    return {loss.values()[0], count.values()[0], log_p.values(), d_dx.values(), dweight.values()};
  }
};

/// The gradient of the scores is rounded to T, which the last bits of a score may turn either way.
template <class T>
void expect_equal(const Outputs<T>& actual, const Outputs<T>& expected, double largest_score = 32) {
  const double error = 8 * epsilon<float> * largest_score;
  EXPECT_NEAR(actual.loss, expected.loss, error * static_cast<double>(std::max<size_t>(1, expected.log_p.size())));
  EXPECT_EQ(actual.count, expected.count);
  for (size_t i = 0; i < expected.log_p.size(); ++i) EXPECT_NEAR(actual.log_p[i], expected.log_p[i], error) << i;
  expect_norm_close(actual.dx, widen(expected.dx), epsilon<T> + 4 * error);
  expect_norm_close(actual.dweight, widen(expected.dweight), epsilon<T> + 4 * error);
}

template <class T>
class CudaLinearCrossEntropy : public LibrariesCase {};
TYPED_TEST_SUITE(CudaLinearCrossEntropy, StorageTypes, StorageNames);

TYPED_TEST(CudaLinearCrossEntropy, EqualsCpu) {
  for (const auto& [tokens, vocab, dim] :
       std::vector<std::array<int64_t, 3>>{{1, 5, 4}, {2, 1, 8}, {7, 61, 9}, {12, 130, 16}, {200, 33, 24}}) {
    const Head<TypeParam> head(tokens, vocab, dim);
    SCOPED_TRACE(std::to_string(tokens) + " x " + std::to_string(vocab) + " x " + std::to_string(dim));
    const Outputs<TypeParam> expected = head.on_cpu();
    expect_equal(head.on_gpu(this->on()), expected);
    expect_equal(head.on_gpu(this->on(), head.counted), expected);
  }
}

TYPED_TEST(CudaLinearCrossEntropy, TokensThatDoNotCountAreLeftOutWhereTheirNumberIsKnown) {
  Head<TypeParam> head(190, 20, 8);  // 126 count
  emulated::reset();
  head.on_gpu(this->on());
  EXPECT_EQ(emulated::calls("cublasLtMatmul"), 6);  // chunks of 128 tokens, three products each
  emulated::reset();
  head.on_gpu(this->on(), head.counted);
  EXPECT_EQ(emulated::calls("cublasLtMatmul"), 3);
  const Outputs<TypeParam> expected = head.on_cpu();
  for (int64_t j = 0; j < 8; ++j) head.x[static_cast<size_t>(3 * 8 + j)] = from_float<TypeParam>(NAN);
  expect_equal(head.on_gpu(this->on(), head.counted), expected);
}

TYPED_TEST(CudaLinearCrossEntropy, EveryTokenCounts) {
  Head<TypeParam> head(10, 20, 8);
  head.targets = random_ids(10, 20, 5);
  const Outputs<TypeParam> expected = head.on_cpu();
  expect_equal(head.on_gpu(this->on()), expected);
  expect_equal(head.on_gpu(this->on(), 10), expected);
}

TYPED_TEST(CudaLinearCrossEntropy, NoTokenCounts) {
  Head<TypeParam> head(20, 9, 8);
  std::fill(head.targets.begin(), head.targets.end(), ignored_target);
  for (const int64_t counted : {-1, 0}) {
    const Outputs<TypeParam> out = head.on_gpu(this->on(), counted);
    EXPECT_EQ(out.loss, 0.0);
    EXPECT_EQ(out.count, 0);
    for (const float log_p : out.log_p) EXPECT_EQ(log_p, 0.0F);
    for (const TypeParam g : out.dx) EXPECT_EQ(to_float(g), 0.0F);
    for (const float g : out.dweight) EXPECT_EQ(g, 0.25F);
  }
}

TYPED_TEST(CudaLinearCrossEntropy, NoTokensAreNoLoss) {
  const Head<TypeParam> head(0, 9, 8);
  for (const int64_t counted : {-1, 0}) {
    const Outputs<TypeParam> out = head.on_gpu(this->on(), counted);
    EXPECT_EQ(out.loss, 0.0);
    EXPECT_EQ(out.count, 0);
    for (const float g : out.dweight) EXPECT_EQ(g, 0.25F);
  }
}

TYPED_TEST(CudaLinearCrossEntropy, LargeScoresEqualCpu) {
  const Head<TypeParam> head(20, 40, 16, 100.0F);  // hundreds, positive and negative
  expect_equal(head.on_gpu(this->on()), head.on_cpu(), 1000);
}

TYPED_TEST(CudaLinearCrossEntropy, OnlyWhatIsWantedIsWritten) {
  const Head<TypeParam> head(14, 40, 16);
  const Outputs<TypeParam> expected = head.on_cpu();
  for (const int64_t counted : {int64_t{-1}, head.counted}) {
    Outputs<TypeParam> out = head.on_gpu(this->on(), counted, {.dx = false, .dweight = false, .count = false});
    EXPECT_NEAR(out.loss, expected.loss, 1e-2);
    for (const float g : out.dweight) EXPECT_EQ(g, 0.25F);
    expect_close(out.log_p, widen(expected.log_p));
    out = head.on_gpu(this->on(), counted, {.dx = false, .log_p = false});
    expect_norm_close(out.dweight, widen(expected.dweight), epsilon<TypeParam> + 1e-5);
    EXPECT_NEAR(out.loss, expected.loss, 1e-2);
    out = head.on_gpu(this->on(), counted, {.dweight = false});
    expect_norm_close(out.dx, widen(expected.dx), epsilon<TypeParam> + 1e-5);
    for (const float g : out.dweight) EXPECT_EQ(g, 0.25F);
  }
}

TYPED_TEST(CudaLinearCrossEntropy, AWrongNumberShowsInTheCount) {
  const Head<TypeParam> head(14, 40, 16);
  for (const int64_t wrong : {head.counted - 1, head.counted + 3, int64_t{0}}) {
    EXPECT_EQ(head.on_gpu(this->on(), wrong).count, head.counted);
    EXPECT_EQ(emulated::fault(), "");
  }
}

TYPED_TEST(CudaLinearCrossEntropy, SameBitsEveryTime) {
  const Head<TypeParam> head(14, 40, 16);
  const Outputs<TypeParam> expected = head.on_gpu(this->on(), head.counted);
  this->for_each_seed([&] {
    const Outputs<TypeParam> again = head.on_gpu(this->on(), head.counted);
    EXPECT_EQ(again.loss, expected.loss);
    EXPECT_TRUE(same_bits(again.log_p, expected.log_p));
    EXPECT_TRUE(same_bits(again.dx, expected.dx));
    EXPECT_TRUE(same_bits(again.dweight, expected.dweight));
  });
}

TYPED_TEST(CudaLinearCrossEntropy, WorkspaceFollowsTheBudget) {
  LinearCrossEntropyParams<TypeParam> p = Head<TypeParam>(0, 1000, 8).params();
  p.tokens = 1000;
  const auto bytes = [&](int64_t budget) {
    p.score_bytes = budget;
    return linear_cross_entropy_workspace_bytes<Cuda>(p);
  };
  const int64_t row = 1008 * 4;
  EXPECT_EQ(bytes(1), 128 * row + 4096);
  EXPECT_EQ(bytes(300 * row), 256 * row + 4096);
  EXPECT_EQ(bytes(600 * row), 512 * row + 4096);
  EXPECT_EQ(bytes(700 * row), 512 * row + 4096);  // two chunks of equal size
  EXPECT_EQ(bytes(0), 1000 * row + 4096);
}

TYPED_TEST(CudaLinearCrossEntropy, MissingHandlesAreAnError) {
  const Head<TypeParam> head(3, 4, 8);
  EXPECT_THROW(head.on_gpu(Context<Cuda>{this->stream(), nullptr}), std::logic_error);
}

}  // namespace
}  // namespace subspect::kernels::test
