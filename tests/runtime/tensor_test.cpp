// Tensors: views, conversions, checks.
#include "runtime/tensor.h"

#include <gtest/gtest.h>

#include <numeric>

#include "runtime/dispatch.h"
#include "runtime/error.h"

namespace subspect::runtime {
namespace {

class TensorTest : public ::testing::Test {
 protected:
  Tensor counting(Shape shape) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    std::vector<float> values(static_cast<size_t>(count));
    std::iota(values.begin(), values.end(), 0.0F);
    return Tensor::from_host<float>(stream(), values, std::move(shape));
  }
  Stream& stream() { return *stream_; }

 private:
  std::shared_ptr<Stream> stream_ = Stream::open(Device{}, 1);
};

TEST_F(TensorTest, NarrowAndTransposeShareMemory) {
  const Tensor x = counting({3, 4});
  const Tensor column = x.narrow(1, 1, 2);
  EXPECT_FALSE(column.is_contiguous());
  EXPECT_TRUE(column.shares_storage_with(x));
  EXPECT_EQ(column.to_host<float>(stream()), (std::vector<float>{1, 2, 5, 6, 9, 10}));
  EXPECT_EQ(x.transpose().to_host<double>(stream()), (std::vector<double>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));
  EXPECT_TRUE(x.narrow(0, 1, 2).is_contiguous());
  EXPECT_EQ(*x.narrow(0, 2, 1).data<float>(), 8.0F);
}

TEST_F(TensorTest, CopiesConvertAndScatterIntoViews) {
  const Tensor x = counting({2, 3});
  const Tensor rounded = x.to(stream(), DType::bfloat16);
  EXPECT_EQ(rounded.dtype(), DType::bfloat16);
  EXPECT_EQ(rounded.to_host<int64_t>(stream()), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  const Tensor target = Tensor::zeros(stream(), {3, 4}, DType::float64);
  target.narrow(1, 1, 2).copy_from(stream(), x.transpose());  // neither side is contiguous
  EXPECT_EQ(target.to_host<float>(stream()), (std::vector<float>{0, 0, 3, 0, 0, 1, 4, 0, 0, 2, 5, 0}));
}

TEST_F(TensorTest, ConvertsEveryElementType) {
  const Tensor x = counting({5});
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16, DType::float64, DType::int64, DType::int32,
                            DType::int16, DType::int8, DType::uint8}) {
    EXPECT_EQ(x.to(stream(), dtype).to_host<float>(stream()), (std::vector<float>{0, 1, 2, 3, 4})) << name(dtype);
  }
}

TEST_F(TensorTest, ViewInfersOneSize) {
  const Tensor x = counting({2, 6});
  EXPECT_EQ(x.view({-1, 3}).shape(), (Shape{4, 3}));
  EXPECT_THROW(x.view({5, -1}), Error);
  EXPECT_THROW(x.transpose().view({12}), Error);
}

TEST_F(TensorTest, ChecksSayWhatCame) {
  const Tensor x = counting({2, 2});
  try {
    x.data<bfloat16>();
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("must hold bfloat16. Received float32 [2, 2]"), std::string::npos);
  }
  EXPECT_THROW(x.narrow(0, 1, 2), Error);
  EXPECT_THROW(x.size(2), Error);
  EXPECT_THROW(Tensor().data<float>(), Error);
  EXPECT_THROW(Tensor::from_host<float>(stream(), std::vector<float>{1, 2}, {3}), Error);
}

TEST_F(TensorTest, EmptyTensorsWork) {
  const Tensor x = Tensor::empty(stream(), {0, 4}, DType::float32);
  EXPECT_EQ(x.numel(), 0);
  EXPECT_TRUE(x.is_contiguous());
  EXPECT_TRUE(x.to(stream(), DType::bfloat16).to_host<float>(stream()).empty());
  EXPECT_TRUE(x.transpose().to_host<float>(stream()).empty());
}

TEST_F(TensorTest, WrapKeepsItsOwner) {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3});
  const float* data = owner->data();
  Tensor x = Tensor::wrap(data, {3}, DType::float32, Device{}, owner);
  const std::weak_ptr<std::vector<float>> watch = owner;
  owner.reset();
  EXPECT_EQ(x.to_host<float>(stream()), (std::vector<float>{1, 2, 3}));
  EXPECT_FALSE(watch.expired());
  x = Tensor();
  EXPECT_TRUE(watch.expired());
}

TEST_F(TensorTest, ToCpuIsACopyInHostMemory) {
  const Tensor x = Tensor::from_host<float>(stream(), std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor y = x.transpose().to_cpu(stream(), DType::bfloat16);
  EXPECT_EQ(y.dtype(), DType::bfloat16);
  EXPECT_TRUE(y.is_contiguous());
  x.fill_zero(stream());
  EXPECT_EQ(y.to_host<float>(stream()), (std::vector<float>{1, 4, 2, 5, 3, 6}));
}

TEST_F(TensorTest, CopiesStayBetweenTheHostAndTheStreamsDevice) {
  const Tensor elsewhere = Tensor::wrap(nullptr, {2}, DType::float32, {DeviceType::cuda, 1}, nullptr);
  const Tensor x = Tensor::zeros(stream(), {2}, DType::float32);
  EXPECT_THROW(x.copy_from(stream(), elsewhere), Error);
  EXPECT_THROW(elsewhere.copy_from(stream(), x), Error);
}

TEST(DeviceTest, ParsesNames) {
  EXPECT_EQ(Device::parse("cpu"), Device{});
  EXPECT_THROW(Device::parse("tpu"), UsageError);
  EXPECT_THROW(Device::parse("cuda:x"), UsageError);
  EXPECT_THROW(Device::parse("cuda:9999"), Error);  // no machine has that many
}

TEST(DeviceTest, ABuildWithoutCudaHasTheCpu) {
  if (built_with_cuda) GTEST_SKIP() << "built with CUDA";
  EXPECT_EQ(Device::parse("auto").to_string(), "cpu");
  EXPECT_THROW(Device::parse("cuda"), Error);
  EXPECT_THROW(Stream::open({DeviceType::cuda, 0}), Error);
}

TEST(DTypeTest, NamesRoundTrip) {
  EXPECT_EQ(parse_dtype(name(DType::bfloat16)), DType::bfloat16);
  EXPECT_EQ(parse_dtype("fp16"), DType::float16);
  EXPECT_EQ(element_size(DType::float64), 8);
  EXPECT_THROW(parse_dtype("float8"), UsageError);
}

}  // namespace
}  // namespace subspect::runtime
