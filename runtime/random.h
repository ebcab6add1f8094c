// Random numbers by counter: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A number depends on (seed, stream, position) alone, so a resumed or resharded run draws the same ones.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/tensor.h"

namespace subspect::runtime {

/// The block function: 128 random bits for each counter. Stateless and cheap to copy.
class Philox {
 public:
  using Block = std::array<uint32_t, 4>;

  /// @param stream independent sequences of one seed.
  explicit Philox(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  Block block(uint64_t index) const;

  uint64_t seed() const { return seed_; }
  uint64_t stream() const { return stream_; }

 private:
  uint64_t seed_;
  uint64_t stream_;
};

/// A number for `Philox`'s `stream` made from a name (FNV-1a), so that each tensor draws its own sequence.
uint64_t stream_of(std::string_view name);

/// Numbers of one Philox sequence in order.
class Random {
 public:
  explicit Random(uint64_t seed, uint64_t stream = 0) : philox_(seed, stream) {}

  uint32_t next_u32();
  uint64_t next_u64();
  double uniform();                ///< in [0, 1), 53 random bits
  double normal();                 ///< standard normal
  uint64_t below(uint64_t count);  ///< uniform in [0, count), without bias; count > 0
  bool chance(double probability) { return uniform() < probability; }

  template <class T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  Philox philox_;
  Philox::Block block_ = {};
  uint64_t position_ = 0;  // words drawn
};

/// A uniform random order of 0, ..., count - 1.
std::vector<int64_t> random_permutation(int64_t count, uint64_t seed, uint64_t stream = 0);

/// Fills a contiguous float32 or bfloat16 tensor with N(0, stddev^2): the first elements of the sequence that
/// kernels/random.h defines. The values do not depend on the number of threads.
void fill_normal(Stream& stream, const Tensor& tensor, double stddev, const Philox& philox);

}  // namespace subspect::runtime
