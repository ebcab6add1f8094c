// The optimizer kernels, run by the shim, against the CPU kernels: the same bits for lists of tensors in every form.
#include "kernels/optimizer.h"

#include <limits>
#include <memory>

#include "tests/kernels/optimizer_lists.h"
#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

class SimtOptimizer : public SimtCase {};

/// An array on the device that begins `skip` elements behind an aligned address; none where the host has none.
template <class T>
class DeviceArray {
 public:
  DeviceArray(const std::vector<T>& values, size_t skip) : skip_(skip) {
    if (values.empty()) return;
    std::vector<T> padded(skip);
    padded.insert(padded.end(), values.begin(), values.end());
    buffer_ = std::make_unique<DeviceBuffer<T>>(padded);
  }

  T* data() const { return buffer_ == nullptr ? nullptr : buffer_->data() + skip_; }
  std::vector<T> values() const {
    if (buffer_ == nullptr) return {};
    const std::vector<T> padded = buffer_->values();
    return {padded.begin() + static_cast<std::ptrdiff_t>(skip_), padded.end()};
  }

 private:
  size_t skip_;
  std::unique_ptr<DeviceBuffer<T>> buffer_;
};

struct DeviceMoment {
  DeviceArray<float> values;
  DeviceArray<uint8_t> codes;
  DeviceArray<float> scales;

  DeviceMoment(const MomentData& m, size_t skip)
      : values(m.values, skip), codes(m.codes, skip), scales(m.scales, skip) {}
  Moment moment() const { return {values.data(), codes.data(), scales.data()}; }
  void download(MomentData& to) const {
    to.values = values.values();
    to.codes = codes.values();
    to.scales = scales.values();
  }
};

struct DeviceTensor {
  DeviceArray<float> weights;
  DeviceArray<bfloat16> rounded;
  DeviceArray<float> grad;
  DeviceMoment first;
  DeviceMoment second;

  DeviceTensor(const TensorData& t, size_t skip)
      : weights(t.weights, skip),
        rounded(t.rounded, skip),
        grad(t.grad, skip),
        first(t.first, skip),
        second(t.second, skip) {}
};

/// A copy of the tensors on the device, and their list.
class DeviceList {
 public:
  explicit DeviceList(const std::vector<TensorData>& tensors, size_t skip = 0) : host_(tensors) {
    std::vector<OptimizerTensor> records;
    for (const TensorData& t : tensors) {
      const DeviceTensor& d = *device_.emplace_back(std::make_unique<DeviceTensor>(t, skip));
      records.push_back({d.weights.data(), d.rounded.data(), d.grad.data(), d.first.moment(), d.second.moment(),
                         t.count, t.begin, t.random_stream, t.weight_decay});
    }
    std::vector<TensorChunk> chunks(static_cast<size_t>(count_chunks(records)));
    write_chunks(records, chunks.data());
    chunk_count_ = static_cast<int64_t>(chunks.size());
    records_ = std::make_unique<DeviceBuffer<OptimizerTensor>>(records);
    chunks_ = std::make_unique<DeviceBuffer<TensorChunk>>(chunks);
  }

  TensorList list() const { return {records_->data(), chunks_->data(), chunk_count_}; }

  std::vector<TensorData> download() const {
    std::vector<TensorData> tensors = host_;
    for (size_t i = 0; i < tensors.size(); ++i) {
      tensors[i].weights = device_[i]->weights.values();
      tensors[i].rounded = device_[i]->rounded.values();
      device_[i]->first.download(tensors[i].first);
      device_[i]->second.download(tensors[i].second);
    }
    return tensors;
  }

 private:
  std::vector<TensorData> host_;
  std::vector<std::unique_ptr<DeviceTensor>> device_;
  std::unique_ptr<DeviceBuffer<OptimizerTensor>> records_;
  std::unique_ptr<DeviceBuffer<TensorChunk>> chunks_;
  int64_t chunk_count_ = 0;
};

UpdateParams update_params(const TensorList& list, int64_t number, const float* scale) {
  return {.list = list,
          .lr = 0.01F,
          .number = number,
          .grad_scale = scale,
          .stochastic_rounding = number != 2,
          .seed = 0x123456789ABCDEF0U};
}

/// Runs `step(context, update)` on both devices, over the same tensors, which then have the same bits.
template <class Step>
void expect_same_step(std::vector<TensorData>& tensors, int64_t number, size_t skip, const Step& step) {
  const float scale = 0.5F;
  const DeviceList device(tensors, skip);
  const DeviceBuffer<float> device_scale(std::vector<float>{scale});
  step(gpu, update_params(device.list(), number, device_scale.data()));
  const HostList host(tensors);
  step(context(), update_params(host.list(), number, &scale));
  expect_same_tensors(device.download(), tensors);
}

template <Device D>
void adamw(Context<D> on, const UpdateParams& update) {
  adamw_step(on, AdamWParams{.update = update, .eps = 1e-4F});
}

template <Device D>
void sgd(Context<D> on, const UpdateParams& update) {
  sgd_step(on, SgdParams{update, 0.9F});
}

