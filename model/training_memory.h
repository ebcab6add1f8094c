// The memory that training takes, before anything is allocated: a step is rehearsed with the sizes of its tensors, on
// an allocator that behaves as the real one and gives no memory. And the least recomputation with which it fits.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/config.h"
#include "model/decoder.h"
#include "runtime/device.h"
#include "runtime/dtype.h"

namespace subspect::model {

/// How a model is trained, as far as memory goes.
struct TrainingShape {
  runtime::DType compute = runtime::DType::float32;  ///< of weights and activations
  bool master_weights = false;                       ///< a float32 copy beside bfloat16 weights
  int64_t optimizer_moments = 2;                     ///< values per parameter: AdamW 2, momentum 1, SGD 0
  bool int8_moments = false;                         ///< these in 8 bits, with a scale per 256; else float32
  bool offload = false;                              ///< master weights and moments in pinned memory of the host
  int64_t micro_batch_tokens = 8192;
  Recompute recompute = {};
  int64_t ranks = 1;  ///< processes among which master weights and moments are divided
  runtime::DeviceType device = runtime::DeviceType::cpu;
};

/// What memory of the device is held for.
enum class MemoryUse : uint8_t {
  weights,
  gradients,
  master_weights,
  moments,
  windows,      ///< through which offloaded master weights and moments pass
  activations,  ///< kept for the backward pass
  passing,      ///< values and gradients on their way from op to op
  recomputed,   ///< made again in the backward pass
  head,         ///< scores of a chunk of tokens, and what belongs to it
  workspace,    ///< of kernels
  libraries,    ///< of cuBLASLt
  small,        ///< ids and targets, the optimizer's lists, rotary frequencies
};
inline constexpr size_t memory_uses = 12;

std::string_view name(MemoryUse use);  ///< "saved activations"

/// "none", "cheap ops", "cheap ops, 3 of 28 blocks", "all blocks".
std::string describe(const Recompute& recompute, int64_t layers);

struct TrainingMemory {
  std::array<int64_t, memory_uses> bytes{};  ///< in tensors at the moment when they hold the most
  int64_t reserved = 0;                      ///< most that the allocator has from the device, with what it rounds up
                                             ///< and what it keeps for reuse
  int64_t pinned = 0;                        ///< page-locked memory of the host: for copies, and what is offloaded
  Recompute recompute = {};

  int64_t of(MemoryUse use) const { return bytes[static_cast<size_t>(use)]; }
  int64_t peak() const;  ///< sum of `bytes`: what the allocator's statistics call the peak
};

/// One step on a micro-batch of `micro_batch_tokens`, one of them without a target. Kernels of CUDA are asked in every
/// build.
TrainingMemory plan_training(const DecoderConfig& config, const TrainingShape& shape);

/// The same with the least recomputation, in the order none, ops, ops and ever more blocks, for which the allocator
/// needs at most `bytes`; with the most where none does. `shape.recompute` is not read.
TrainingMemory plan_training_within(const DecoderConfig& config, TrainingShape shape, int64_t bytes);

/// What a GPU's driver keeps for a process beside the allocator: context, code of the kernels and libraries. An
/// estimate, on the large side.
inline constexpr int64_t gpu_driver_bytes = int64_t{1} << 30;

}  // namespace subspect::model
