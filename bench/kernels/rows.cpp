// Kernels that go over rows or flat arrays: norms, activations, biases, embedding, elementwise, random fills.
#include <array>

#include "bench/kernels/bench.h"
#include "kernels/bias.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/gated_activation.h"
#include "kernels/philox.h"
#include "kernels/random.h"
#include "kernels/rms_norm.h"

namespace subspect::bench {
namespace {

using kernels::Context;

std::string matrix_shape(int64_t rows, int64_t cols) {
  return fmt::format("rows={} cols={}", rows, cols);
}

kernels::CostSizes matrix_sizes(const KernelBench& on, int64_t rows, int64_t cols) {
  return {.rows = static_cast<double>(rows),
          .cols = static_cast<double>(cols),
          .element = static_cast<double>(on.element())};
}

Values elementwise(const Values& a, const Values& b, double (*f)(double, double)) {
  Values result(a.size());
  std::transform(a.begin(), a.end(), b.begin(), result.begin(), f);
  return result;
}

void rms_norm_forward(const KernelBench& on) {
  const int64_t cols = on.config.hidden_size;
  const int64_t rows = on.rows_moving(2 * cols * on.element());
  const Tensor x = on.normal({rows, cols}, 1);
  const Tensor weight = on.normal({1, cols}, 2);
  const Tensor y = on.empty({rows, cols});
  const Tensor inv_rms = on.floats({rows});
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::rms_norm_forward<D, T>(context, {.x = x.data<T>(),
                                                .weight = weight.data<T>(),
                                                .y = y.data<T>(),
                                                .inv_rms = inv_rms.data<float>(),
                                                .rows = rows,
                                                .cols = cols,
                                                .eps = 1e-5F});
    });
  };
  const auto correct = [&] {
    Values expected = on.row(x, rows - 1);
    const double scale = 1 / std::sqrt(inner(expected, expected) / static_cast<double>(cols) + 1e-5);
    const Values w = on.row(weight, 0);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] *= scale * w[i];
    return on.near(on.row(y, rows - 1), expected);
  };
  on.measure("rms_norm_forward", matrix_shape(rows, cols), matrix_sizes(on, rows, cols), run, correct);
}

/// The norms were 1: then dh = w dy - h mean(w dy h).
void rms_norm_backward(const KernelBench& on) {
  const int64_t cols = on.config.hidden_size;
  const int64_t rows = on.rows_moving(3 * cols * on.element());
  const Tensor h = on.normal({rows, cols}, 1);
  const Tensor dy = on.normal({rows, cols}, 2);
  const Tensor weight = on.normal({1, cols}, 3);
  const Tensor inv_rms = on.upload(std::vector<float>(static_cast<size_t>(rows), 1.0F));
  const Tensor dx = on.empty({rows, cols});
  const Tensor dweight = on.floats({1, cols});
  Tensor scratch;
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::RmsNormBackwardParams<T> p{.h = h.data<T>(),
                                          .weight = weight.data<T>(),
                                          .inv_rms = inv_rms.data<float>(),
                                          .dy = dy.data<T>(),
                                          .dx = dx.data<T>(),
                                          .dweight = dweight.data<float>(),
                                          .rows = rows,
                                          .cols = cols};
      if (!scratch.defined()) scratch = on.scratch(kernels::rms_norm_backward_workspace_bytes<D, T>(p));
      p.workspace = scratch.raw();
      kernels::rms_norm_backward<D, T>(context, p);
    });
  };
  const auto correct = [&] {
    const Values last_h = on.row(h, rows - 1);
    Values expected = elementwise(on.row(weight, 0), on.row(dy, rows - 1), [](double w, double d) { return w * d; });
    const double mean = inner(expected, last_h) / static_cast<double>(cols);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] -= last_h[i] * mean;
    const double sum = inner(on.column(h, 1), on.column(dy, 1));
    return on.near(on.row(dx, rows - 1), expected) &&
           on.near(on.row(dweight, 0)[1], sum, std::sqrt(static_cast<double>(rows)));
  };
  on.measure("rms_norm_backward", matrix_shape(rows, cols), matrix_sizes(on, rows, cols), run, correct);
}

