// Checkpoints: Hugging Face model directories read into a Decoder, and written so that Transformers, vLLM and lm-eval
// load them unchanged.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/decoder.h"
#include "runtime/io/safetensors.h"
#include "runtime/tensor.h"

namespace subspect::model {

/// Tensors by their names in the checkpoint, on the host or the device.
using NamedTensors = std::map<std::string, runtime::Tensor>;

/// The dtype to compute with for a checkpoint's: bfloat16 stays, float16 (which training overflows) becomes float32.
runtime::DType compute_dtype(runtime::DType stored);

/// Reads config.json and the weights. @param dtype of the model; default: the checkpoint's, float16 becoming float32.
/// Throws Error naming the file and tensor for missing, unexpected or misshapen tensors, and for NaN or Inf.
Decoder load_decoder(runtime::Stream& stream, const std::filesystem::path& directory,
                     std::optional<runtime::DType> dtype = std::nullopt);

/// Overwrites all weights of the decoder from tensors of any floating-point dtype; errors as `load_decoder`. The output
/// projection of a tied model may be there or not; it is ignored.
void load_weights(runtime::Stream& stream, Decoder& decoder, const runtime::io::SafetensorsSet& tensors);

/// The same from memory. @param where says in errors where the tensors come from.
void load_weights(runtime::Stream& stream, Decoder& decoder, const NamedTensors& tensors, const std::string& where);

/// The decoder's weights under their checkpoint names; views, not copies. Tied weights appear once.
NamedTensors named_weights(const Decoder& decoder);

struct SaveOptions {
  std::filesystem::path source = {};  ///< tokenizer files and generation_config.json are copied from here; may be empty
  std::optional<runtime::DType> dtype = {};  ///< of the file; default: the tensors' own
  int64_t max_shard_bytes = 5'000'000'000;
  bool overwrite = false;  ///< replace an existing directory; otherwise its existence is an error
};

/// Writes the whole directory under a temporary name and renames it, so that a half-written model is never seen.
void save_checkpoint(runtime::Stream& stream, const Decoder& decoder, const std::filesystem::path& output,
                     const SaveOptions& options);
void save_checkpoint(runtime::Stream& stream, const DecoderConfig& config, const NamedTensors& tensors,
                     const std::filesystem::path& output, const SaveOptions& options);

}  // namespace subspect::model
