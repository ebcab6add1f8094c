// The weights of one checkpoint as the subspace experiments read them: floating-point tensors, tied embeddings once,
// in float32, compared by name and shape with those of other checkpoints.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/safetensors.h"
#include "runtime/tensor.h"

namespace subspect::experiments::subspace {

/// A checkpoint directory, memory-mapped.
class WeightSource {
 public:
  /// Opens the safetensors of a Hugging Face directory. @param name for tables and errors.
  static WeightSource open(std::string name, const std::filesystem::path& directory);

  const std::string& name() const { return name_; }
  const std::filesystem::path& directory() const { return set_.directory(); }
  /// Floating-point tensors in the order of the files, without the output projection of a tied model.
  const std::vector<std::string>& tensors() const { return tensors_; }
  /// Everything else: integer tensors (buffers).
  const std::vector<std::string>& other_tensors() const { return other_tensors_; }
  /// The embedding is also the output projection.
  bool tied() const { return tied_; }
  bool contains(std::string_view tensor) const { return set_.contains(tensor); }
  runtime::io::TensorInfo info(std::string_view tensor) const { return set_.info(tensor); }

  /// As stored, on the mapping.
  runtime::Tensor stored(std::string_view tensor) const { return set_.tensor(tensor); }
  /// As stored; throws Error naming file and tensor for NaN or infinity.
  runtime::Tensor finite(std::string_view tensor) const;
  /// A float32 copy on the stream's device. Throws Error naming file and tensor for NaN or infinity.
  runtime::Tensor load(runtime::Stream& stream, std::string_view tensor) const;

 private:
  std::string name_;
  runtime::io::SafetensorsSet set_;
  std::vector<std::string> tensors_;
  std::vector<std::string> other_tensors_;
  bool tied_ = false;
};

/// Throws Error naming the tensor, both models and both shapes unless `other` has exactly the tensors of `reference`.
void require_same_tensors(const WeightSource& reference, const WeightSource& other);

/// a - b in float32, contiguous: on the stream's device, or in host memory where there is no room for it.
runtime::Tensor difference(runtime::Stream& stream, const WeightSource& a, const WeightSource& b,
                           std::string_view tensor);

int64_t elements(const runtime::Shape& shape);

/// A view as a matrix: [n] is a column [n, 1], [a, b, ...] is [a, b * ...].
runtime::Tensor as_matrix(const runtime::Tensor& tensor);

/// True when one of the shell patterns (*, ?, [...]) matches the name.
bool matches_any(const std::vector<std::string>& globs, const std::string& name);
/// The tensors of `source` that match; throws UsageError naming `key` for a pattern that matches none.
std::vector<std::string> select_tensors(const WeightSource& source, const std::vector<std::string>& globs,
                                        std::string_view key);

/// "layers.3" for a tensor of a decoder layer; empty for any other.
std::string decoder_layer_of(std::string_view tensor);
/// The decoder layer, or for other tensors their own name without "model." and ".weight" ("embed_tokens").
std::string group_of(std::string_view tensor);
/// What the tensor is, in whatever layer: its name without "model.", the layer and ".weight" or ".bias"
/// ("self_attn.q_proj"); "norms" for every norm, "embeddings" for the embedding.
std::string module_of(std::string_view tensor);

}  // namespace subspect::experiments::subspace
