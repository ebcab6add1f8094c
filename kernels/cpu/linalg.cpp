// Kernels of the linear algebra on the CPU: plain loops that the compiler vectorises, over rows or chunks.
#include "kernels/linalg.h"

#include <bit>
#include <cmath>

#include "kernels/cpu/partition.h"

namespace subspect::kernels {

namespace {

/// Eight running sums, so that additions do not wait for each other; the order depends on the count alone.
double product_sum(const float* a, const float* b, int64_t count) {
  double lanes[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int lane = 0; lane < 8; ++lane) {
      lanes[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
    }
  }
  double sum = 0.0;
  for (; i < count; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

template <Device D, class In, class Out>
void copy_rows(Context<D> on, const CopyRowsParams<In, Out>& p) {
  on.team->for_each_range(p.rows, cpu::row_grain(p.cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const In* x = p.x + (p.index ? p.index[i] : i) * p.x_stride;
      Out* y = p.y + i * p.y_stride;
      const double factor = p.scale * (p.factor ? p.factor[i] : 1.0);
      for (int64_t j = 0; j < p.cols; ++j) y[j] = static_cast<Out>(factor * static_cast<double>(x[j]));
    }
  });
}

template <Device D>
void add_rows(Context<D> on, const AddRowsParams& p) {
  on.team->for_each_range(p.rows, cpu::row_grain(p.cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* x = p.x + i * p.cols;
      float* y = p.y + i * p.cols;
      const double factor = p.scale * (p.factor ? p.factor[i] : 1.0);
      for (int64_t j = 0; j < p.cols; ++j) {
        y[j] = static_cast<float>(static_cast<double>(y[j]) + factor * static_cast<double>(x[j]));
      }
    }
  });
}

template <Device D, class T>
void transpose(Context<D> on, const T* x, int64_t rows, int64_t cols, T* y) {
  constexpr int64_t tile = 32;
  on.team->for_each_range(rows, tile, [&](int64_t begin, int64_t end) {
    for (int64_t col = 0; col < cols; col += tile) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t j = col; j < std::min(col + tile, cols); ++j) y[j * rows + i] = x[i * cols + j];
      }
    }
  });
}

template <Device D>
void chunk_products(Context<D> on, const ChunkProductsParams& p) {
  on.team->for_each_range(cpu::ceil_div(p.count, p.chunk), cpu::row_grain(p.chunk), [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      const int64_t begin = c * p.chunk;
      p.sums[c] = product_sum(p.a + begin, p.b + begin, std::min(p.chunk, p.count - begin));
    }
  });
}

template <Device D>
void chunk_magnitudes(Context<D> on, const ChunkMagnitudesParams& p) {
  on.team->for_each_range(cpu::ceil_div(p.count, p.chunk), cpu::row_grain(p.chunk), [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      const int64_t end = std::min(p.count, (c + 1) * p.chunk);
      uint32_t largest = 0;  // bits without the sign are ordered as the magnitudes, infinity and NaN above all
      for (int64_t i = c * p.chunk; i < end; ++i) {
        largest = std::max(largest, std::bit_cast<uint32_t>(p.x[i]) & 0x7fffffffU);
      }
      p.largest[c] = std::bit_cast<float>(largest);
    }
  });
}

template <Device D>
void identity_deviation(Context<D> on, const double* gram, int64_t n, double* largest) {
  on.team->for_each_range(n, cpu::row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double worst = std::abs(gram[i * n + i] - 1.0);
      for (int64_t j = 0; j < i; ++j) worst = std::max(worst, std::abs(gram[i * n + j]));
      largest[i] = worst;
    }
  });
}

template void copy_rows(Context<Cpu>, const CopyRowsParams<float, float>&);
template void copy_rows(Context<Cpu>, const CopyRowsParams<float, double>&);
template void copy_rows(Context<Cpu>, const CopyRowsParams<double, float>&);
template void copy_rows(Context<Cpu>, const CopyRowsParams<double, double>&);
template void add_rows(Context<Cpu>, const AddRowsParams&);
template void transpose(Context<Cpu>, const float*, int64_t, int64_t, float*);
template void transpose(Context<Cpu>, const double*, int64_t, int64_t, double*);
template void chunk_products(Context<Cpu>, const ChunkProductsParams&);
template void chunk_magnitudes(Context<Cpu>, const ChunkMagnitudesParams&);
template void identity_deviation(Context<Cpu>, const double*, int64_t, double*);

}  // namespace subspect::kernels