TEST_F(SimtOptimizer, AdamWHasTheBitsOfTheCpu) {
  std::vector<TensorData> tensors = tensors_of_all_forms();
  for (int64_t number = 1; number <= 3; ++number) {
    set_schedule(static_cast<uint64_t>(number), number == 3 ? 61 : 0);
    set_gradients(tensors, number);
    expect_same_step(tensors, number, 0, [](auto on, const UpdateParams& update) { adamw(on, update); });
  }
}

TEST_F(SimtOptimizer, SgdHasTheBitsOfTheCpu) {
  for (const bool momentum : {false, true}) {
    std::vector<TensorData> tensors = tensors_of_all_forms(MomentForm::none);
    if (!momentum) {
      for (TensorData& t : tensors) t.first = {};
    }
    for (int64_t number = 1; number <= 2; ++number) {
      set_schedule(static_cast<uint64_t>(number), number == 2 ? 61 : 0);
      set_gradients(tensors, number);
      for (TensorData& t : tensors) {  // the sign of zero tells whether there is a velocity
        if (t.weights.empty()) continue;
        t.grad[0] = -0.0F;
        t.weights[0] = -0.0F;
      }
      expect_same_step(tensors, number, 0, [](auto on, const UpdateParams& update) { sgd(on, update); });
    }
  }
}

TEST_F(SimtOptimizer, UnalignedTensorsHaveTheBitsOfTheCpu) {
  for (const size_t skip : {2, 4}) {  // with 4, bfloat16 and codes are aligned to as much as is needed
    std::vector<TensorData> tensors = tensors_of_all_forms();
    set_schedule(skip);
    for (int64_t number = 1; number <= 2; ++number) {
      expect_same_step(tensors, number, skip, [](auto on, const UpdateParams& update) { adamw(on, update); });
    }
  }
}

/// One array after the other begins where packs may not.
TEST_F(SimtOptimizer, EachUnalignedArrayIsNoticed) {
  const std::vector<TensorData> coded = {make_tensor(512, WeightForm::bfloat16, MomentForm::int8, MomentForm::int8, 1)};
  const std::vector<TensorData> plain = {
      make_tensor(512, WeightForm::master, MomentForm::float32, MomentForm::float32, 2)};
  set_schedule(1);
  for (const bool is_coded : {false, true}) {
    for (int which = 0; which < 8; ++which) {
      std::vector<TensorData> tensors = is_coded ? coded : plain;
      const HostList host(tensors);
      const TensorData& t = tensors[0];
      const auto skip = [which](int array) { return array == which ? size_t{2} : size_t{0}; };
      const DeviceArray<float> weights(t.weights, skip(0)), grad(t.grad, skip(1));
      const DeviceArray<bfloat16> rounded(t.rounded, skip(2));
      const DeviceArray<float> m(t.first.values, skip(3)), v(t.second.values, skip(4));
      const DeviceArray<uint8_t> m_codes(t.first.codes, skip(5)), v_codes(t.second.codes, skip(6));
      const DeviceArray<float> m_scales(t.first.scales, skip(7)), v_scales(t.second.scales, 0);
      const DeviceBuffer<OptimizerTensor> record(
          std::vector<OptimizerTensor>{{weights.data(),
                                        rounded.data(),
                                        grad.data(),
                                        {m.data(), m_codes.data(), m_scales.data()},
                                        {v.data(), v_codes.data(), v_scales.data()},
                                        t.count,
                                        t.begin,
                                        t.random_stream,
                                        t.weight_decay}});
      const DeviceBuffer<TensorChunk> chunk(std::vector<TensorChunk>{{0, 0}});
      adamw(gpu, update_params({record.data(), chunk.data(), 1}, 1, nullptr));
      adamw(context(), update_params(host.list(), 1, nullptr));
      EXPECT_TRUE(same_bits(weights.values(), t.weights));
      EXPECT_TRUE(same_bits(rounded.values(), t.rounded));
      EXPECT_TRUE(same_bits(m.values(), t.first.values));
      EXPECT_TRUE(same_bits(v.values(), t.second.values));
      EXPECT_TRUE(same_bits(m_codes.values(), t.first.codes));
      EXPECT_TRUE(same_bits(v_codes.values(), t.second.codes));
      EXPECT_TRUE(same_bits(m_scales.values(), t.first.scales));
    }
  }
}

TEST_F(SimtOptimizer, ExtremeGradientsHaveTheBitsOfTheCpu) {
  std::vector<TensorData> tensors = tensors_of_all_forms();
  const float values[] = {0.0F,   -0.0F,  1e-30F, -1e-30F, 1e-42F, 1e18F, -1e18F, 3e38F,
                          1e-10F, -3e-7F, 1e-19F, -1e-5F,  0.25F,  -1.0F, 7e-3F,  1e5F};
  for (TensorData& t : tensors) {
    for (size_t i = 0; i < t.grad.size(); ++i) t.grad[i] = values[(i * i + i / 256) % std::size(values)];
  }
  set_schedule(1);
  expect_same_step(tensors, 1, 0, [](auto on, const UpdateParams& update) { adamw(on, update); });
}

