// Per-thread scratch: a list of blocks that only grows, and a position in it.
#include "kernels/cpu/scratch.h"

#include <algorithm>
#include <new>
#include <vector>

namespace subspect::kernels::cpu {
namespace {

constexpr size_t alignment = 64;
constexpr size_t smallest_block = size_t{1} << 20;

struct Block {
  std::byte* data = nullptr;
  size_t size = 0;
};

struct Arena {
  std::vector<Block> blocks;
  size_t block = 0;  // in use; those before it hold older allocations
  size_t used = 0;   // bytes of it

  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    for (const Block& b : blocks) ::operator delete (b.data, std::align_val_t{alignment});
  }
};

thread_local Arena arena;

}  // namespace

Scratch::Scratch() : block_(arena.block), used_(arena.used) {}

Scratch::~Scratch() {
  arena.block = block_;
  arena.used = used_;
}

void* Scratch::allocate_bytes(size_t bytes) {
  bytes = (bytes + alignment - 1) / alignment * alignment;
  Arena& a = arena;
  while (a.block < a.blocks.size() && a.blocks[a.block].size - a.used < bytes) {
    ++a.block;
    a.used = 0;
  }
  if (a.block == a.blocks.size()) {
    const size_t last = a.blocks.empty() ? 0 : a.blocks.back().size;
    const size_t size = std::max({smallest_block, bytes, 2 * last});
    a.blocks.push_back({static_cast<std::byte*>(::operator new (size, std::align_val_t{alignment})), size});
    a.used = 0;
  }
  std::byte* result = a.blocks[a.block].data + a.used;
  a.used += bytes;
  return result;
}

}  // namespace subspect::kernels::cpu
