// Warp collectives: a lane gives the operation, the mask and its operand; the last lane to arrive carries the operation
// out for all. Also the tensor-core instructions, with the fragment layouts of the PTX manual (mma.m16n8k16, ldmatrix).
#include <algorithm>

#include "tests/simt/internal.h"

namespace simt {
namespace {

using Execute = void (*)(uint32_t mask, void* const* operands);

struct Group {
  uint32_t mask;
  uint32_t arrived;
  Place place;
  const char* operation;
  std::array<void*, warp_size> operands;
};

std::vector<std::vector<Group>> pending;  ///< by warp

int warp() {
  return block.current / warp_size;
}

/// The lanes that the running warp has.
uint32_t warp_lanes() {
  const int lanes = std::min(block.threads - warp() * warp_size, warp_size);
  return ~uint32_t{0} >> (warp_size - lanes);
}

void check_lanes(const char* operation, uint32_t mask, Place place) {
  const std::string what = std::string(operation) + " at " + describe(place) + " by " + describe(block.current);
  if ((mask >> lane() & 1U) == 0) fail(what + ": its own lane is not in the mask");
  for (int i = 0; i < warp_size; ++i) {
    const int other = warp() * warp_size + i;
    if ((mask >> i & 1U) == 0) continue;
    if (other >= block.threads || block.thread[static_cast<size_t>(other)].waiting == Waiting::exited) {
      fail(what + ": lane " + std::to_string(i) + " of the mask does not exist or has exited");
    }
  }
}

Group& find_group(const char* operation, uint32_t mask, Place place) {
  std::vector<Group>& groups = pending[static_cast<size_t>(warp())];
  for (Group& group : groups) {
    if ((group.mask & mask) == 0) continue;
    if (group.mask == mask && group.place.line == place.line && std::strcmp(group.operation, operation) == 0) {
      return group;
    }
    fail(std::string("divergent collective: ") + describe(block.current) + " is at " + operation + " of " +
         describe(place) + ", other lanes of its mask at " + group.operation + " of " + describe(group.place));
  }
  groups.push_back({mask, 0, place, operation, {}});
  return groups.back();
}

void collective(const char* operation, uint32_t mask, void* operand, Execute execute, Place place) {
  check_lanes(operation, mask, place);
  Group& group = find_group(operation, mask, place);
  const auto self = static_cast<size_t>(lane());
  group.operands[self] = operand;
  group.arrived |= 1U << self;
  if (group.arrived != mask) {
    suspend(Waiting::at_collective, place);
    return;
  }
  const Group complete = group;
  std::vector<Group>& groups = pending[static_cast<size_t>(warp())];
  groups.erase(groups.begin() + (&group - groups.data()));
  if (counting && mask == warp_lanes()) merge_warp(warp());
  execute(mask, complete.operands.data());
  for (int i = 0; i < warp_size; ++i) {
    if (i != lane() && (mask >> i & 1U) != 0) make_runnable(warp() * warp_size + i);
  }
}

struct Shuffled {
  uint64_t value;
  int source;
  uint64_t result;
};

void execute_shuffle(uint32_t mask, void* const* operands) {
  if (counting) count_collective(Collective::shuffle);
  for (int i = 0; i < warp_size; ++i) {
    if ((mask >> i & 1U) == 0) continue;
    auto* mine = static_cast<Shuffled*>(operands[i]);
    if (mine->source < 0 || mine->source >= warp_size || (mask >> mine->source & 1U) == 0) {
      fail("shuffle from lane " + std::to_string(mine->source) + ", which is not in the mask, by lane " +
           std::to_string(i) + " of warp " + std::to_string(warp()));
    }
    mine->result = static_cast<const Shuffled*>(operands[mine->source])->value;
  }
}

struct Vote {
  bool value;
  uint32_t result;
};

void execute_ballot(uint32_t mask, void* const* operands) {
  uint32_t result = 0;
  for (int i = 0; i < warp_size; ++i) {
    if ((mask >> i & 1U) != 0 && static_cast<Vote*>(operands[i])->value) result |= 1U << i;
  }
  for (int i = 0; i < warp_size; ++i) {
    if ((mask >> i & 1U) != 0) static_cast<Vote*>(operands[i])->result = result;
  }
}

/// Every lane of the mask is then ordered after what the others did before.
void execute_sync(uint32_t mask, void* const* /*operands*/) {
  auto& seen = block.clocks[static_cast<size_t>(warp())].seen;
  std::array<uint32_t, warp_size> joined{};
  for (size_t i = 0; i < warp_size; ++i) {
    if ((mask >> i & 1U) == 0) continue;
    for (size_t j = 0; j < warp_size; ++j) joined[j] = std::max(joined[j], seen[i][j]);
  }
  for (size_t i = 0; i < warp_size; ++i) {
    if ((mask >> i & 1U) == 0) continue;
    seen[i] = joined;
    ++seen[i][i];
  }
}

struct MatrixLoad {
  uint32_t* registers;
  int count;
  bool transposed;
  const uint16_t* row;  ///< lane 8 m + r gives row r of matrix m
  const void* site;
};

void execute_load_matrix(uint32_t /*mask*/, void* const* operands) {
  const auto* first = static_cast<const MatrixLoad*>(operands[0]);
  if (counting) {
    std::array<const void*, warp_size> rows{};
    for (size_t i = 0; i < warp_size; ++i) rows[i] = static_cast<const MatrixLoad*>(operands[i])->row;
    count_load_matrix(rows.data(), first->count, first->site);
  }
  for (int lane_index = 0; lane_index < warp_size; ++lane_index) {
    const auto* mine = static_cast<const MatrixLoad*>(operands[lane_index]);
    for (int matrix = 0; matrix < first->count; ++matrix) {
      uint32_t packed = 0;
      for (int half = 0; half < 2; ++half) {
        // Lane l holds row l / 4, columns 2 (l % 4) and the next; of the transpose if asked for.
        const int major = lane_index / 4;
        const int minor = 2 * (lane_index % 4) + half;
        const int row = first->transposed ? minor : major;
        const int column = first->transposed ? major : minor;
        const auto* source = static_cast<const MatrixLoad*>(operands[8 * matrix + row]);
        if (reinterpret_cast<uintptr_t>(source->row) % 16 != 0) fail("ldmatrix: a row is not aligned to 16 bytes");
        const uint16_t* element = source->row + column;
        check_access(element, 2, Access::read, mine->site, warp() * warp_size + lane_index);
        packed |= static_cast<uint32_t>(*element) << (16 * half);
      }
      mine->registers[matrix] = packed;
    }
  }
}

struct MultiplyAdd {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

float half_of(uint32_t packed, int half) {
  return __builtin_bit_cast(float, half == 0 ? packed << 16 : packed & 0xffff0000U);
}

/// PTX manual, "Matrix fragments for mma.m16n8k16": with g = lane / 4 and t = lane % 4, a[0] holds (g, 2t), a[1]
/// (g + 8, 2t), a[2] (g, 2t + 8), a[3] (g + 8, 2t + 8), b[0] (2t, g), b[1] (2t + 8, g), d (g, 2t), (g + 8, 2t).
void execute_multiply_add(uint32_t /*mask*/, void* const* operands) {
  if (counting) count_collective(Collective::mma);
  float a[16][16];
  float b[16][8];
  for (int i = 0; i < warp_size; ++i) {
    const auto* mine = static_cast<const MultiplyAdd*>(operands[i]);
    const int group = i / 4;
    const int column = 2 * (i % 4);
    for (int half = 0; half < 2; ++half) {
      a[group][column + half] = half_of(mine->a[0], half);
      a[group + 8][column + half] = half_of(mine->a[1], half);
      a[group][column + 8 + half] = half_of(mine->a[2], half);
      a[group + 8][column + 8 + half] = half_of(mine->a[3], half);
      b[column + half][group] = half_of(mine->b[0], half);
      b[column + 8 + half][group] = half_of(mine->b[1], half);
    }
  }
  for (int i = 0; i < warp_size; ++i) {
    auto* mine = static_cast<MultiplyAdd*>(operands[i]);
    for (int part = 0; part < 4; ++part) {
      const int row = i / 4 + (part < 2 ? 0 : 8);
      const int column = 2 * (i % 4) + part % 2;
      for (int k = 0; k < 16; ++k) mine->d[part] += a[row][k] * b[k][column];
    }
  }
}

}  // namespace

int lane() {
  return block.current % warp_size;
}

void collectives_reset() {
  pending.assign(static_cast<size_t>((block.threads + warp_size - 1) / warp_size), {});
  // Groups are referred to while others arrive; disjoint masks number at most one per lane.
  for (auto& groups : pending) groups.reserve(warp_size);
}

void sync_warp(uint32_t mask, Place place) {
  collective("sync_warp", mask, nullptr, execute_sync, place);
}

uint64_t shuffle(uint32_t mask, uint64_t value, int source, Place place) {
  Shuffled operand{value, source, 0};
  collective("shuffle", mask, &operand, execute_shuffle, place);
  return operand.result;
}

uint32_t ballot(uint32_t mask, bool value, Place place) {
  Vote operand{value, 0};
  collective("ballot", mask, &operand, execute_ballot, place);
  return operand.result;
}

void load_matrix(uint32_t* registers, int count, bool transposed, const void* row, Place place) {
  MatrixLoad operand{registers, count, transposed, static_cast<const uint16_t*>(row), __builtin_return_address(0)};
  collective("ldmatrix", 0xffffffffU, &operand, execute_load_matrix, place);
}

void multiply_add(float* d, const uint32_t* a, const uint32_t* b, Place place) {
  MultiplyAdd operand{d, a, b};
  collective("mma", 0xffffffffU, &operand, execute_multiply_add, place);
}

}  // namespace simt