void gated_activation_forward(const KernelBench& on) {
  const int64_t cols = on.config.intermediate_size;
  const int64_t rows = on.rows_moving(3 * cols * on.element());
  const Tensor gate_up = on.normal({rows, 2 * cols}, 1);
  const Tensor y = on.empty({rows, cols});
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::gated_activation_forward<D, T>(
          context, {.gate_up = gate_up.data<T>(), .y = y.data<T>(), .rows = rows, .cols = cols});
    });
  };
  const auto correct = [&] {
    const Values in = on.row(gate_up, rows - 1);
    Values expected(static_cast<size_t>(cols));
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = in[i] / (1 + std::exp(-in[i])) * in[i + expected.size()];
    return on.near(on.row(y, rows - 1), expected);
  };
  on.measure("gated_activation_forward", matrix_shape(rows, cols), matrix_sizes(on, rows, cols), run, correct);
}

void gated_activation_backward(const KernelBench& on) {
  const int64_t cols = on.config.intermediate_size;
  const int64_t rows = on.rows_moving(5 * cols * on.element());
  const Tensor gate_up = on.normal({rows, 2 * cols}, 1);
  const Tensor dy = on.normal({rows, cols}, 2);
  const Tensor dgate_up = on.empty({rows, 2 * cols});
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::gated_activation_backward<D, T>(context, {.gate_up = gate_up.data<T>(),
                                                         .dy = dy.data<T>(),
                                                         .dgate_up = dgate_up.data<T>(),
                                                         .rows = rows,
                                                         .cols = cols});
    });
  };
  const auto correct = [&] {
    const Values in = on.row(gate_up, rows - 1);
    const Values d = on.row(dy, rows - 1);
    Values expected(in.size());
    for (size_t i = 0; i < d.size(); ++i) {
      const double z = in[i];
      const double sigmoid = 1 / (1 + std::exp(-z));
      expected[i] = d[i] * in[i + d.size()] * sigmoid * (1 + z * (1 - sigmoid));
      expected[i + d.size()] = d[i] * z * sigmoid;
    }
    return on.near(on.row(dgate_up, rows - 1), expected);
  };
  on.measure("gated_activation_backward", matrix_shape(rows, cols), matrix_sizes(on, rows, cols), run, correct);
}

std::vector<int32_t> random_ids(int64_t count, int64_t below) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(kernels::philox_block(1, 2, i).word[0] % static_cast<uint64_t>(below));
  }
  return ids;
}

std::string lookup_shape(int64_t rows, int64_t cols, int64_t vocabulary) {
  return fmt::format("rows={} cols={} out={}", rows, cols, vocabulary);
}

void embedding_forward(const KernelBench& on) {
  const int64_t dim = on.config.hidden_size;
  const int64_t vocabulary = on.config.vocab_size;
  const int64_t rows = on.rows_moving(2 * dim * on.element());
  const Tensor table = on.normal({vocabulary, dim}, 1);
  const std::vector<int32_t> host_ids = random_ids(rows, vocabulary);
  const Tensor ids = on.upload(host_ids);
  const Tensor y = on.empty({rows, dim});
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::embedding_forward<D, T>(context, {.table = table.data<T>(),
                                                 .ids = ids.data<int32_t>(),
                                                 .y = y.data<T>(),
                                                 .tokens = rows,
                                                 .vocab = vocabulary,
                                                 .dim = dim});
    });
  };
  const auto correct = [&] { return on.row(y, rows - 1) == on.row(table, host_ids.back()); };
  on.measure("embedding_forward", lookup_shape(rows, dim, vocabulary), matrix_sizes(on, rows, dim), run, correct);
}

