// Philox4x32-10 and what is drawn with it.
#include "runtime/random.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "kernels/philox.h"
#include "kernels/random.h"
#include "runtime/dispatch.h"
#include "runtime/error.h"

namespace subspect::runtime {

Philox::Block Philox::block(uint64_t index) const {
  const kernels::Philox4 bits = kernels::philox_block(seed_, stream_, index);
  return {bits.word[0], bits.word[1], bits.word[2], bits.word[3]};
}

uint64_t stream_of(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

uint32_t Random::next_u32() {
  const size_t word = position_ % 4;
  if (word == 0) block_ = philox_.block(position_ / 4);
  ++position_;
  return block_[word];
}

uint64_t Random::next_u64() {
  const uint64_t low = next_u32();
  return low | (static_cast<uint64_t>(next_u32()) << 32);
}

double Random::uniform() {
  return static_cast<double>(next_u64() >> 11) * 0x1p-53;
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

uint64_t Random::below(uint64_t count) {
  require(count > 0, "Random::below", "count must be positive. Received 0.");
  // Numbers at or above the largest multiple of count would favour small remainders.
  const uint64_t excess = (UINT64_MAX % count + 1) % count;
  for (;;) {
    const uint64_t value = next_u64();
    if (value <= UINT64_MAX - excess) return value % count;
  }
}

std::vector<int64_t> random_permutation(int64_t count, uint64_t seed, uint64_t stream) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  Random(seed, stream).shuffle(order);
  return order;
}

void fill_normal(Stream& stream, const Tensor& tensor, double stddev, const Philox& philox) {
  require(tensor.defined() && tensor.is_contiguous(), "fill_normal", "the tensor must be contiguous. Received {}.",
          to_string(tensor.shape()));
  dispatch(stream, tensor.dtype(), "fill_normal", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::random_normal<D, T>(context, {.y = tensor.data<T>(),
                                           .count = tensor.numel(),
                                           .seed = philox.seed(),
                                           .stream = philox.stream(),
                                           .offset = 0,
                                           .a = 0.0F,
                                           .b = static_cast<float>(stddev)});
  });
}

}  // namespace subspect::runtime
