// Copies between strided views on CUDA: one element a thread, consecutive threads along the fastest axis. The caller
// makes elements as wide as strides and alignment allow.
#include "kernels/strided_copy.h"

#include <stdexcept>

#include "kernels/cuda/platform.h"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;

/// Sizes and strides as plain members: an array would be indexed in local memory.
struct Axes {
  int64_t size1, size2, size3;
  int64_t from0, from1, from2, from3;
  int64_t to0, to1, to2, to3;
};

template <class Element>
GPU_KERNEL(threads)
strided_copy_kernel(const Element* from, Element* to, Axes axes, int64_t count) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t row = i / axes.size3;
    const int64_t l = i - row * axes.size3;
    const int64_t plane = row / axes.size2;
    const int64_t k = row - plane * axes.size2;
    const int64_t block = plane / axes.size1;
    const int64_t j = plane - block * axes.size1;
    to[block * axes.to0 + j * axes.to1 + k * axes.to2 + l * axes.to3] =
        from[block * axes.from0 + j * axes.from1 + k * axes.from2 + l * axes.from3];
  }
}

template <class Element>
void launch_copy(Context<Cuda> on, const StridedCopyParams& p) {
  const int64_t count = p.sizes[0] * p.sizes[1] * p.sizes[2] * p.sizes[3];
  if (count == 0) return;
  const Axes axes{p.sizes[1],        p.sizes[2],        p.sizes[3],        p.from_strides[0],
                  p.from_strides[1], p.from_strides[2], p.from_strides[3], p.to_strides[0],
                  p.to_strides[1],   p.to_strides[2],   p.to_strides[3]};
  launch("strided_copy", strided_copy_kernel<Element>, loop_blocks(count, threads), threads, 0, on.stream,
         static_cast<const Element*>(p.from), static_cast<Element*>(p.to), axes, count);
}

}  // namespace

template <Device D>
void strided_copy(Context<D> on, const StridedCopyParams& p) {
  switch (p.element_bytes) {
    case 2:
      return launch_copy<uint16_t>(on, p);
    case 4:
      return launch_copy<uint32_t>(on, p);
    case 8:
      return launch_copy<uint64_t>(on, p);
    case 16:
      return launch_copy<Pack<uint32_t, 4>>(on, p);
    default:
      throw std::invalid_argument("strided_copy: elements must have 2, 4, 8 or 16 bytes");
  }
}

template void strided_copy(Context<Cuda>, const StridedCopyParams&);

}  // namespace subspect::kernels