void embedding_backward(const KernelBench& on) {
  const int64_t dim = on.config.hidden_size;
  const int64_t vocabulary = on.config.vocab_size;
  const int64_t rows = on.tokens;
  const Tensor dy = on.normal({rows, dim}, 1);
  const std::vector<int32_t> host_ids = random_ids(rows, vocabulary);
  const Tensor ids = on.upload(host_ids);
  const Tensor dtable = on.floats({vocabulary, dim});
  Tensor scratch;
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::EmbeddingBackwardParams<T> p{.dy = dy.data<T>(),
                                            .ids = ids.data<int32_t>(),
                                            .dtable = dtable.data<float>(),
                                            .tokens = rows,
                                            .vocab = vocabulary,
                                            .dim = dim};
      if (!scratch.defined()) scratch = on.scratch(kernels::embedding_backward_workspace_bytes<D, T>(p));
      p.workspace = scratch.raw();
      kernels::embedding_backward<D, T>(context, p);
    });
  };
  const auto correct = [&] {
    Values expected(static_cast<size_t>(dim));
    for (int64_t t = 0; t < rows; ++t) {
      if (host_ids[static_cast<size_t>(t)] != host_ids.back()) continue;
      expected = elementwise(expected, on.row(dy, t), [](double a, double b) { return a + b; });
    }
    return on.near(on.row(dtable, host_ids.back()), expected);
  };
  on.measure("embedding_backward", lookup_shape(rows, dim, vocabulary), matrix_sizes(on, rows, dim), run, correct);
}

void bias_add(const KernelBench& on) {
  const int64_t cols = on.config.qkv_size();
  const int64_t rows = on.rows_moving(2 * cols * on.element());
  const Tensor x = on.normal({rows, cols}, 1);
  const Tensor bias = on.normal({1, cols}, 2);
  const Tensor y = on.empty({rows, cols});
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::bias_add<D, T>(context,
                              {.x = x.data<T>(), .bias = bias.data<T>(), .y = y.data<T>(), .rows = rows, .cols = cols});
    });
  };
  const auto correct = [&] {
    return on.near(on.row(y, rows - 1),
                   elementwise(on.row(x, rows - 1), on.row(bias, 0), [](double a, double b) { return a + b; }));
  };
  on.measure("bias_add", matrix_shape(rows, cols), matrix_sizes(on, rows, cols), run, correct);
}

void bias_gradient(const KernelBench& on) {
  const int64_t cols = on.config.qkv_size();
  const int64_t rows = on.rows_moving(cols * on.element());
  const Tensor dy = on.normal({rows, cols}, 1);
  const Tensor dbias = on.floats({1, cols});
  Tensor scratch;
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::BiasGradientParams<T> p{.dy = dy.data<T>(), .dbias = dbias.data<float>(), .rows = rows, .cols = cols};
      if (!scratch.defined()) scratch = on.scratch(kernels::bias_gradient_workspace_bytes<D, T>(p));
      p.workspace = scratch.raw();
      kernels::bias_gradient<D, T>(context, p);
    });
  };
  const auto correct = [&] {
    const Values column = on.column(dy, cols - 1);
    return on.near(on.row(dbias, 0).back(), std::accumulate(column.begin(), column.end(), 0.0),
                   std::sqrt(static_cast<double>(rows)));
  };
  on.measure("bias_gradient", matrix_shape(rows, cols), matrix_sizes(on, rows, cols), run, correct);
}

/// A kernel that writes a flat array, checked by its last elements.
template <class Launch>
void measure_flat(const KernelBench& on, std::string_view kernel, const Tensor& y, const Launch& launch,
                  const std::function<Values(int64_t begin, int64_t count)>& expected) {
  const int64_t count = y.numel();
  const int64_t tail = std::min<int64_t>(count, 1024);
  const kernels::CostSizes sizes{.cols = static_cast<double>(count), .element = static_cast<double>(on.element())};
  on.measure(
      kernel, fmt::format("cols={}", count), sizes, [&] { on.launch(launch); },
      [&] {
        const Values actual = on.rows(y.view({count}), count - tail, tail);
        return on.near(actual, expected(count - tail, tail));
      });
}

/// Elements of a flat array that moves as much as rows_moving wants.
int64_t flat_count(const KernelBench& on, int64_t bytes_per_element) {
  return on.rows_moving(on.config.hidden_size * bytes_per_element) * on.config.hidden_size;
}

void add(const KernelBench& on) {
  const int64_t count = flat_count(on, 3 * on.element());
  const Tensor a = on.normal({count}, 1);
  const Tensor b = on.normal({count}, 2);
  const Tensor y = on.empty({count});
  measure_flat(
      on, "add", y,
      [&]<class D, class T>(Context<D> context) {
        kernels::add<D, T>(context, a.data<T>(), b.data<T>(), y.data<T>(), count);
      },
      [&](int64_t begin, int64_t n) {
        return elementwise(on.rows(a, begin, n), on.rows(b, begin, n), [](double p, double q) { return p + q; });
      });
}

