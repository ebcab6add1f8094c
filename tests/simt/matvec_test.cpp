// The matrix-vector kernel against the CPU's linear layer.
#include "kernels/cuda/matvec.h"

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

template <class From, class To>
struct Conversion {
  using Source = From;
  using Target = To;
};

template <class Pair>
class SimtMatvec : public SimtCase {};
using Pairs = ::testing::Types<Conversion<float, float>, Conversion<bfloat16, bfloat16>, Conversion<bfloat16, float>>;
TYPED_TEST_SUITE(SimtMatvec, Pairs);

struct Shape {
  int64_t rows, in, out;
};

/// A layer whose operands begin some elements into their buffers.
template <class T, class Y>
struct Layer {
  Shape shape;
  bool biased = true;
  int64_t x_offset = 0;
  int64_t weight_offset = 0;
  std::vector<T> x = random_values<T>(shape.rows * shape.in + x_offset, 1);
  std::vector<T> weight = random_values<T>(shape.out * shape.in + weight_offset, 2);
  std::vector<T> bias = random_values<T>(shape.out, 3);

  LinearForwardParams<T, Y> params(const T* at_x, const T* at_weight, const T* at_bias, Y* y) const {
    return {at_x + x_offset, at_weight + weight_offset, biased ? at_bias : nullptr, y, shape.rows, shape.in, shape.out};
  }

  std::vector<Y> on_cpu() const {
    std::vector<Y> y(static_cast<size_t>(shape.rows * shape.out));
    linear_forward(context(), params(x.data(), weight.data(), bias.data(), y.data()));
    return y;
  }

  std::vector<Y> on_gpu() const {
    const DeviceBuffer<T> d_x(x), d_weight(weight), d_bias(bias);
    const DeviceBuffer<Y> y(static_cast<size_t>(shape.rows * shape.out));
    kernels::gpu::matvec(nullptr, params(d_x.data(), d_weight.data(), d_bias.data(), y.data()));
    return y.values();
  }

  void expect_equal() const {
    SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.in) + " x " + std::to_string(shape.out));
    expect_close(on_gpu(), widen(on_cpu()), 8 + static_cast<double>(shape.in));
  }
};

TYPED_TEST(SimtMatvec, EqualsCpu) {
  using Case = Layer<typename TypeParam::Source, typename TypeParam::Target>;
  for (const Shape shape : {Shape{1, 1, 1},
                            {1, 2056, 3},
                            {2, 8, 4},
                            {2, 131, 5},
                            {3, 1032, 9},
                            {4, 520, 7},
                            {5, 24, 2},
                            {8, 264, 13},
                            {8, 257, 6}}) {
    this->for_each_schedule([&] { Case{shape}.expect_equal(); });
  }
}

TYPED_TEST(SimtMatvec, WithoutBiasEqualsCpu) {
  using Case = Layer<typename TypeParam::Source, typename TypeParam::Target>;
  set_schedule(1);
  for (const Shape shape : {Shape{1, 40, 9}, {7, 33, 4}}) Case{shape, false}.expect_equal();
}

TYPED_TEST(SimtMatvec, UnalignedOperandsEqualCpu) {
  using Case = Layer<typename TypeParam::Source, typename TypeParam::Target>;
  set_schedule(1, 61);
  Case{{3, 264, 5}, true, 1, 0}.expect_equal();
  Case{{3, 264, 5}, true, 0, 1}.expect_equal();
}

TYPED_TEST(SimtMatvec, ManyRowsEqualCpu) {
  using Case = Layer<typename TypeParam::Source, typename TypeParam::Target>;
  set_schedule(2);
  for (const Shape shape : {Shape{9, 64, 6}, {21, 72, 9}}) Case{shape}.expect_equal();
}

TYPED_TEST(SimtMatvec, NoDepthIsTheBias) {
  using Case = Layer<typename TypeParam::Source, typename TypeParam::Target>;
  set_schedule(1);
  Case{{10, 0, 7}}.expect_equal();
}

TYPED_TEST(SimtMatvec, NothingToDoLaunchesNothing) {
  using Target = typename TypeParam::Target;
  using Source = typename TypeParam::Source;
  LinearForwardParams<Source, Target> p;
  p.in = p.out = 4;
  EXPECT_NO_THROW(kernels::gpu::matvec(nullptr, p));
  p.rows = 4;
  p.out = 0;
  EXPECT_NO_THROW(kernels::gpu::matvec(nullptr, p));
}

// What is generated for a sequence must not depend on what else is generated.
TYPED_TEST(SimtMatvec, RowsDoNotDependOnTheirNumber) {
  using Source = typename TypeParam::Source;
  using Target = typename TypeParam::Target;
  for (const int64_t in : {1064, 75}) {
    constexpr int64_t out = 6;
    set_schedule(1);
    const Layer<Source, Target> layer{{11, in, out}};
    const std::vector<Target> all = layer.on_gpu();
    for (const int64_t rows : {1, 2, 3, 4, 5, 8}) {
      const int64_t first = 11 - rows;
      Layer<Source, Target> part{{rows, in, out}};
      part.x.assign(layer.x.begin() + first * in, layer.x.end());
      EXPECT_TRUE(same_bits(part.on_gpu(), std::vector<Target>(all.begin() + first * out, all.end()))) << rows;
    }
  }
}

}  // namespace
}  // namespace subspect::kernels::test
