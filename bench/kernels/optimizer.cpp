// Optimizer steps over one tensor as large as a model's largest layer; the norm that clips.
#include "kernels/optimizer.h"

#include <array>

#include "bench/kernels/bench.h"

namespace subspect::bench {
namespace {

using kernels::Context;

constexpr float rate = 0.01F;

/// A list of one tensor with its gradient and moments, on the device.
struct Single {
  const KernelBench& on;
  int64_t count;
  Tensor param, grad, first, second, record, chunks;
  int64_t chunk_count = 0;

  explicit Single(const KernelBench& bench)
      : on(bench),
        count(2 * bench.config.intermediate_size * bench.config.hidden_size),
        param(on.normal({count}, 1)),
        grad(on.normal({count}, 2, 1, DType::float32)),
        first(on.floats({count})),
        second(on.floats({count})) {
    kernels::OptimizerTensor tensor{.grad = grad.data<float>(),
                                    .first = {.values = first.data<float>()},
                                    .second = {.values = second.data<float>()},
                                    .count = count};
    if (on.dtype == DType::float32) {
      tensor.weights = param.data<float>();
    } else {
      tensor.rounded = param.data<kernels::bfloat16>();
    }
    chunk_count = kernels::count_chunks({&tensor, 1});
    std::vector<kernels::TensorChunk> host_chunks(static_cast<size_t>(chunk_count));
    kernels::write_chunks({&tensor, 1}, host_chunks.data());
    record = on.scratch(sizeof(tensor));
    on.stream().copy_from_host(record.raw(), &tensor, sizeof(tensor));
    const auto bytes = static_cast<int64_t>(host_chunks.size() * sizeof(kernels::TensorChunk));
    chunks = on.scratch(bytes);
    on.stream().copy_from_host(chunks.raw(), host_chunks.data(), bytes);
  }

  kernels::TensorList list() const {
    return {static_cast<const kernels::OptimizerTensor*>(record.raw()),
            static_cast<const kernels::TensorChunk*>(chunks.raw()), chunk_count};
  }

  Values tail(const Tensor& flat) const {
    const int64_t n = std::min<int64_t>(count, 1024);
    return on.rows(flat, count - n, n);
  }

  /// Times `run`; the first call changes the parameter by -rate * `change(gradient)`.
  void measure(std::string_view kernel, const std::function<void()>& run, double (*change)(double)) const {
    Values expected = tail(param);
    const Values g = tail(grad);
    for (size_t i = 0; i < g.size(); ++i) expected[i] -= static_cast<double>(rate) * change(g[i]);
    const kernels::CostSizes sizes{.cols = static_cast<double>(count), .element = static_cast<double>(on.element())};
    on.measure(kernel, fmt::format("cols={}", count), sizes, run,
               [&] { return on.near(tail(param), expected, static_cast<double>(rate)); });
  }
};

void adamw_step(const KernelBench& on) {
  const Single single(on);
  const kernels::AdamWParams p{.update = {.list = single.list(), .lr = rate}};
  single.measure(
      "adamw_step",
      [&] {
        runtime::dispatch_device(on.stream(), [&]<class D>(Context<D> context) { kernels::adamw_step<D>(context, p); });
      },
      [](double g) { return g / (std::abs(g) + 1e-8); });  // both moments are those of one gradient
}

void sgd_step(const KernelBench& on) {
  const Single single(on);
  const kernels::SgdParams p{.update = {.list = single.list(), .lr = rate}, .momentum = 0.9F};
  single.measure(
      "sgd_step",
      [&] {
        runtime::dispatch_device(on.stream(), [&]<class D>(Context<D> context) { kernels::sgd_step<D>(context, p); });
      },
      [](double g) { return g; });
}

/// The summary of the gradients of a list.
struct Norm {
  Single single;
  Tensor summary;
  Tensor scratch;

  explicit Norm(const KernelBench& on) : single(on), summary(on.scratch(sizeof(kernels::GradientSummary))) {}

  kernels::GradientSummary* address() const { return static_cast<kernels::GradientSummary*>(summary.raw()); }

  void run() {
    runtime::dispatch_device(single.on.stream(), [&]<class D>(Context<D> context) {
      kernels::SquaredNormParams p{.list = single.list(), .summary = address()};
      if (!scratch.defined()) scratch = single.on.scratch(kernels::squared_norm_workspace_bytes<D>(p));
      p.workspace = scratch.raw();
      kernels::squared_norm<D>(context, p);
    });
  }

  double expected() const {
    double sum = 0;
    constexpr int64_t most = 1 << 24;
    for (int64_t begin = 0; begin < single.count; begin += most) {
      const Values g = single.on.rows(single.grad, begin, std::min(most, single.count - begin));
      sum += inner(g, g);
    }
    return sum;
  }

  double actual() const {
    kernels::GradientSummary host;
    single.on.stream().copy_to_host(&host, summary.raw(), sizeof(host));
    return host.squared_norm;
  }
};

void squared_norm(const KernelBench& on) {
  Norm norm(on);
  on.measure(
      "squared_norm", fmt::format("cols={}", norm.single.count), {.cols = static_cast<double>(norm.single.count)},
      [&] { norm.run(); }, [&] { return std::abs(norm.actual() - norm.expected()) <= 1e-6 * norm.expected(); });
}

void clip_scale(const KernelBench& on) {
  Norm norm(on);
  norm.run();
  const Tensor scale = on.floats({1});
  const auto run = [&] {
    runtime::dispatch_device(on.stream(), [&]<class D>(Context<D> context) {
      kernels::clip_scale<D>(context, {.summary = norm.address(), .max_norm = 1, .scale = scale.data<float>()});
    });
  };
  const auto correct = [&] { return on.near(on.rows(scale, 0, 1)[0] * std::sqrt(norm.actual()), 1.0); };
  on.measure("clip_scale", "cols=1", {}, run, correct);
}

constexpr std::array cases = {
    KernelCase{"adamw_step", adamw_step},
    KernelCase{"sgd_step", sgd_step},
    KernelCase{"squared_norm", squared_norm, true},
    KernelCase{"clip_scale", clip_scale, true},
};

}  // namespace

std::span<const KernelCase> optimizer_cases() {
  return cases;
}

}  // namespace subspect::bench
