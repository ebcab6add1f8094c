// AdamW and SGD against the formulas in double, with and without master copies; the gradient norm.
#include "kernels/optimizer.h"

#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

template <class T>
struct State {
  std::vector<T> param;
  std::vector<float> master, grad, m, v;

  explicit State(int64_t count)
      : param(random_values<T>(count, 1)), master(param.size()), grad(param.size()), m(param.size()), v(param.size()) {
    for (size_t i = 0; i < param.size(); ++i) master[i] = to_float(param[i]);
  }

  void step(Context<Cpu> on, int64_t number, bool with_master) {
    grad = random_values<float>(static_cast<int64_t>(grad.size()), 10 + static_cast<uint64_t>(number));
    AdamWParams<T> p{param.data(), with_master ? master.data() : nullptr, grad.data(), m.data(), v.data()};
    p.count = static_cast<int64_t>(param.size());
    p.lr = 0.01F;
    p.beta1 = 0.9F;
    p.beta2 = 0.95F;
    p.eps = 1e-6F;
    p.weight_decay = 0.1F;
    p.step = number;
    p.grad_scale = 0.5F;
    adamw_step(on, p);
  }
};

/// Algorithm 2 of Loshchilov and Hutter in double, `steps` steps, with the numbers of `State::step`.
Doubles naive_adamw(Doubles param, int64_t steps) {
  Doubles m(param.size());
  Doubles v(param.size());
  const double beta1 = static_cast<double>(0.9F);
  const double beta2 = static_cast<double>(0.95F);
  const double lr = static_cast<double>(0.01F);
  for (int64_t number = 1; number <= steps; ++number) {
    const auto grad = random_values<float>(static_cast<int64_t>(param.size()), 10 + static_cast<uint64_t>(number));
    for (size_t i = 0; i < param.size(); ++i) {
      const double g = 0.5 * static_cast<double>(grad[i]);
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      const double m_hat = m[i] / (1 - std::pow(beta1, static_cast<double>(number)));
      const double v_hat = v[i] / (1 - std::pow(beta2, static_cast<double>(number)));
      param[i] -= lr * static_cast<double>(0.1F) * param[i];
      param[i] -= lr * m_hat / (std::sqrt(v_hat) + 1e-6);
    }
  }
  return param;
}

TEST(AdamW, EqualsTheAlgorithm) {
  for (const int64_t count : {1, 7, 64, 40003}) {
    State<float> s(count);
    const Doubles start = widen(s.param);
    for (int64_t number = 1; number <= 5; ++number) s.step(context(), number, false);
    expect_close(s.param, naive_adamw(start, 5));
  }
}

TEST(AdamW, MasterCopyKeepsSmallSteps) {
  State<bfloat16> s(1001);
  const Doubles start = widen(s.param);
  for (int64_t number = 1; number <= 5; ++number) s.step(context(), number, true);
  expect_close(s.master, naive_adamw(start, 5));
  for (size_t i = 0; i < s.param.size(); ++i) EXPECT_EQ(s.param[i].bits, from_float<bfloat16>(s.master[i]).bits);
}

TEST(AdamW, Bfloat16WithoutMasterRoundsEachStep) {
  State<bfloat16> s(33);
  const Doubles start = widen(s.param);
  s.step(context(), 1, false);
  expect_close(s.param, naive_adamw(start, 1), 1);
}

TEST(AdamW, ThreadsDoNotMatter) {
  expect_same_for_all_teams([](Context<Cpu> on) {
    State<bfloat16> s(100001);
    s.step(on, 1, true);
    s.step(on, 2, true);
    return joined(s.param, s.master, s.m, s.v);
  });
}

template <class T>
class SgdTest : public ::testing::Test {};
TYPED_TEST_SUITE(SgdTest, StorageTypes, StorageNames);

TYPED_TEST(SgdTest, EqualsTheFormula) {
  for (const bool momentum : {false, true}) {
    auto param = random_values<TypeParam>(1003, 1);
    std::vector<float> master(param.size());
    for (size_t i = 0; i < param.size(); ++i) master[i] = to_float(param[i]);
    std::vector<float> velocity(param.size());
    Doubles expected = widen(param);
    Doubles expected_velocity(param.size());
    for (uint64_t step = 0; step < 3; ++step) {
      const auto grad = random_values<float>(1003, 10 + step);
      SgdParams<TypeParam> p{param.data(), master.data(), grad.data(), momentum ? velocity.data() : nullptr, 1003};
      p.lr = 0.125F;
      p.momentum = momentum ? 0.75F : 0.0F;
      p.weight_decay = 0.25F;
      p.grad_scale = 2.0F;
      sgd_step(context(), p);
      for (size_t i = 0; i < expected.size(); ++i) {
        expected_velocity[i] = (momentum ? 0.75 : 0.0) * expected_velocity[i] + 2 * static_cast<double>(grad[i]);
        expected[i] = expected[i] * (1 - 0.125 * 0.25) - 0.125 * expected_velocity[i];
      }
    }
    expect_close(master, expected);
    for (size_t i = 0; i < param.size(); ++i) EXPECT_EQ(to_float(param[i]), to_float(from_float<TypeParam>(master[i])));
  }
}

template <class T>
class SquaredNormTest : public ::testing::Test {};
TYPED_TEST_SUITE(SquaredNormTest, StorageTypes, StorageNames);

template <class T>
std::pair<double, int64_t> norm_of(Context<Cpu> on, const std::vector<T>& x) {
  double sum = 1.0;
  int64_t nonfinite = 2;
  SquaredNormParams<T> p{x.data(), &sum, &nonfinite, static_cast<int64_t>(x.size())};
  const Workspace workspace(squared_norm_workspace_bytes<Cpu>(p));
  p.workspace = workspace.get();
  squared_norm(on, p);
  return {sum, nonfinite};
}

TYPED_TEST(SquaredNormTest, SumsInDouble) {
  for (const int64_t count : {0, 1, 9, 32768, 100003}) {
    const auto x = random_values<TypeParam>(count, 3, 1e-3F);
    const auto [sum, nonfinite] = norm_of(context(), x);
    EXPECT_NEAR(sum, 1 + inner(x, x), 1e-12 * (1 + inner(x, x)));
    EXPECT_EQ(nonfinite, 2);
  }
}

TYPED_TEST(SquaredNormTest, LargeValuesDoNotOverflow) {
  const std::vector<TypeParam> x(11, from_float<TypeParam>(0x1p100F));
  EXPECT_EQ(norm_of(context(), x).first, 1 + 11 * 0x1p200);
}

TYPED_TEST(SquaredNormTest, CountsWhatIsNotFinite) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (const size_t at : {size_t{0}, size_t{8}, size_t{50000}}) {
      std::vector<TypeParam> x(50001, from_float<TypeParam>(1.0F));
      x[at] = from_float<TypeParam>(bad);
      const auto [sum, nonfinite] = norm_of(context(), x);
      EXPECT_EQ(nonfinite, 3);
      EXPECT_EQ(sum, 1.0 + 50000);
    }
  }
}

TYPED_TEST(SquaredNormTest, ThreadsDoNotMatter) {
  const auto x = random_values<TypeParam>(300007, 3);
  expect_same_for_all_teams([&](Context<Cpu> on) { return Doubles{norm_of(on, x).first}; });
}

}  // namespace
}  // namespace subspect::kernels::test
