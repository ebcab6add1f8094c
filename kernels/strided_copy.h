// Copies between views whose elements do not lie one after the other.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/context.h"

namespace subspect::kernels {

inline constexpr int strided_axes = 4;

/// Two views of one shape, axes from the slowest to the fastest; strides in elements. Unused axes come first, with size
/// 1. The views do not overlap.
struct StridedCopyParams {
  const void* from = nullptr;
  void* to = nullptr;
  int64_t element_bytes = 0;  ///< 2, 4, 8 or 16; both pointers are aligned to it
  std::array<int64_t, strided_axes> sizes = {1, 1, 1, 1};
  std::array<int64_t, strided_axes> from_strides = {0, 0, 0, 0};
  std::array<int64_t, strided_axes> to_strides = {0, 0, 0, 0};
};

/// to[i, j, k, l] = from[i, j, k, l]. Throws std::invalid_argument for another size of elements.
template <Device D>
void strided_copy(Context<D> on, const StridedCopyParams& p);

}  // namespace subspect::kernels
