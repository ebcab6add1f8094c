// The state that resuming a training run needs, in one safetensors file per checkpoint: weights, optimizer state, and
// the position in the data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "model/decoder.h"
#include "runtime/optim/optimizer.h"

namespace subspect::experiments {

struct TrainPosition {
  int64_t step = 0;    ///< optimizer steps done
  int64_t tokens = 0;  ///< seen so far
  double seconds = 0;  ///< spent so far
  uint64_t data = 0;   ///< fingerprint of the examples
};

/// Writes `directory`/step-N.safetensors under a temporary name, renames it, and only then removes older ones: a kill
/// at any moment leaves a complete checkpoint. All ranks of the optimizer call it and rank 0 writes: the file does not
/// depend on their number, and another number of ranks goes on from it.
void save_train_state(runtime::Stream& stream, const std::filesystem::path& directory, const model::Decoder& decoder,
                      const runtime::optim::Optimizer& optimizer, const TrainPosition& position);

/// Restores the newest checkpoint of `directory`; nullopt when there is none. Throws Error when it belongs to other
/// data, another model or another optimizer.
std::optional<TrainPosition> load_train_state(runtime::Stream& stream, const std::filesystem::path& directory,
                                              model::Decoder& decoder, runtime::optim::Optimizer& optimizer,
                                              uint64_t data);

/// Removes all checkpoints, when the run is done.
void remove_train_state(const std::filesystem::path& directory);

}  // namespace subspect::experiments
