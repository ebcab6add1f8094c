// The sizes of a checkpoint's tensors, from the configuration alone.
#pragma once

#include <vector>

#include "model/config.h"
#include "runtime/tensor.h"

namespace subspect::model {

/// Of every tensor in a checkpoint of this configuration (tied embeddings once), block by block. Matrices are [out,
/// in].
std::vector<runtime::Shape> tensor_shapes(const DecoderConfig& config);

}  // namespace subspect::model
