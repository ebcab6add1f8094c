// The chunks of lists of tensors.
#include "kernels/optimizer.h"

namespace subspect::kernels {
namespace {

int64_t chunks_of(const OptimizerTensor& tensor) {
  return (tensor.count + chunk_elements - 1) / chunk_elements;
}

}  // namespace

int64_t count_chunks(std::span<const OptimizerTensor> tensors) {
  int64_t count = 0;
  for (const OptimizerTensor& tensor : tensors) count += chunks_of(tensor);
  return count;
}

void write_chunks(std::span<const OptimizerTensor> tensors, TensorChunk* chunks) {
  for (size_t t = 0; t < tensors.size(); ++t) {
    for (int64_t i = 0; i < chunks_of(tensors[t]); ++i) {
      *chunks++ = {static_cast<int32_t>(t), static_cast<int32_t>(i)};
    }
  }
}

}  // namespace subspect::kernels
