// Copies between strided views on the CPU: rows along the fastest axis, in parallel.
#include "kernels/strided_copy.h"

#include <cstring>
#include <stdexcept>

#include "kernels/thread_team.h"

namespace subspect::kernels {
namespace {

constexpr int64_t grain = 1 << 14;  // elements

struct Offsets {
  int64_t from = 0;
  int64_t to = 0;
};

Offsets row_offsets(const StridedCopyParams& p, int64_t row) {
  Offsets offsets;
  for (size_t axis = strided_axes - 1; axis-- > 0;) {
    const int64_t index = row % p.sizes[axis];
    row /= p.sizes[axis];
    offsets.from += index * p.from_strides[axis];
    offsets.to += index * p.to_strides[axis];
  }
  return offsets;
}

void copy_row(const StridedCopyParams& p, int64_t row) {
  constexpr size_t last = strided_axes - 1;
  const Offsets offsets = row_offsets(p, row);
  const char* from = static_cast<const char*>(p.from) + offsets.from * p.element_bytes;
  char* to = static_cast<char*>(p.to) + offsets.to * p.element_bytes;
  const auto bytes = static_cast<size_t>(p.element_bytes);
  if (p.from_strides[last] == 1 && p.to_strides[last] == 1) {
    std::memcpy(to, from, bytes * static_cast<size_t>(p.sizes[last]));
    return;
  }
  for (int64_t i = 0; i < p.sizes[last]; ++i) {
    std::memcpy(to + i * p.to_strides[last] * p.element_bytes, from + i * p.from_strides[last] * p.element_bytes,
                bytes);
  }
}

}  // namespace

template <Device D>
void strided_copy(Context<D> on, const StridedCopyParams& p) {
  const int64_t bytes = p.element_bytes;
  if (bytes != 2 && bytes != 4 && bytes != 8 && bytes != 16) {
    throw std::invalid_argument("strided_copy: elements must have 2, 4, 8 or 16 bytes");
  }
  const int64_t length = p.sizes[strided_axes - 1];
  const int64_t rows = p.sizes[0] * p.sizes[1] * p.sizes[2];
  if (rows * length == 0) return;
  on.team->for_each_range(rows, (grain + length - 1) / length, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) copy_row(p, row);
  });
}

template void strided_copy(Context<Cpu>, const StridedCopyParams&);

}  // namespace subspect::kernels
