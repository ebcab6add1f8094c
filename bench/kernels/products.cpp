// The matrix products of every linear layer of a model, forward and backward, and the head with its loss.
#include <array>

#include "bench/kernels/bench.h"
#include "kernels/linear.h"
#include "kernels/linear_cross_entropy.h"
#include "kernels/philox.h"

namespace subspect::bench {
namespace {

using kernels::Context;

/// One linear layer of a block.
struct Layer {
  const char* name;
  int64_t in;
  int64_t out;
};

std::vector<Layer> layers_of(const model::DecoderConfig& config) {
  return {{"qkv", config.hidden_size, config.qkv_size()},
          {"o", config.q_size(), config.hidden_size},
          {"gate_up", config.hidden_size, 2 * config.intermediate_size},
          {"down", config.intermediate_size, config.hidden_size}};
}

void measure_product(const KernelBench& on, std::string_view kernel, const Layer& layer,
                     const std::function<void()>& run, const std::function<bool()>& correct) {
  const kernels::CostSizes sizes{.rows = static_cast<double>(on.tokens),
                                 .cols = static_cast<double>(layer.in),
                                 .out = static_cast<double>(layer.out),
                                 .element = static_cast<double>(on.element())};
  on.measure(kernel, fmt::format("layer={} rows={} cols={} out={}", layer.name, on.tokens, layer.in, layer.out), sizes,
             run, correct);
}

/// The size of a sum of `terms` products of N(0, 1) numbers.
double sum_scale(int64_t terms) {
  return std::sqrt(static_cast<double>(terms));
}

void linear_forward(const KernelBench& on) {
  for (const Layer& layer : layers_of(on.config)) {
    const Tensor x = on.normal({on.tokens, layer.in}, 1);
    const Tensor w = on.normal({layer.out, layer.in}, 2);
    const Tensor y = on.empty({on.tokens, layer.out});
    const auto run = [&] {
      on.launch([&]<class D, class T>(Context<D> context) {
        kernels::linear_forward<D, T, T>(context, {.x = x.data<T>(),
                                                   .weight = w.data<T>(),
                                                   .y = y.data<T>(),
                                                   .rows = on.tokens,
                                                   .in = layer.in,
                                                   .out = layer.out});
      });
    };
    const auto correct = [&] {
      return on.near(on.row(y, on.tokens - 1).back(), inner(on.row(x, on.tokens - 1), on.row(w, layer.out - 1)),
                     sum_scale(layer.in)) &&
             on.near(on.row(y, 0)[1], inner(on.row(x, 0), on.row(w, 1)), sum_scale(layer.in));
    };
    measure_product(on, "linear_forward", layer, run, correct);
  }
}

void linear_backward_input(const KernelBench& on) {
  for (const Layer& layer : layers_of(on.config)) {
    const Tensor dy = on.normal({on.tokens, layer.out}, 1);
    const Tensor w = on.normal({layer.out, layer.in}, 2);
    const Tensor dx = on.empty({on.tokens, layer.in});
    const auto run = [&] {
      on.launch([&]<class D, class T>(Context<D> context) {
        kernels::linear_backward_input<D, T>(context, {.dy = dy.data<T>(),
                                                       .weight = w.data<T>(),
                                                       .dx = dx.data<T>(),
                                                       .rows = on.tokens,
                                                       .in = layer.in,
                                                       .out = layer.out});
      });
    };
    const auto correct = [&] {
      return on.near(on.row(dx, on.tokens - 1).back(), inner(on.row(dy, on.tokens - 1), on.column(w, layer.in - 1)),
                     sum_scale(layer.out)) &&
             on.near(on.row(dx, 0)[1], inner(on.row(dy, 0), on.column(w, 1)), sum_scale(layer.out));
    };
    measure_product(on, "linear_backward_input", layer, run, correct);
  }
}

void linear_backward_weight(const KernelBench& on) {
  for (const Layer& layer : layers_of(on.config)) {
    const Tensor dy = on.normal({on.tokens, layer.out}, 1);
    const Tensor x = on.normal({on.tokens, layer.in}, 2);
    const Tensor dw = on.floats({layer.out, layer.in});
    const auto run = [&] {
      on.launch([&]<class D, class T>(Context<D> context) {
        kernels::linear_backward_weight<D, T>(context, {.dy = dy.data<T>(),
                                                        .x = x.data<T>(),
                                                        .dweight = dw.data<float>(),
                                                        .rows = on.tokens,
                                                        .in = layer.in,
                                                        .out = layer.out});
      });
    };
    const auto correct = [&] {
      return on.near(on.row(dw, layer.out - 1).back(), inner(on.column(dy, layer.out - 1), on.column(x, layer.in - 1)),
                     sum_scale(on.tokens)) &&
             on.near(on.row(dw, 0)[1], inner(on.column(dy, 0), on.column(x, 1)), sum_scale(on.tokens));
    };
    measure_product(on, "linear_backward_weight", layer, run, correct);
  }
}

/// The loss with both gradients.
struct Loss {
  const KernelBench& on;
  int64_t tokens, vocabulary, dim;
  Tensor x, weight, targets, dx, dweight, log_p, sum, scratch;
  std::vector<int32_t> host_targets;

