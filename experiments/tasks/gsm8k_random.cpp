// Python's random module, as far as few-shot examples are drawn with it: MT19937 (Matsumoto and Nishimura 1998) and the
// selection of Random.sample (CPython, Lib/random.py).
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "experiments/tasks/gsm8k.h"
#include "runtime/error.h"

namespace subspect::experiments {

PythonRandom::PythonRandom(uint64_t seed) {
  std::vector<uint32_t> key = {static_cast<uint32_t>(seed)};
  if (seed >> 32U != 0) key.push_back(static_cast<uint32_t>(seed >> 32U));
  seed_by_array(key);
}

void PythonRandom::seed_by_number(uint32_t seed) {
  state_[0] = seed;
  for (uint32_t i = 1; i < state_words; ++i) {
    state_[i] = 1812433253U * (state_[i - 1] ^ (state_[i - 1] >> 30U)) + i;
  }
  position_ = state_words;
}

void PythonRandom::seed_by_array(const std::vector<uint32_t>& key) {
  constexpr uint32_t array_seed = 19650218;
  seed_by_number(array_seed);
  uint32_t i = 1;
  uint32_t j = 0;
  const auto advance = [&] {
    if (++i >= state_words) {
      state_[0] = state_[state_words - 1];
      i = 1;
    }
  };
  const auto mixed = [&](uint32_t factor) { return state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30U)) * factor); };
  for (size_t k = std::max<size_t>(state_words, key.size()); k > 0; --k) {
    state_[i] = mixed(1664525U) + key[j] + j;
    advance();
    if (++j >= key.size()) j = 0;
  }
  for (int k = state_words - 1; k > 0; --k) {
    state_[i] = mixed(1566083941U) - i;
    advance();
  }
  state_[0] = 0x80000000U;
}

void PythonRandom::refill() {
  constexpr int middle = 397;
  constexpr uint32_t upper = 0x80000000U;
  for (int k = 0; k < state_words; ++k) {
    const uint32_t y =
        (state_[static_cast<size_t>(k)] & upper) | (state_[static_cast<size_t>((k + 1) % state_words)] & ~upper);
    state_[static_cast<size_t>(k)] =
        state_[static_cast<size_t>((k + middle) % state_words)] ^ (y >> 1U) ^ ((y & 1U) != 0 ? 0x9908b0dfU : 0U);
  }
  position_ = 0;
}

uint32_t PythonRandom::next_u32() {
  if (position_ >= state_words) refill();
  uint32_t y = state_[static_cast<size_t>(position_++)];
  y ^= y >> 11U;
  y ^= (y << 7U) & 0x9d2c5680U;
  y ^= (y << 15U) & 0xefc60000U;
  return y ^ (y >> 18U);
}

uint64_t PythonRandom::getrandbits(int bits) {
  runtime::require(bits >= 0 && bits <= 64, "getrandbits", "0 to 64 bits are required, not {}", bits);
  if (bits == 0) return 0;
  if (bits <= 32) return next_u32() >> static_cast<unsigned>(32 - bits);
  const uint64_t low = next_u32();
  const uint64_t high = next_u32() >> static_cast<unsigned>(64 - bits);
  return (high << 32U) | low;
}

uint64_t PythonRandom::below(uint64_t count) {
  runtime::require(count > 0, "below", "a positive count is required");
  const int bits = static_cast<int>(std::bit_width(count));
  uint64_t value = getrandbits(bits);
  while (value >= count) value = getrandbits(bits);
  return value;
}

std::vector<int64_t> PythonRandom::sample(int64_t count, int64_t size) {
  runtime::require(0 <= size && size <= count, "sample", "a size of 0 to {} is required, not {}", count, size);
  int64_t set_size = 21;
  if (size > 5) {
    set_size +=
        int64_t{1} << (2 * static_cast<int>(std::ceil(std::log(static_cast<double>(size * 3)) / std::log(4.0))));
  }
  std::vector<int64_t> drawn;
  if (count <= set_size) {
    std::vector<int64_t> pool(static_cast<size_t>(count));
    std::iota(pool.begin(), pool.end(), int64_t{0});
    for (int64_t i = 0; i < size; ++i) {
      const size_t at = below(static_cast<uint64_t>(count - i));
      drawn.push_back(std::exchange(pool[at], pool[static_cast<size_t>(count - i - 1)]));
    }
    return drawn;
  }
  std::unordered_set<int64_t> selected;
  while (static_cast<int64_t>(drawn.size()) < size) {
    const auto index = static_cast<int64_t>(below(static_cast<uint64_t>(count)));
    if (selected.insert(index).second) drawn.push_back(index);
  }
  return drawn;
}

}  // namespace subspect::experiments
