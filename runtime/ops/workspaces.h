// Scratch memory of the ops of training, in bytes, on a device of a type that need not be there: for plans.
#pragma once

#include <cstdint>

#include "runtime/device.h"
#include "runtime/dtype.h"

namespace subspect::runtime::ops {

/// A matrix [rows, cols] of a device.
struct MatrixShape {
  DeviceType device = DeviceType::cpu;
  DType dtype = DType::float32;
  int64_t rows = 0;
  int64_t cols = 0;
};

int64_t rms_norm_backward_bytes(const MatrixShape& x);   ///< of `rms_norm` and `add_rms_norm`
int64_t bias_backward_bytes(const MatrixShape& y);       ///< of `linear` with a bias
int64_t embedding_backward_bytes(const MatrixShape& y);  ///< rows of the batch

struct HeadsShape {
  DeviceType device = DeviceType::cpu;
  DType dtype = DType::float32;
  int64_t tokens = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
};

int64_t attention_backward_bytes(const HeadsShape& shape);
int64_t rotary_norm_backward_bytes(const HeadsShape& shape);  ///< of `rotary` with norms

struct HeadShape {
  DeviceType device = DeviceType::cpu;
  DType dtype = DType::float32;
  int64_t tokens = 0;
  int64_t vocab = 0;
  int64_t dim = 0;
  int64_t counted_tokens = -1;  ///< tokens that have a target; -1: not known
};

int64_t linear_cross_entropy_bytes(const HeadShape& shape);

/// @param chunks of all gradients together (kernels/optimizer.h)
int64_t gradient_norm_bytes(DeviceType device, int64_t chunks);

}  // namespace subspect::runtime::ops
