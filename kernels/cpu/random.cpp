// Random fills on the CPU.
#include "kernels/random.h"

#include <type_traits>

#include "kernels/cpu/partition.h"
#include "kernels/philox.h"
#include "kernels/thread_team.h"

namespace subspect::kernels {
namespace {

template <class T>
void write(T& to, float value) {
  if constexpr (std::is_same_v<T, double>) {
    to = static_cast<double>(value);
  } else {
    to = from_float<T>(value);
  }
}

/// Calls `make(block of four elements, four results)` for the blocks that cover the sequence, and writes a + b *
/// result.
template <class T, class Make>
void fill_from_blocks(ThreadTeam& team, const RandomFillParams<T>& p, float scale, const Make& make) {
  team.for_each_range(p.count, cpu::flat_grain, [&](int64_t begin, int64_t end) {
    const int64_t first = p.offset + begin;
    const int64_t last = p.offset + end;
    for (int64_t block = first / 4; block * 4 < last; ++block) {
      float results[4];
      make(philox_block(p.seed, p.stream, static_cast<uint64_t>(block)), results);
      for (int64_t i = block * 4; i < block * 4 + 4; ++i) {
        if (i >= first && i < last) write(p.y[i - p.offset], p.a + scale * results[i % 4]);
      }
    }
  });
}

}  // namespace

template <Device D, class T>
void random_normal(Context<D> on, const RandomFillParams<T>& p) {
  fill_from_blocks(*on.team, p, p.b, [](const Philox4& bits, float* results) {
    philox_normal(bits.word[0], bits.word[1], results[0], results[1]);
    philox_normal(bits.word[2], bits.word[3], results[2], results[3]);
  });
}

template <Device D, class T>
void random_uniform(Context<D> on, const RandomFillParams<T>& p) {
  fill_from_blocks(*on.team, p, p.b - p.a, [](const Philox4& bits, float* results) {
    for (int i = 0; i < 4; ++i) results[i] = philox_uniform(bits.word[i]);
  });
}

template void random_normal(Context<Cpu>, const RandomFillParams<float>&);
template void random_normal(Context<Cpu>, const RandomFillParams<bfloat16>&);
template void random_normal(Context<Cpu>, const RandomFillParams<double>&);
template void random_uniform(Context<Cpu>, const RandomFillParams<float>&);
template void random_uniform(Context<Cpu>, const RandomFillParams<bfloat16>&);
template void random_uniform(Context<Cpu>, const RandomFillParams<double>&);

}  // namespace subspect::kernels
