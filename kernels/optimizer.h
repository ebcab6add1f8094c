// Optimizer steps over lists of tensors, and the global gradient norm with the scale that clips by it. One call serves
// all parameters of a model; nothing in it waits for the device.
//
// Every result has the same bits on the CPU and on a GPU: each operation is rounded alone, and sums have one order.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

/// Consecutive elements that share one scale where a moment is kept in 8 bits.
inline constexpr int64_t moment_block = 256;

/// Consecutive elements of one tensor that are worked on together: one block of threads on a GPU.
inline constexpr int64_t chunk_elements = 8192;

/// A running mean that an optimizer keeps of a tensor: float32 values, or 8-bit codes (kernels/dynamic_code.h) with a
/// scale per block. All zero before the first step. All nullptr where the optimizer keeps none.
struct Moment {
  float* values = nullptr;   ///< [count], updated; nullptr where there are codes
  uint8_t* codes = nullptr;  ///< [count], updated
  float* scales = nullptr;   ///< [ceil(count / moment_block)], updated: the largest magnitude of each block

  bool operator==(const Moment&) const = default;
};

/// One tensor of a list. Memory may begin anywhere; multiples of 16 bytes (8 for `rounded`) are faster on a GPU.
struct OptimizerTensor {
  float* weights = nullptr;     ///< [count], updated: a float32 parameter, or the float32 master copy of another;
                                ///< nullptr to update `rounded` itself
  bfloat16* rounded = nullptr;  ///< [count], written: a bfloat16 parameter; nullptr where the parameter is float32
  const float* grad = nullptr;  ///< [count]
  Moment first;                 ///< of the gradients: AdamW's first moment, SGD's velocity
  Moment second;                ///< of their squares: AdamW's second moment
  int64_t count = 0;            ///< below 2^34
  int64_t begin = 0;            ///< where the first element stands in the tensor that this is a slice of, a multiple of
                                ///< moment_block: random numbers are those of the whole tensor
  uint64_t random_stream = 0;   ///< tells the random numbers of tensors apart (for example a hash of the name)
  float weight_decay = 0;

  bool operator==(const OptimizerTensor&) const = default;
};

/// Chunk `index` of tensor `tensor` of a list.
struct TensorChunk {
  int32_t tensor = 0;
  int32_t index = 0;
};

/// A list of tensors and its chunks, both in the memory of the device that works on them. The caller makes it once
/// (`count_chunks`, `write_chunks`) and keeps it as long as the tensors stay where they are.
struct TensorList {
  const OptimizerTensor* tensors = nullptr;
  const TensorChunk* chunks = nullptr;  ///< [chunk_count], tensor by tensor
  int64_t chunk_count = 0;
};

/// Chunks of the tensors of a list. On the host.
int64_t count_chunks(std::span<const OptimizerTensor> tensors);

/// Writes the chunks of a list in order. On the host. @param chunks [count_chunks(tensors)]
void write_chunks(std::span<const OptimizerTensor> tensors, TensorChunk* chunks);

/// What the rules of update have in common.
struct UpdateParams {
  TensorList list;
  float lr = 0;
  int64_t number = 1;                 ///< of this update, from 1
  const float* grad_scale = nullptr;  ///< [1] on the device: multiplies gradients; below 0 nothing is updated;
                                      ///< nullptr for 1
  /// Whether `rounded` is rounded stochastically (kernels/stochastic_rounding.h) where there are no float32 weights:
  /// else to the nearest value, in which updates below half a unit in the last place are lost.
  bool stochastic_rounding = false;
  uint64_t seed = 0;  ///< of the random numbers, with the number of the update and the stream of the tensor
};

struct AdamWParams {
  UpdateParams update;
  float beta1 = 0.9F;
  float beta2 = 0.999F;
  float eps = 1e-8F;
};

/// One step of AdamW (Loshchilov and Hutter, 2019, Algorithm 2) as PyTorch computes it, in float32:
/// p -= lr weight_decay p; p -= lr / (1 - beta1^number) m / (sqrt(v / (1 - beta2^number)) + eps). Moments kept in 8
/// bits (Dettmers et al., "8-bit Optimizers via Block-wise Quantization", ICLR 2022) are decoded, updated, used and
/// encoded anew.
template <Device D>
void adamw_step(Context<D> on, const AdamWParams& p);

struct SgdParams {
  UpdateParams update;
  float momentum = 0;
};

/// velocity = momentum * velocity + grad; p -= lr weight_decay p + lr velocity (Sutskever et al., 2013, as PyTorch but
/// for the decoupled decay).
template <Device D>
void sgd_step(Context<D> on, const SgdParams& p);

/// Where a tensor's index is asked for and there is none.
inline constexpr int64_t no_tensor = std::numeric_limits<int64_t>::max();

/// What a pass over gradients found.
struct GradientSummary {
  double squared_norm = 0;              ///< sum of the squares of the finite elements
  int64_t nonfinite = 0;                ///< elements that are infinite or NaN
  int64_t first_nonfinite = no_tensor;  ///< index of the first tensor with such an element, or no_tensor
};

struct SquaredNormParams {
  TensorList list;                     ///< of which the gradients are read
  GradientSummary* summary = nullptr;  ///< [1] on the device, written
  void* workspace = nullptr;           ///< `squared_norm_workspace_bytes`
};

template <Device D>
int64_t squared_norm_workspace_bytes(const SquaredNormParams& p);

/// Squared Euclidean norm of all gradients together, in float64, and the check for non-finite values, in one pass.
template <Device D>
void squared_norm(Context<D> on, const SquaredNormParams& p);

struct ClipScaleParams {
  const GradientSummary* summary = nullptr;  ///< [1] on the device
  double max_norm = 0;                       ///< 0: no clipping
  float* scale = nullptr;                    ///< [1] on the device, written
};

/// scale = min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 1 without clipping; -1 where a gradient
/// is not finite, with which nothing is updated.
template <Device D>
void clip_scale(Context<D> on, const ClipScaleParams& p);

}  // namespace subspect::kernels
