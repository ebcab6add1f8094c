// The kernels and their costs.
#include "kernels/registry.h"

#include <algorithm>
#include <array>

namespace subspect::kernels {
namespace {

using S = CostSizes;
using C = KernelCost;

constexpr std::string_view both = "float32, bfloat16";
constexpr std::string_view all_floats = "float32, bfloat16, float16, float64";

/// Every kernel has a CUDA version: a build with CUDA that lacked one would not link.
#ifdef SUBSPECT_CUDA
constexpr bool with_cuda = true;
#else
constexpr bool with_cuda = false;
#endif

/// Columns of packed query, key and value heads.
double qkv(const S& s) {
  return (s.heads + 2 * s.kv_heads) * s.head_dim;
}

constexpr std::array table = {
    KernelInfo{"embedding_forward", "embedding.h", "rows of a table", both, true, with_cuda, "2 R C e", "0",
               [](const S& s) { return C{2 * s.rows * s.cols * s.element, 0}; }},
    KernelInfo{"embedding_backward", "embedding.h", "gradient of the table", both, true, with_cuda, "R C (e + 8)", "R C",
               [](const S& s) { return C{s.rows * s.cols * (s.element + 8), s.rows * s.cols}; }},
    KernelInfo{"rms_norm_forward", "rms_norm.h", "RMS norm, alone or after adding the residual", both, true, with_cuda,
               "2 R C e", "4 R C", [](const S& s) { return C{2 * s.rows * s.cols * s.element, 4 * s.rows * s.cols}; }},
    KernelInfo{"rms_norm_backward", "rms_norm.h", "its gradients", both, true, with_cuda, "3 R C e", "10 R C",
               [](const S& s) { return C{3 * s.rows * s.cols * s.element, 10 * s.rows * s.cols}; }},
    KernelInfo{"rotary_forward", "rotary.h", "rotary embedding of packed heads, with optional query/key norm", both, true,
               with_cuda, "2 R (H + 2 G) d e", "3 R (H + G) d",
               [](const S& s) {
                 return C{2 * s.rows * qkv(s) * s.element, 3 * s.rows * (s.heads + s.kv_heads) * s.head_dim};
               }},
    KernelInfo{"rotary_backward", "rotary.h", "its gradients", both, true, with_cuda, "2 R (H + 2 G) d e", "3 R (H + G) d",
               [](const S& s) {
                 return C{2 * s.rows * qkv(s) * s.element, 3 * s.rows * (s.heads + s.kv_heads) * s.head_dim};
               }},
    KernelInfo{"attention_forward", "attention.h", "causal grouped-query attention over packed documents", both, true,
               with_cuda, "2 R (H + G) d e + 4 R H", "4 H P d",
               [](const S& s) {
                 return C{2 * s.rows * (s.heads + s.kv_heads) * s.head_dim * s.element + 4 * s.rows * s.heads,
                          4 * s.heads * s.pairs * s.head_dim};
               }},
    KernelInfo{"attention_backward", "attention.h", "its gradients", both, true, with_cuda, "4 R (H + G) d e + 8 R H",
               "10 H P d",
               [](const S& s) {
                 return C{4 * s.rows * (s.heads + s.kv_heads) * s.head_dim * s.element + 8 * s.rows * s.heads,
                          10 * s.heads * s.pairs * s.head_dim};
               }},
    KernelInfo{"kv_cache_append", "paged_attention.h", "keys and values of new tokens into the paged cache", both, true,
               with_cuda, "4 R G d e", "0",
               [](const S& s) { return C{4 * s.rows * s.kv_heads * s.head_dim * s.element, 0}; }},
    KernelInfo{"decode_attention", "paged_attention.h", "one new token per sequence against the paged cache", both, true,
               with_cuda, "2 P G d e + 2 R H d e", "4 H P d",
               [](const S& s) {
                 return C{(2 * s.pairs * s.kv_heads + 2 * s.rows * s.heads) * s.head_dim * s.element,
                          4 * s.heads * s.pairs * s.head_dim};
               }},
    KernelInfo{"gated_activation_forward", "gated_activation.h", "SwiGLU and GeGLU", both, true, with_cuda, "3 R C e",
               "12 R C", [](const S& s) { return C{3 * s.rows * s.cols * s.element, 12 * s.rows * s.cols}; }},
    KernelInfo{"gated_activation_backward", "gated_activation.h", "its gradient", both, true, with_cuda, "5 R C e", "18 R C",
               [](const S& s) { return C{5 * s.rows * s.cols * s.element, 18 * s.rows * s.cols}; }},
    KernelInfo{"add", "elementwise.h", "sum of two arrays", both, true, with_cuda, "3 C e", "C",
               [](const S& s) { return C{3 * s.cols * s.element, s.cols}; }},
    KernelInfo{"scale", "elementwise.h", "array times a number", both, true, with_cuda, "2 C e", "C",
               [](const S& s) { return C{2 * s.cols * s.element, s.cols}; }},
    KernelInfo{"cast", "elementwise.h", "conversion between element types", all_floats, true, with_cuda, "2 C e", "0",
               [](const S& s) { return C{2 * s.cols * s.element, 0}; }},
    KernelInfo{"fill", "elementwise.h", "one value everywhere", "float32, bfloat16, float16, float64, int32, int64", true,
               with_cuda, "C e", "0", [](const S& s) { return C{s.cols * s.element, 0}; }},
    KernelInfo{"bias_add", "bias.h", "bias to every row", both, true, with_cuda, "2 R C e", "R C",
               [](const S& s) { return C{2 * s.rows * s.cols * s.element, s.rows * s.cols}; }},
    KernelInfo{"bias_gradient", "bias.h", "sum over rows", both, true, with_cuda, "R C e", "R C",
               [](const S& s) { return C{s.rows * s.cols * s.element, s.rows * s.cols}; }},
    KernelInfo{"linear_forward", "linear.h", "x W^T + b", both, true, with_cuda, "(R C + O C + R O) e", "2 R C O",
               [](const S& s) {
                 return C{(s.rows * s.cols + s.out * s.cols + s.rows * s.out) * s.element, 2 * s.rows * s.cols * s.out};
               }},
    KernelInfo{"linear_backward_input", "linear.h", "dy W", both, true, with_cuda, "(R C + O C + R O) e", "2 R C O",
               [](const S& s) {
                 return C{(s.rows * s.cols + s.out * s.cols + s.rows * s.out) * s.element, 2 * s.rows * s.cols * s.out};
               }},
    KernelInfo{"linear_backward_weight", "linear.h", "dW += dy^T x", both, true, with_cuda, "(R C + R O) e + 8 O C",
               "2 R C O",
               [](const S& s) {
                 return C{s.rows * (s.cols + s.out) * s.element + 8 * s.out * s.cols, 2 * s.rows * s.cols * s.out};
               }},
    KernelInfo{"linear_cross_entropy", "linear_cross_entropy.h", "language-model head and loss in chunks, with gradients",
               both, true, with_cuda, "(2 R C + O C) e + 8 O C", "6 R C O",
               [](const S& s) {
                 return C{(2 * s.rows * s.cols + s.out * s.cols) * s.element + 8 * s.out * s.cols,
                          6 * s.rows * s.cols * s.out};
               }},
    KernelInfo{"adamw_step", "optimizer.h", "AdamW over a list of tensors", both, true, with_cuda, "C (2 e + 20)", "14 C",
               [](const S& s) { return C{s.cols * (2 * s.element + 20), 14 * s.cols}; }},
    KernelInfo{"sgd_step", "optimizer.h", "SGD with momentum over a list of tensors", both, true, with_cuda, "C (2 e + 12)", "6 C",
               [](const S& s) { return C{s.cols * (2 * s.element + 12), 6 * s.cols}; }},
    KernelInfo{"squared_norm", "optimizer.h", "squared norm of a list and check for non-finite values", "float32", true,
               with_cuda, "4 C", "2 C", [](const S& s) { return C{4 * s.cols, 2 * s.cols}; }},
    KernelInfo{"clip_scale", "optimizer.h", "the factor that clips gradients to a norm", "float32", true, with_cuda, "0",
               "0", [](const S&) { return C{}; }},
    KernelInfo{"repetition_penalty", "sampling.h", "penalty on tokens already present", "float32", true, with_cuda, "0", "0",
               [](const S&) { return C{}; }},
    KernelInfo{"argmax", "sampling.h", "greedy choice", "float32", true, with_cuda, "R O 4", "R O",
               [](const S& s) { return C{4 * s.rows * s.out, s.rows * s.out}; }},
    KernelInfo{"sample", "sampling.h", "temperature, top-k, top-p", "float32", true, with_cuda, "R O 4", "3 R O",
               [](const S& s) { return C{4 * s.rows * s.out, 3 * s.rows * s.out}; }},
    KernelInfo{"copy_rows", "linalg.h", "rows chosen, scaled and converted", "float32, float64", true, with_cuda, "2 R C e",
               "R C", [](const S& s) { return C{2 * s.rows * s.cols * s.element, s.rows * s.cols}; }},
    KernelInfo{"add_rows", "linalg.h", "scaled rows to a matrix", "float32", true, with_cuda, "12 R C", "2 R C",
               [](const S& s) { return C{12 * s.rows * s.cols, 2 * s.rows * s.cols}; }},
    KernelInfo{"transpose", "linalg.h", "transposed matrix", "float32", true, with_cuda, "8 R C", "0",
               [](const S& s) { return C{8 * s.rows * s.cols, 0}; }},
    KernelInfo{"chunk_products", "linalg.h", "inner products of chunks in float64", "float32", true, with_cuda, "8 C",
               "2 C", [](const S& s) { return C{8 * s.cols, 2 * s.cols}; }},
    KernelInfo{"chunk_magnitudes", "linalg.h", "largest magnitudes, and the scan for NaN", "float32", true, with_cuda, "4 C",
               "C", [](const S& s) { return C{4 * s.cols, s.cols}; }},
    KernelInfo{"identity_deviation", "linalg.h", "distance of a Gram matrix from the identity", "float64", true, with_cuda,
               "4 C C", "C C", [](const S& s) { return C{4 * s.cols * s.cols, s.cols * s.cols}; }},
    KernelInfo{"random_normal", "random.h", "normal numbers by Philox", "float32, bfloat16, float64", true, with_cuda, "C e",
               "40 C", [](const S& s) { return C{s.cols * s.element, 40 * s.cols}; }},
    KernelInfo{"random_uniform", "random.h", "uniform numbers by Philox", "float32, bfloat16, float64", true, with_cuda,
               "C e", "15 C", [](const S& s) { return C{s.cols * s.element, 15 * s.cols}; }},
};

}  // namespace

std::span<const KernelInfo> kernels() {
  return table;
}

const KernelInfo* find_kernel(std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const KernelInfo& k) { return k.name == name; });
  return found == table.end() ? nullptr : &*found;
}

double causal_pairs(double length, double window) {
  if (window <= 0 || window >= length) return length * (length + 1) / 2;
  return window * (window + 1) / 2 + (length - window) * window;
}

}  // namespace subspect::kernels
