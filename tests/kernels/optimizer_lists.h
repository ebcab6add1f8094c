// Lists of tensors for the tests of the optimizer kernels: in every form that an optimizer keeps them, with their
// memory.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/optimizer.h"
#include "tests/kernels/support.h"

namespace subspect::kernels::test {

/// What is updated: a float32 parameter, a bfloat16 one with a float32 master copy, or a bfloat16 one alone.
enum class WeightForm { float32, master, bfloat16 };

/// How moments are kept.
enum class MomentForm { none, float32, int8 };

struct MomentData {
  std::vector<float> values;
  std::vector<uint8_t> codes;
  std::vector<float> scales;

  MomentData() = default;
  MomentData(MomentForm form, int64_t count) {
    const auto size = static_cast<size_t>(count);
    if (form == MomentForm::float32) values.resize(size);
    if (form != MomentForm::int8) return;
    codes.resize(size);
    scales.resize((size + moment_block - 1) / moment_block);
  }
};

/// The memory of one tensor; arrays that its form has not are empty.
struct TensorData {
  int64_t count = 0;
  int64_t begin = 0;
  uint64_t random_stream = 0;
  float weight_decay = 0;
  std::vector<float> weights;
  std::vector<bfloat16> rounded;
  std::vector<float> grad;
  MomentData first;
  MomentData second;
};

inline TensorData make_tensor(int64_t count, WeightForm weights, MomentForm first, MomentForm second, uint64_t seed,
                              float weight_decay = 0) {
  TensorData data;
  data.count = count;
  data.begin = static_cast<int64_t>(seed % 3) * moment_block;  // often a slice of a larger one
  data.random_stream = seed * 77;
  data.weight_decay = weight_decay;
  const std::vector<bfloat16> start = random_values<bfloat16>(count, seed);
  if (weights != WeightForm::float32) data.rounded = start;
  if (weights != WeightForm::bfloat16) {
    for (const bfloat16 value : start) data.weights.push_back(to_float(value));
  }
  data.grad = random_values<float>(count, seed + 1000);
  data.first = MomentData(first, count);
  data.second = MomentData(second, count);
  return data;
}

template <class T>
T* pointer(std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

/// The list of these tensors for the CPU. The tensors outlive it.
class HostList {
 public:
  explicit HostList(std::vector<TensorData>& tensors) {
    const auto moment = [](MomentData& m) { return Moment{pointer(m.values), pointer(m.codes), pointer(m.scales)}; };
    for (TensorData& t : tensors) {
      records_.push_back({pointer(t.weights), pointer(t.rounded), pointer(t.grad), moment(t.first), moment(t.second),
                          t.count, t.begin, t.random_stream, t.weight_decay});
    }
    chunks_.resize(static_cast<size_t>(count_chunks(records_)));
    write_chunks(records_, chunks_.data());
  }

  TensorList list() const { return {records_.data(), chunks_.data(), static_cast<int64_t>(chunks_.size())}; }

 private:
  std::vector<OptimizerTensor> records_;
  std::vector<TensorChunk> chunks_;
};

/// The gradients of update `number`.
inline void set_gradients(std::vector<TensorData>& tensors, int64_t number) {
  for (TensorData& t : tensors)
    t.grad = random_values<float>(t.count, t.begin, t.random_stream + static_cast<uint64_t>(number));
}

/// The squared norm of the gradients and what is not finite among them, by the CPU.
inline GradientSummary summary_of(Context<Cpu> on, const TensorList& list) {
  GradientSummary summary{7, 7, 7};  // overwritten
  SquaredNormParams p{list, &summary, nullptr};
  const Workspace workspace(squared_norm_workspace_bytes<Cpu>(p));
  p.workspace = workspace.get();
  squared_norm(on, p);
  return summary;
}

inline void expect_same_moment(const MomentData& actual, const MomentData& expected) {
  EXPECT_TRUE(same_bits(actual.values, expected.values));
  EXPECT_TRUE(same_bits(actual.codes, expected.codes));
  EXPECT_TRUE(same_bits(actual.scales, expected.scales));
}

inline void expect_same_tensors(const std::vector<TensorData>& actual, const std::vector<TensorData>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    SCOPED_TRACE("tensor " + std::to_string(i) + " of " + std::to_string(actual[i].count) + " elements");
    EXPECT_TRUE(same_bits(actual[i].weights, expected[i].weights));
    EXPECT_TRUE(same_bits(actual[i].rounded, expected[i].rounded));
    expect_same_moment(actual[i].first, expected[i].first);
    expect_same_moment(actual[i].second, expected[i].second);
  }
}

/// Tensors in all forms, of sizes around those of tiles and chunks.
inline std::vector<TensorData> tensors_of_all_forms(MomentForm second = MomentForm::float32) {
  std::vector<TensorData> tensors;
  uint64_t seed = 1;
  for (const WeightForm form : {WeightForm::float32, WeightForm::master, WeightForm::bfloat16}) {
    for (const int64_t count : {1, 255, 256, 1030}) {
      for (const MomentForm moment : {MomentForm::float32, MomentForm::int8}) {
        const MomentForm of_squares = second == MomentForm::none ? second : moment;
        tensors.push_back(make_tensor(count, form, moment, of_squares, seed, 0.01F * static_cast<float>(seed)));
        ++seed;
      }
    }
  }
  tensors.push_back(make_tensor(0, WeightForm::float32, MomentForm::float32, second, seed));
  tensors.push_back(make_tensor(chunk_elements + 263, WeightForm::bfloat16, MomentForm::int8,
                                second == MomentForm::none ? second : MomentForm::int8, seed + 1, 0.5F));
  return tensors;
}

}  // namespace subspect::kernels::test
