// SafeLoRA: an update D = F - A is projected on the alignment V = A - B where it points away from it.
// Method: Hsu et al. 2024, "Safe LoRA" (arXiv 2405.16833): C = V V^T / ||V||_F, D becomes C D where cos(D, C D) is
// below a threshold, or in the tensors with the lowest cosines. There D is a product of LoRA factors, here any update.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/factors.h"
#include "experiments/subspace/weights.h"
#include "runtime/tensor.h"

namespace subspect::experiments::subspace {

/// What C does to the update of one tensor; sums in float64 over float32 values.
struct SafeLoraTensor {
  std::string tensor;
  int64_t rows = 0;  ///< a vector is a column
  int64_t cols = 0;
  double update = 0;     ///< ||D||^2
  double projected = 0;  ///< ||C D||^2
  double product = 0;    ///< <D, C D>

  double cosine() const;  ///< of D and C D; NaN where one of them is 0
};

/// Operations of safelora_projection for matrices of this shape.
double safelora_flops(const runtime::Shape& shape);

/// C D of `update` by `alignment`, both [m, n] float32 on the stream's device; 0 where V = 0.
runtime::Tensor safelora_projection(runtime::Stream& stream, const runtime::Tensor& alignment,
                                    const runtime::Tensor& update);

/// A + C D of one tensor, in float32.
runtime::Tensor safelora_weights(runtime::Stream& stream, const UpdateSources& sources, size_t finetuned,
                                 const std::string& tensor);

/// Every tensor of one fine-tuned model. Throws Interrupted between two batches of tensors.
std::vector<SafeLoraTensor> measure_safelora(RunContext& context, const UpdateSources& sources, size_t finetuned,
                                             const std::vector<std::string>& tensors);

/// Which tensors are projected, as flags in their order: those whose cosine is below `threshold`.
std::vector<bool> below_threshold(const std::vector<SafeLoraTensor>& tensors, double threshold);
/// The `count` tensors with the lowest cosines (of equal ones the first); fewer where fewer have a cosine.
std::vector<bool> lowest_cosines(const std::vector<SafeLoraTensor>& tensors, int64_t count);

}  // namespace subspect::experiments::subspace
