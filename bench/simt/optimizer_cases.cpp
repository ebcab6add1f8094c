// Optimizers and the gradient norm over one large tensor; declared: of a billion parameters.
#include <optional>

#include "bench/simt/inputs.h"
#include "kernels/optimizer.h"

namespace subspect::bench {
namespace {

using namespace kernels;

constexpr int64_t count = 64 * chunk_elements;
constexpr double billion = 1e9;

/// What a parameter is and how its moments are kept.
enum class Kind { float32, master_copy, eight_bit_moments };

/// One tensor with everything that any kind needs, and a list of it.
class SingleTensor {
 public:
  explicit SingleTensor(Kind kind) {
    OptimizerTensor tensor;
    tensor.grad = grad_.data();
    tensor.count = count;
    if (kind != Kind::eight_bit_moments) tensor.weights = weights_.data();
    if (kind != Kind::float32) tensor.rounded = rounded_.data();
    if (kind == Kind::eight_bit_moments) {
      tensor.first = {nullptr, codes_.data(), scales_.data()};
      tensor.second = {nullptr, codes_.data() + count, scales_.data() + count / moment_block};
    } else {
      tensor.first.values = moments_.data();
      tensor.second.values = moments_.data() + count;
    }
    std::vector<TensorChunk> chunks(static_cast<size_t>(count_chunks({&tensor, 1})));
    write_chunks({&tensor, 1}, chunks.data());
    tensor_.emplace(std::vector<OptimizerTensor>{tensor});
    chunks_.emplace(chunks);
    chunk_count_ = static_cast<int64_t>(chunks.size());
  }

  TensorList list() const { return {tensor_->data(), chunks_->data(), chunk_count_}; }

 private:
  DeviceBuffer<float> weights_ = normal<float>(count, 1);
  DeviceBuffer<bfloat16> rounded_ = normal<bfloat16>(count, 2);
  DeviceBuffer<float> grad_ = normal<float>(count, 3);
  DeviceBuffer<float> moments_ = zeros<float>(2 * count);
  DeviceBuffer<uint8_t> codes_ = zeros<uint8_t>(2 * count);
  DeviceBuffer<float> scales_ = zeros<float>(2 * count / moment_block);
  std::optional<DeviceBuffer<OptimizerTensor>> tensor_;
  std::optional<DeviceBuffer<TensorChunk>> chunks_;
  int64_t chunk_count_ = 0;
};

CostSizes flat(double elements, size_t element) {
  return {.cols = elements, .element = static_cast<double>(element)};
}

void adamw(Kind kind) {
  const SingleTensor tensor(kind);
  adamw_step(gpu, AdamWParams{.update = {.list = tensor.list(), .lr = 0.01F, .stochastic_rounding = true}});
}
/// Float32 weights, gradient and two moments, read and, but for the gradient, written; a bfloat16 copy written.
KernelCost master_cost(const CostSizes& s) {
  return {30 * s.cols, 14 * s.cols};
}
/// A bfloat16 parameter and two codes, read and written; a float32 gradient; scales.
KernelCost eight_bit_cost(const CostSizes& s) {
  return {(4 + 4 + 4 + 16.0 / moment_block) * s.cols, 60 * s.cols};
}

void sgd() {
  const SingleTensor tensor(Kind::float32);
  sgd_step(gpu, SgdParams{.update = {.list = tensor.list(), .lr = 0.01F}, .momentum = 0.9F});
}

void norm() {
  const SingleTensor tensor(Kind::float32);
  const auto summary = unwritten<GradientSummary>(1);
  SquaredNormParams p{tensor.list(), summary.data(), nullptr};
  const auto workspace = unwritten<std::byte>(squared_norm_workspace_bytes<Cuda>(p));
  p.workspace = workspace.data();
  squared_norm(gpu, p);
}

void clip() {
  const DeviceBuffer<GradientSummary> summary(std::vector<GradientSummary>{{4.0, 0, no_tensor}});
  const auto scale = unwritten<float>(1);
  clip_scale(gpu, ClipScaleParams{summary.data(), 1.0, scale.data()});
}

}  // namespace

std::vector<Case> optimizer_cases() {
  const std::string f32 = "float32";
  const std::string b16 = "bfloat16";
  const CostSizes wide = flat(real(count), sizeof(float));
  const CostSizes all_wide = flat(billion, sizeof(float));
  const CostSizes narrow = flat(real(count), sizeof(bfloat16));
  const CostSizes all_narrow = flat(billion, sizeof(bfloat16));
  std::vector<Case> cases = {
      registered("adamw_step", "", f32, wide, all_wide, [] { adamw(Kind::float32); }),
      unregistered("adamw_step, master copy", b16, narrow, all_narrow, master_cost, [] { adamw(Kind::master_copy); }),
      unregistered("adamw_step, 8-bit moments", b16, narrow, all_narrow, eight_bit_cost,
                   [] { adamw(Kind::eight_bit_moments); }),
      registered("sgd_step", "", f32, wide, all_wide, sgd),
      registered("squared_norm", "", f32, wide, all_wide, norm),
      registered("clip_scale", "", f32, flat(1, 4), flat(1, 4), clip),
  };
  cases.back().bound_by_memory = false;  // one thread, a few numbers
  return cases;
}

}  // namespace subspect::bench
