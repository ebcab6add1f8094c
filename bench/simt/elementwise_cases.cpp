// Elementwise kernels, gated activations, copies, random fills.
#include "bench/simt/inputs.h"
#include "kernels/elementwise.h"
#include "kernels/gated_activation.h"
#include "kernels/random.h"
#include "kernels/strided_copy.h"

namespace subspect::bench {
namespace {

using namespace kernels;

constexpr int64_t few = int64_t{1} << 19;
constexpr int64_t many = int64_t{1} << 25;

template <class T>
CostSizes flat(int64_t count) {
  return {.cols = real(count), .element = sizeof(T)};
}

CostSizes gated_sizes(int64_t rows) {
  return {.rows = real(rows), .cols = 18944, .element = sizeof(bfloat16)};
}

/// Reads and writes elements of different sizes.
KernelCost cast_cost(const CostSizes& s) {
  return {6 * s.cols, 0};
}
KernelCost copy_cost(const CostSizes& s) {
  return {2 * s.cols * s.element, 0};
}

template <class T>
void add_arrays() {
  const auto a = normal<T>(few, 1);
  const auto b = normal<T>(few, 2);
  add(gpu, a.data(), b.data(), a.data(), few);
}
template <class T>
void scale_array() {
  const auto x = normal<T>(few, 1);
  scale(gpu, x.data(), 0.5F, x.data(), few);
}
template <class From, class To>
void cast_array() {
  const auto x = normal<From>(few, 1);
  const auto y = unwritten<To>(few);
  cast(gpu, x.data(), y.data(), few);
}
template <class T>
void fill_array() {
  const auto y = unwritten<T>(few);
  fill(gpu, y.data(), 1.5, few);
}

void gated(int64_t rows, bool backward) {
  constexpr int64_t cols = 18944;
  const auto gate_up = normal<bfloat16>(rows * 2 * cols, 1);
  const auto y = normal<bfloat16>(rows * cols, 2);
  const auto dgate_up = unwritten<bfloat16>(rows * 2 * cols);
  if (backward) {
    gated_activation_backward(
        gpu, GatedActivationBackwardParams<bfloat16>{gate_up.data(), y.data(), dgate_up.data(), rows, cols});
  } else {
    gated_activation_forward(gpu, GatedActivationForwardParams<bfloat16>{gate_up.data(), y.data(), rows, cols});
  }
}

template <class T>
void random_array(bool is_normal) {
  const auto y = unwritten<T>(few);
  const RandomFillParams<T> p{.y = y.data(), .count = few, .seed = 1};
  is_normal ? random_normal(gpu, p) : random_uniform(gpu, p);
}

/// [rows, cols] out of rows that are twice as long, as the parts of a packed projection are copied.
void strided(int64_t element_bytes) {
  constexpr int64_t rows = 256;
  const int64_t cols = few * 4 / rows / element_bytes;
  const auto from = zeros<std::byte>(2 * few * 4);
  const auto to = unwritten<std::byte>(few * 4);
  strided_copy(gpu, StridedCopyParams{.from = from.data(),
                                      .to = to.data(),
                                      .element_bytes = element_bytes,
                                      .sizes = {1, 1, rows, cols},
                                      .from_strides = {0, 0, 2 * cols, 1},
                                      .to_strides = {0, 0, cols, 1}});
}

}  // namespace

std::vector<Case> elementwise_cases() {
  const auto wide = flat<float>(few);
  const auto narrow = flat<bfloat16>(few);
  const auto all_wide = flat<float>(many);
  const auto all_narrow = flat<bfloat16>(many);
  const std::string b16 = "bfloat16";
  const std::string f32 = "float32";
  return {
      registered("add", "", b16, narrow, all_narrow, add_arrays<bfloat16>),
      registered("add", "", f32, wide, all_wide, add_arrays<float>),
      registered("scale", "", b16, narrow, all_narrow, scale_array<bfloat16>),
      registered("scale", "", f32, wide, all_wide, scale_array<float>),
      unregistered("cast, from float32", b16, narrow, all_narrow, cast_cost, cast_array<float, bfloat16>),
      unregistered("cast, from bfloat16", f32, wide, all_wide, cast_cost, cast_array<bfloat16, float>),
      registered("fill", "", b16, narrow, all_narrow, fill_array<bfloat16>),
      registered("fill", "", f32, wide, all_wide, fill_array<float>),
      registered("gated_activation_forward", "", b16, gated_sizes(16), gated_sizes(8192), [] { gated(16, false); }),
      registered("gated_activation_backward", "", b16, gated_sizes(16), gated_sizes(8192), [] { gated(16, true); }),
      registered("random_normal", "", f32, wide, all_wide, [] { random_array<float>(true); }),
      registered("random_normal", "", b16, narrow, all_narrow, [] { random_array<bfloat16>(true); }),
      registered("random_uniform", "", f32, wide, all_wide, [] { random_array<float>(false); }),
      unregistered("strided_copy, 4 bytes", f32, wide, all_wide, copy_cost, [] { strided(4); }),
      unregistered("strided_copy, 16 bytes", f32, wide, all_wide, copy_cost, [] { strided(16); }),
  };
}

}  // namespace subspect::bench
