// Intervention: one direction of the residual stream that forward passes remove or add. Inference only.
// Method: Arditi et al., "Refusal in Language Models Is Mediated by a Single Direction" (arXiv 2406.11717),
// section 2.4.
#pragma once

#include <cstdint>
#include <span>

#include "model/config.h"
#include "runtime/tape.h"
#include "runtime/tensor.h"

namespace subspect::model {

/// What happens to the residual stream at every position. Hidden state l is what block l reads (0: the embedding
/// output); the last one is what the final norm reads.
class Intervention {
 public:
  enum class Kind : uint8_t {
    ablate,  ///< x - r (r . x) for all that is written to the stream: the embedding, and what every attention and MLP
             ///< adds. The same as weights that cannot write along r: W - r (r^T W), biases too.
    add,     ///< x + offset for hidden state `layer`
  };

  /// @param direction [hidden] of any length above 0; it is normalised
  /// @param dtype     of the decoder
  /// Throws Error when the length is 0 or not finite.
  static Intervention ablate(runtime::Stream& stream, std::span<const float> direction, runtime::DType dtype);

  /// @param offset [hidden], what is added
  /// @param layer  of 0 to the decoder's number of layers
  static Intervention add(runtime::Stream& stream, std::span<const float> offset, int64_t layer, runtime::DType dtype);

  Kind kind() const { return kind_; }

  /// Throws Error where the direction has another width or type than the decoder, or there is no such layer.
  void require_fits(const DecoderConfig& config, runtime::DType dtype) const;

  /// Changes `written` [T, hidden], which is about to be added to the stream, in place.
  /// @param completes the hidden state that the stream is afterwards; -1 after attention
  void change(const runtime::Execution& on, const runtime::Tensor& written, int64_t completes) const;

 private:
  Intervention(Kind kind, int64_t layer) : kind_(kind), layer_(layer) {}

  Kind kind_;
  int64_t layer_;           // of `add`
  runtime::Tensor offset_;  // [hidden], of `add`
  runtime::Tensor read_;    // [rank, hidden]: r, then rows of zeros; of `ablate`
  runtime::Tensor write_;   // [hidden, rank]: -r, then columns of zeros
};

}  // namespace subspect::model