TEST_F(SimtOptimizer, NotFiniteMomentsShowOnBothDevices) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<TensorData> tensors = {make_tensor(700, WeightForm::float32, MomentForm::int8, MomentForm::none, 1)};
    tensors[0].grad[300] = bad;
    set_schedule(1);
    const DeviceList device(tensors);
    sgd(gpu, update_params(device.list(), 1, nullptr));
    sgd(gpu, update_params(device.list(), 2, nullptr));
    const TensorData after = device.download()[0];
    for (size_t i = 0; i < 700; ++i) EXPECT_EQ(std::isfinite(after.weights[i]), i < 256 || i >= 512) << i;
    EXPECT_FALSE(std::isfinite(after.first.scales[1]));
  }
}

TEST_F(SimtOptimizer, NegativeScaleLeavesEverythingAsItIs) {
  const std::vector<TensorData> tensors = tensors_of_all_forms();
  set_schedule(1);
  const DeviceList device(tensors);
  const DeviceBuffer<float> scale(std::vector<float>{-1.0F});
  adamw(gpu, update_params(device.list(), 1, scale.data()));
  sgd(gpu, update_params(device.list(), 1, scale.data()));
  expect_same_tensors(device.download(), tensors);
}

TEST_F(SimtOptimizer, EmptyListsLaunchNothing) {
  EXPECT_NO_THROW(adamw(gpu, update_params({}, 1, nullptr)));
  EXPECT_NO_THROW(sgd(gpu, update_params({}, 1, nullptr)));
}

// ---- The gradient norm

GradientSummary device_summary(const TensorList& list) {
  const DeviceBuffer<GradientSummary> summary(1);
  SquaredNormParams p{list, summary.data(), nullptr};
  const auto bytes = static_cast<size_t>(squared_norm_workspace_bytes<Cuda>(p));
  const DeviceBuffer<std::byte> workspace(std::max<size_t>(bytes, 16));
  p.workspace = workspace.data();
  squared_norm(gpu, p);
  return summary.values()[0];
}

void expect_same_summary(std::vector<TensorData>& tensors, size_t skip = 0) {
  const HostList host(tensors);
  const GradientSummary expected = summary_of(context(), host.list());
  const DeviceList device(tensors, skip);
  const GradientSummary actual = device_summary(device.list());
  EXPECT_EQ(actual.squared_norm, expected.squared_norm);  // bit for bit
  EXPECT_EQ(actual.nonfinite, expected.nonfinite);
  EXPECT_EQ(actual.first_nonfinite, expected.first_nonfinite);
}

std::vector<TensorData> gradients(std::initializer_list<int64_t> counts) {
  std::vector<TensorData> tensors;
  for (const int64_t count : counts) {
    tensors.push_back(make_tensor(count, WeightForm::float32, MomentForm::none, MomentForm::none, tensors.size() + 1));
  }
  return tensors;
}

TEST_F(SimtOptimizer, SquaredNormHasTheBitsOfTheCpu) {
  std::vector<TensorData> tensors = gradients({1, 1031, 0, 4097, 2 * chunk_elements + 6, chunk_elements});
  for_each_schedule([&] { expect_same_summary(tensors); });
  set_schedule(6);
  expect_same_summary(tensors, 1);
  tensors[3].grad[3] = std::numeric_limits<float>::infinity();
  tensors[4].grad.back() = std::numeric_limits<float>::quiet_NaN();
  tensors[4].grad[chunk_elements + 5] = -std::numeric_limits<float>::infinity();
  for_each_schedule([&] { expect_same_summary(tensors); });
  std::vector<TensorData> nothing;
  expect_same_summary(nothing);
}

/// More chunks than the last kernel has threads; one of these finds two tensors that are not finite.
TEST_F(SimtOptimizer, SquaredNormAddsMoreChunksThanThreads) {
  std::vector<TensorData> tensors;
  for (uint64_t i = 0; i < 1100; ++i) {
    tensors.push_back(make_tensor(3, WeightForm::float32, MomentForm::none, MomentForm::none, i + 1));
  }
  for (const size_t bad : {1050, 40, 26}) tensors[bad].grad[1] = std::numeric_limits<float>::quiet_NaN();
  set_schedule(2);
  expect_same_summary(tensors);
}

TEST_F(SimtOptimizer, ClipScaleHasTheBitsOfTheCpu) {
  for (const GradientSummary& summary :
       {GradientSummary{25, 0, no_tensor}, GradientSummary{0.3, 0, no_tensor}, GradientSummary{0, 0, no_tensor},
        GradientSummary{1e30, 0, no_tensor}, GradientSummary{25, 1, 3}}) {
    for (const double max_norm : {0.0, 0.1, 2.5, 4.999999, 5.000002, 6.0}) {
      float expected = 7;
      clip_scale(context(), ClipScaleParams{&summary, max_norm, &expected});
      const DeviceBuffer<GradientSummary> device(std::vector<GradientSummary>{summary});
      const DeviceBuffer<float> scale(1);
      clip_scale(gpu, ClipScaleParams{device.data(), max_norm, scale.data()});
      EXPECT_EQ(scale.values()[0], expected);
    }
  }
}

}  // namespace
}  // namespace subspect::kernels::test