void scale(const KernelBench& on) {
  const int64_t count = flat_count(on, 2 * on.element());
  const Tensor x = on.normal({count}, 1);
  const Tensor y = on.empty({count});
  measure_flat(
      on, "scale", y,
      [&]<class D, class T>(Context<D> context) {
        kernels::scale<D, T>(context, x.data<T>(), 0.5F, y.data<T>(), count);
      },
      [&](int64_t begin, int64_t n) {
        Values values = on.rows(x, begin, n);
        for (double& value : values) value *= 0.5;
        return values;
      });
}

/// From the element type to the other of float32 and bfloat16: 3 bytes on the mean of reading and writing.
void cast(const KernelBench& on) {
  const int64_t count = flat_count(on, 6);
  const Tensor x = on.normal({count}, 1);
  const DType other = on.dtype == DType::float32 ? DType::bfloat16 : DType::float32;
  const Tensor y = Tensor::empty(on.stream(), {count}, other);
  const KernelBench rounded{on.session, on.model, on.config, DType::bfloat16, on.tokens};
  const kernels::CostSizes sizes{.cols = static_cast<double>(count), .element = 3};
  const auto run = [&] {
    on.launch([&]<class D, class T>(Context<D> context) {
      using To = std::conditional_t<std::is_same_v<T, float>, kernels::bfloat16, float>;
      kernels::cast<D, T, To>(context, x.data<T>(), y.data<To>(), count);
    });
  };
  const auto correct = [&] {
    const int64_t tail = std::min<int64_t>(count, 1024);
    return rounded.near(on.rows(y, count - tail, tail), on.rows(x, count - tail, tail));
  };
  on.measure("cast", fmt::format("cols={}", count), sizes, run, correct);
}

void fill(const KernelBench& on) {
  const Tensor y = on.empty({flat_count(on, on.element())});
  measure_flat(
      on, "fill", y,
      [&]<class D, class T>(Context<D> context) { kernels::fill<D, T>(context, y.data<T>(), 0.75, y.numel()); },
      [](int64_t, int64_t n) { return Values(static_cast<size_t>(n), 0.75); });
}

template <bool normal>
void random_fill(const KernelBench& on) {
  const Tensor y = on.empty({flat_count(on, on.element())});
  measure_flat(
      on, normal ? "random_normal" : "random_uniform", y,
      [&]<class D, class T>(Context<D> context) {
        const kernels::RandomFillParams<T> p{.y = y.data<T>(), .count = y.numel(), .seed = 7, .stream = 3};
        if constexpr (normal) {
          kernels::random_normal<D, T>(context, p);
        } else {
          kernels::random_uniform<D, T>(context, p);
        }
      },
      [](int64_t begin, int64_t n) {
        Values values;
        for (int64_t i = begin; i < begin + n; ++i) {
          const auto at = static_cast<uint64_t>(i);
          values.push_back(normal ? kernels::philox_normal_at(7, 3, at) : kernels::philox_uniform_at(7, 3, at));
        }
        return values;
      });
}

constexpr std::array cases = {
    KernelCase{"embedding_forward", embedding_forward},
    KernelCase{"embedding_backward", embedding_backward},
    KernelCase{"rms_norm_forward", rms_norm_forward},
    KernelCase{"rms_norm_backward", rms_norm_backward},
    KernelCase{"gated_activation_forward", gated_activation_forward},
    KernelCase{"gated_activation_backward", gated_activation_backward},
    KernelCase{"bias_add", bias_add},
    KernelCase{"bias_gradient", bias_gradient},
    KernelCase{"add", add},
    KernelCase{"scale", scale},
    KernelCase{"cast", cast},
    KernelCase{"fill", fill},
    KernelCase{"random_normal", random_fill<true>},
    KernelCase{"random_uniform", random_fill<false>},
};

}  // namespace

std::span<const KernelCase> row_cases() {
  return cases;
}

}  // namespace subspect::bench