  explicit Loss(const KernelBench& bench)
      : on(bench),
        tokens(bench.tokens),
        vocabulary(bench.config.vocab_size),
        dim(bench.config.hidden_size),
        x(on.normal({tokens, dim}, 1)),
        weight(on.normal({vocabulary, dim}, 2, 1 / std::sqrt(static_cast<double>(dim)))),
        dx(on.empty({tokens, dim})),
        dweight(on.floats({vocabulary, dim})),
        log_p(on.floats({tokens})),
        sum(Tensor::zeros(on.stream(), {1}, DType::float64)) {
    for (int64_t t = 0; t < tokens; ++t) {
      const uint32_t word = kernels::philox_block(1, 2, static_cast<uint64_t>(t)).word[0];
      host_targets.push_back(static_cast<int32_t>(word % static_cast<uint64_t>(vocabulary)));
    }
    targets = on.upload(host_targets);
  }

  void run() {
    on.launch([&]<class D, class T>(Context<D> context) {
      kernels::LinearCrossEntropyParams<T> p{.x = x.data<T>(),
                                             .weight = weight.data<T>(),
                                             .targets = targets.data<int32_t>(),
                                             .loss_sum = sum.data<double>(),
                                             .log_probabilities = log_p.data<float>(),
                                             .dx = dx.data<T>(),
                                             .dweight = dweight.data<float>(),
                                             .tokens = tokens,
                                             .vocab = vocabulary,
                                             .dim = dim,
                                             .counted_tokens = tokens};
      if (!scratch.defined()) scratch = on.scratch(kernels::linear_cross_entropy_workspace_bytes<D, T>(p));
      p.workspace = scratch.raw();
      kernels::linear_cross_entropy<D, T>(context, p);
    });
  }

  /// log p of the first token, and its gradient: sum over the vocabulary of p_v w_v, less the target's w.
  bool correct() const {
    constexpr int64_t most = 4096;
    const Values x0 = on.row(x, 0);
    double sum_exp = 0;
    Values gradient(static_cast<size_t>(dim));
    for (int64_t begin = 0; begin < vocabulary; begin += most) {
      const int64_t count = std::min(most, vocabulary - begin);
      const Values w = on.rows(weight, begin, count);
      for (int64_t v = 0; v < count; ++v) {
        const double* row = w.data() + v * dim;
        const double e = std::exp(std::inner_product(x0.begin(), x0.end(), row, 0.0));
        sum_exp += e;
        for (size_t j = 0; j < gradient.size(); ++j) gradient[j] += e * row[j];
      }
    }
    const Values target = on.row(weight, host_targets.front());
    for (size_t j = 0; j < gradient.size(); ++j) gradient[j] = gradient[j] / sum_exp - target[j];
    return on.near(on.rows(log_p, 0, 1)[0], inner(x0, target) - std::log(sum_exp)) &&
           on.near(on.row(dx, 0), gradient) && dweight_is_correct();
  }

  /// The row of the first token's target: p_tv x_t over all tokens, less x_t where v is the target.
  bool dweight_is_correct() const {
    const int32_t v = host_targets.front();
    const Values w = on.row(weight, v);
    const Values log_probabilities = on.rows(log_p, 0, tokens);
    Values expected(static_cast<size_t>(dim));
    for (int64_t t = 0; t < tokens; ++t) {
      const auto at = static_cast<size_t>(t);
      const Values xt = on.row(x, t);
      const double score = inner(xt, w);
      const double log_sum = inner(xt, on.row(weight, host_targets[at])) - log_probabilities[at];
      const double factor = std::exp(score - log_sum) - (host_targets[at] == v ? 1.0 : 0.0);
      for (size_t j = 0; j < expected.size(); ++j) expected[j] += factor * xt[j];
    }
    return on.near(on.row(dweight, v), expected);
  }
};

void linear_cross_entropy(const KernelBench& on) {
  Loss loss(on);
  const kernels::CostSizes sizes{.rows = static_cast<double>(loss.tokens),
                                 .cols = static_cast<double>(loss.dim),
                                 .out = static_cast<double>(loss.vocabulary),
                                 .element = static_cast<double>(on.element())};
  on.measure(
      "linear_cross_entropy", fmt::format("rows={} cols={} out={}", loss.tokens, loss.dim, loss.vocabulary), sizes,
      [&] { loss.run(); }, [&] { return loss.correct(); });
}

constexpr std::array cases = {
    KernelCase{"linear_forward", linear_forward},
    KernelCase{"linear_backward_input", linear_backward_input},
    KernelCase{"linear_backward_weight", linear_backward_weight},
    KernelCase{"linear_cross_entropy", linear_cross_entropy},
};

}  // namespace

std::span<const KernelCase> product_cases() {
  return cases;
}

}  // namespace subspect::bench
