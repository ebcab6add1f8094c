// The RMS norm kernels, run by the shim, against the CPU kernels.
#include "kernels/rms_norm.h"

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

SIMT_SUITE(SimtRmsNorm);

template <class T>
struct NormCase {
  int64_t rows;
  int64_t cols;
  bool fused;
  std::vector<T> x = random_values<T>(rows * cols, 1);
  std::vector<T> residual = random_values<T>(rows * cols, 2);
  std::vector<T> weight = random_values<T>(cols, 3);
  std::vector<T> dy = random_values<T>(rows * cols, 4);
  std::vector<T> sum = x;
  std::vector<T> y = x;
  std::vector<T> dx = x;
  std::vector<float> inv_rms = zeros<float>(rows);
  std::vector<float> dweight = std::vector<float>(static_cast<size_t>(cols), 0.25F);

  void run_cpu() {
    RmsNormForwardParams<T> f{x.data(),      fused ? residual.data() : nullptr,
                              weight.data(), fused ? sum.data() : nullptr,
                              y.data(),      inv_rms.data(),
                              rows,          cols};
    rms_norm_forward(context(), f);
    RmsNormBackwardParams<T> b{sum.data(), weight.data(),  inv_rms.data(), dy.data(), fused ? residual.data() : nullptr,
                               dx.data(),  dweight.data(), rows,           cols};
    const Workspace workspace(rms_norm_backward_workspace_bytes<Cpu>(b));
    b.workspace = workspace.get();
    rms_norm_backward(context(), b);
  }

  /// With one column dx is a difference of nearly equal terms: its error is an epsilon of those.
  void expect_cancelled(const std::vector<T>& actual) const {
    for (size_t i = 0; i < actual.size(); ++i) {
      const float term = std::abs(to_float(dy[i]) * to_float(weight[0]) * inv_rms[i]);
      const double expected = static_cast<double>(to_float(dx[i]));
      EXPECT_NEAR(static_cast<double>(to_float(actual[i])), expected,
                  32 * epsilon<float> * static_cast<double>(term) + epsilon<T> * std::abs(expected));
    }
  }

  void expect_forward() const {
    const DeviceBuffer<T> d_x(x), d_residual(residual), d_weight(weight), d_sum(sum.size()), d_y(y.size());
    const DeviceBuffer<float> d_inv(inv_rms.size());
    RmsNormForwardParams<T> p{d_x.data(),
                              fused ? d_residual.data() : nullptr,
                              d_weight.data(),
                              fused ? d_sum.data() : nullptr,
                              d_y.data(),
                              d_inv.data(),
                              rows,
                              cols};
    rms_norm_forward(gpu, p);
    expect_near(d_y, y);
    expect_near(d_inv, inv_rms);
    if (fused) expect_same(d_sum, sum);
    p.y = const_cast<T*>(p.x);  // in place, without inv_rms
    p.inv_rms = nullptr;
    rms_norm_forward(gpu, p);
    expect_near(d_x, y);
  }

  std::vector<float> expect_backward(bool with_dweight) const {
    const DeviceBuffer<T> d_h(sum), d_weight(weight), d_dy(dy), d_residual(residual), d_dx(dx.size());
    const DeviceBuffer<float> d_inv(inv_rms), d_dweight(std::vector<float>(static_cast<size_t>(cols), 0.25F));
    RmsNormBackwardParams<T> p{d_h.data(),
                               d_weight.data(),
                               d_inv.data(),
                               d_dy.data(),
                               fused ? d_residual.data() : nullptr,
                               d_dx.data(),
                               with_dweight ? d_dweight.data() : nullptr,
                               rows,
                               cols};
    const DeviceBuffer<std::byte> scratch(static_cast<size_t>(rms_norm_backward_workspace_bytes<Cuda>(p)));
    p.workspace = scratch.data();
    rms_norm_backward(gpu, p);
    if (cols > 1) {
      expect_near(d_dx, dx);
    } else {
      expect_cancelled(d_dx.values());
    }
    if (with_dweight) expect_near(d_dweight, dweight);
    return joined(d_dx.values(), d_dweight.values());
  }
};

template <class T, class Body>
void for_each_norm(bool fused, const Body& body) {
  for (const int64_t rows : {1, 3, 19}) {
    for (const int64_t cols : {1, 7, 64, 257, 520, 2056}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(cols));
      NormCase<T> c{rows, cols, fused};
      c.run_cpu();
      body(c);
    }
  }
}

TYPED_TEST(SimtRmsNorm, ForwardEqualsCpu) {
  for_each_norm<TypeParam>(false, [&](const auto& c) { this->for_each_schedule([&] { c.expect_forward(); }); });
}

TYPED_TEST(SimtRmsNorm, ForwardWithResidualEqualsCpu) {
  for_each_norm<TypeParam>(true, [&](const auto& c) { this->for_each_schedule([&] { c.expect_forward(); }); });
}

TYPED_TEST(SimtRmsNorm, BackwardEqualsCpu) {
  for_each_norm<TypeParam>(false, [&](const auto& c) { this->for_each_schedule([&] { c.expect_backward(true); }); });
}

TYPED_TEST(SimtRmsNorm, BackwardWithResidualEqualsCpu) {
  for_each_norm<TypeParam>(true, [&](const auto& c) { this->for_each_schedule([&] { c.expect_backward(true); }); });
}

TYPED_TEST(SimtRmsNorm, BackwardWithoutWeightGradientLeavesItAlone) {
  NormCase<TypeParam> c{5, 72, false};
  c.run_cpu();
  const std::vector<float> all = c.expect_backward(false);
  for (size_t i = 5 * 72; i < all.size(); ++i) EXPECT_EQ(all[i], 0.25F);
}

TYPED_TEST(SimtRmsNorm, BackwardOfRowsThatAreTooLongForSharedMemory) {
  NormCase<TypeParam> c{3, 24584, false};
  c.run_cpu();
  set_schedule(1);
  c.expect_backward(true);
}

TYPED_TEST(SimtRmsNorm, GroupsOfSeveralRowsGiveTheSameBitsInEveryOrder) {
  NormCase<TypeParam> c{530, 24, true};  // three rows to a group, two in the last
  c.run_cpu();
  set_schedule(1);
  const std::vector<float> expected = c.expect_backward(true);
  for (const uint64_t seed : {2, 3}) {
    set_schedule(seed, 0);
    EXPECT_TRUE(same_bits(c.expect_backward(true), expected));
  }
}

}  // namespace
}  // namespace subspect::kernels::test
