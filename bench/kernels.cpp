// Benchmarks of the CPU kernels. Each checks its result against a definition in double, then times the kernel and
// reports the bytes and flops that kernels/registry.h declares, per second and as a part of the peaks of copying and of
// matrix multiplication measured in the same run.
//
//   bench_kernels [--threads=N] [--benchmark_filter=REGEX] ...
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "bench/arguments.h"
#include "kernels/attention.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/gated_activation.h"
#include "kernels/linear.h"
#include "kernels/linear_cross_entropy.h"
#include "kernels/optimizer.h"
#include "kernels/paged_attention.h"
#include "kernels/philox.h"
#include "kernels/registry.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "kernels/thread_team.h"

namespace subspect::kernels {
namespace {

struct Peaks {
  double copy_bytes = 0;  ///< per second, read and written
  double gemm_flops = 0;  ///< per second, float32
};

std::unique_ptr<ThreadTeam> team;
Peaks peaks;

Context<Cpu> on() {
  return {team.get()};
}

template <class Run>
double best_seconds(const Run& run) {
  double best = 1e9;
  for (int i = 0; i < 7; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

Peaks measure_peaks() {
  constexpr int64_t count = int64_t{1} << 25;
  constexpr int64_t size = 1024;
  std::vector<float> a(count, 1.0F);
  std::vector<float> b(count);
  const double copy = best_seconds([&] { cast(on(), a.data(), b.data(), count); });
  const double gemm = best_seconds([&] {
    linear_backward_input(on(), LinearBackwardInputParams<float>{a.data(), a.data(), b.data(), size, size, size});
  });
  return {8.0 * count / copy, 2.0 * size * size * size / gemm};
}

template <class T>
std::vector<T> random_values(int64_t count, uint64_t seed, float scale = 1.0F) {
  std::vector<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = from_float<T>(scale * philox_normal_at(seed, 0, i));
  return values;
}

template <class T>
double value(const std::vector<T>& values, int64_t at) {
  return static_cast<double>(to_float(values[static_cast<size_t>(at)]));
}

template <class T>
bool near(T actual, double expected, double scale = 1.0) {
  const double epsilon = std::is_same_v<T, float> ? 1e-4 : 2e-2;
  return std::abs(static_cast<double>(to_float(actual)) - expected) <= epsilon * (std::abs(expected) + scale);
}

/// Checks once, then times `run`.
template <class Run>
void measure(benchmark::State& state, const char* kernel, const CostSizes& sizes, const Run& run, bool correct) {
  if (!correct) {
    state.SkipWithError("wrong result");
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) run();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const double seconds = elapsed.count() / static_cast<double>(state.iterations());
  const KernelCost cost = find_kernel(kernel)->cost(sizes);
  state.counters["GB/s"] = cost.bytes / seconds / 1e9;
  state.counters["GFLOP/s"] = cost.flops / seconds / 1e9;
  state.counters["%copy"] = 100 * cost.bytes / seconds / peaks.copy_bytes;
  state.counters["%gemm"] = 100 * cost.flops / seconds / peaks.gemm_flops;
}

template <class T>
void rms_norm(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const int64_t cols = state.range(1);
  const auto x = random_values<T>(rows * cols, 1);
  const auto weight = random_values<T>(cols, 2);
  std::vector<T> y(x.size());
  std::vector<float> inv_rms(static_cast<size_t>(rows));
  const auto run = [&] {
    rms_norm_forward(on(), RmsNormForwardParams<T>{x.data(), nullptr, weight.data(), nullptr, y.data(), inv_rms.data(),
                                                   rows, cols, 1e-5F});
  };
  run();
  double squares = 0;
  for (int64_t j = 0; j < cols; ++j) squares += value(x, j) * value(x, j);
  const double inv = 1 / std::sqrt(squares / static_cast<double>(cols) + 1e-5);
  const bool correct = near(y[0], value(x, 0) * inv * value(weight, 0));
  measure(state, "rms_norm_forward",
          {.rows = static_cast<double>(rows), .cols = static_cast<double>(cols), .element = sizeof(T)}, run, correct);
}

template <class T>
void rms_norm_gradient(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const int64_t cols = state.range(1);
  const auto h = random_values<T>(rows * cols, 1);
  const auto dy = random_values<T>(rows * cols, 2);
  const std::vector<T> weight(static_cast<size_t>(cols), from_float<T>(1.0F));
  std::vector<float> inv_rms(static_cast<size_t>(rows), 1.0F);
  std::vector<float> dweight(static_cast<size_t>(cols));
  std::vector<T> dx(h.size());
  RmsNormBackwardParams<T> p{h.data(),  weight.data(),  inv_rms.data(), dy.data(), nullptr,
                             dx.data(), dweight.data(), rows,           cols};
  std::vector<std::byte> workspace(static_cast<size_t>(rms_norm_backward_workspace_bytes<Cpu>(p)));
  p.workspace = workspace.data();
  const auto run = [&] { rms_norm_backward(on(), p); };
  run();
  double mean = 0;
  double sum = 0;
  for (int64_t j = 0; j < cols; ++j) mean += value(dy, j) * value(h, j) / static_cast<double>(cols);
  for (int64_t i = 0; i < rows; ++i) sum += value(dy, i * cols) * value(h, i * cols);
  const bool correct =
      near(dx[0], value(dy, 0) - value(h, 0) * mean) && near(dweight[0], sum, static_cast<double>(rows));
  measure(state, "rms_norm_backward",
          {.rows = static_cast<double>(rows), .cols = static_cast<double>(cols), .element = sizeof(T)}, run, correct);
}

template <class T>
void swiglu(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const int64_t cols = state.range(1);
  const auto gate_up = random_values<T>(rows * 2 * cols, 1);
  std::vector<T> y(static_cast<size_t>(rows * cols));
  const auto run = [&] {
    gated_activation_forward(on(), GatedActivationForwardParams<T>{gate_up.data(), y.data(), rows, cols});
  };
  run();
  const double z = value(gate_up, 0);
  const bool correct = near(y[0], z / (1 + std::exp(-z)) * value(gate_up, cols));
  measure(state, "gated_activation_forward",
          {.rows = static_cast<double>(rows), .cols = static_cast<double>(cols), .element = sizeof(T)}, run, correct);
}

template <class T>
void swiglu_gradient(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const int64_t cols = state.range(1);
  const auto gate_up = random_values<T>(rows * 2 * cols, 1);
  const auto dy = random_values<T>(rows * cols, 2);
  std::vector<T> dx(gate_up.size());
  const auto run = [&] {
    gated_activation_backward(on(), GatedActivationBackwardParams<T>{gate_up.data(), dy.data(), dx.data(), rows, cols});
  };
  run();
  const double z = value(gate_up, 0);
  const bool correct = near(dx[static_cast<size_t>(cols)], value(dy, 0) * z / (1 + std::exp(-z)));
  measure(state, "gated_activation_backward",
          {.rows = static_cast<double>(rows), .cols = static_cast<double>(cols), .element = sizeof(T)}, run, correct);
}

template <class T>
void linear(benchmark::State& state, const std::string& product) {
  const int64_t rows = state.range(0);
  const int64_t in = state.range(1);
  const int64_t out = state.range(2);
  const auto x = random_values<T>(rows * in, 1);
  const auto w = random_values<T>(out * in, 2);
  const auto dy = random_values<T>(rows * out, 3);
  std::vector<T> y(dy.size());
  std::vector<T> dx(x.size());
  std::vector<float> dw(w.size());
  std::function<void()> run;
  double sum = 0;
  bool correct = false;
  if (product == "linear_forward") {
    run = [&] { linear_forward(on(), LinearForwardParams<T>{x.data(), w.data(), nullptr, y.data(), rows, in, out}); };
    run();
    for (int64_t k = 0; k < in; ++k) sum += value(x, k) * value(w, k);
    correct = near(y[0], sum);
  } else if (product == "linear_backward_input") {
    run = [&] {
      linear_backward_input(on(), LinearBackwardInputParams<T>{dy.data(), w.data(), dx.data(), rows, in, out});
    };
    run();
    for (int64_t k = 0; k < out; ++k) sum += value(dy, k) * value(w, k * in);
    correct = near(dx[0], sum);
  } else {
    run = [&] {
      linear_backward_weight(on(), LinearBackwardWeightParams<T>{dy.data(), x.data(), dw.data(), rows, in, out});
    };
    run();
    for (int64_t k = 0; k < rows; ++k) sum += value(dy, k * out) * value(x, k * in);
    correct = near(dw[0], sum);
  }
  const CostSizes sizes{.rows = static_cast<double>(rows),
                        .cols = static_cast<double>(in),
                        .out = static_cast<double>(out),
                        .element = sizeof(T)};
  measure(state, product.c_str(), sizes, run, correct);
}

/// Packed documents of one length.
template <class T>
struct Attention {
  int64_t documents, length, heads, kv_heads, d, tokens, width;
  std::vector<int32_t> cu_seqlens;
  std::vector<T> qkv, out, dout, dqkv;
  std::vector<float> logsumexp, delta;

  explicit Attention(const benchmark::State& state)
      : documents(state.range(0)),
        length(state.range(1)),
        heads(state.range(2)),
        kv_heads(state.range(3)),
        d(state.range(4)),
        tokens(documents * length),
        width((heads + 2 * kv_heads) * d),
        qkv(random_values<T>(tokens * width, 1)),
        out(static_cast<size_t>(tokens * heads * d)),
        dout(random_values<T>(tokens * heads * d, 2)),
        dqkv(qkv.size()),
        logsumexp(static_cast<size_t>(heads * tokens)),
        delta(logsumexp.size()) {
    for (int64_t i = 0; i <= documents; ++i) cu_seqlens.push_back(static_cast<int32_t>(i * length));
  }

  AttentionShape shape() const {
    return {
        cu_seqlens.data(), documents, tokens, length, heads, kv_heads, d, 1.0F / std::sqrt(static_cast<float>(d)), 0};
  }

  CostSizes sizes() const {
    return {.rows = static_cast<double>(tokens),
            .heads = static_cast<double>(heads),
            .kv_heads = static_cast<double>(kv_heads),
            .head_dim = static_cast<double>(d),
            .pairs = static_cast<double>(documents) * causal_pairs(static_cast<double>(length)),
            .element = sizeof(T)};
  }

  void forward() {
    attention_forward(on(), AttentionForwardParams<T>{shape(), qkv.data(), qkv.data() + heads * d,
                                                      qkv.data() + (heads + kv_heads) * d, width, width, width,
                                                      out.data(), heads * d, logsumexp.data()});
  }

  void backward() {
    attention_backward(
        on(), AttentionBackwardParams<T>{
                  shape(), qkv.data(), qkv.data() + heads * d, qkv.data() + (heads + kv_heads) * d, width, width, width,
                  out.data(), dout.data(), heads * d, heads * d, logsumexp.data(), dqkv.data(), dqkv.data() + heads * d,
                  dqkv.data() + (heads + kv_heads) * d, width, width, width, delta.data()});
  }

  /// The second query of the first document sees two keys: softmax by hand.
  bool forward_is_correct() const {
    double scores[2] = {0, 0};
    for (int64_t j = 0; j < 2; ++j) {
      for (int64_t c = 0; c < d; ++c)
        scores[j] += value(qkv, width + c) * value(qkv, j * width + heads * d + c) / std::sqrt(static_cast<double>(d));
    }
    const double second = 1 / (1 + std::exp(scores[0] - scores[1]));
    const double v0 = value(qkv, (heads + kv_heads) * d);
    const double v1 = value(qkv, width + (heads + kv_heads) * d);
    return near(out[static_cast<size_t>(heads * d)], (1 - second) * v0 + second * v1);
  }

  /// The sum of dv over a document is the sum of dout over it and the heads that share the values.
  bool backward_is_correct() const {
    double dv = 0;
    double expected = 0;
    for (int64_t t = 0; t < length; ++t) {
      dv += value(dqkv, t * width + (heads + kv_heads) * d);
      for (int64_t h = 0; h < heads / kv_heads; ++h) expected += value(dout, (t * heads + h) * d);
    }
    return near(from_float<T>(static_cast<float>(dv)), expected, std::sqrt(static_cast<double>(length)));
  }
};

template <class T>
void attention(benchmark::State& state) {
  Attention<T> a(state);
  a.forward();
  measure(
      state, "attention_forward", a.sizes(), [&] { a.forward(); }, a.forward_is_correct());
}

template <class T>
void attention_gradient(benchmark::State& state) {
  Attention<T> a(state);
  a.forward();
  a.backward();
  measure(
      state, "attention_backward", a.sizes(), [&] { a.backward(); }, a.backward_is_correct());
}

template <class T>
void cross_entropy(benchmark::State& state) {
  const int64_t tokens = state.range(0);
  const int64_t vocab = state.range(1);
  const int64_t dim = state.range(2);
  const auto x = random_values<T>(tokens * dim, 1);
  const auto weight = random_values<T>(vocab * dim, 2, 0.1F);
  std::vector<T> dx(x.size());
  std::vector<float> dweight(weight.size());
  std::vector<float> log_p(static_cast<size_t>(tokens));
  std::vector<int32_t> targets(static_cast<size_t>(tokens));
  for (size_t t = 0; t < targets.size(); ++t)
    targets[t] = static_cast<int32_t>(philox_block(1, 2, t).word[0] % static_cast<uint64_t>(vocab));
  double loss = 0;
  LinearCrossEntropyParams<T> p{x.data(),  weight.data(),  targets.data(), &loss,  nullptr, log_p.data(),
                                dx.data(), dweight.data(), 1e-3F,          tokens, vocab,   dim};
  std::vector<std::byte> workspace(static_cast<size_t>(linear_cross_entropy_workspace_bytes<Cpu>(p)));
  p.workspace = workspace.data();
  const auto run = [&] { linear_cross_entropy(on(), p); };
  run();
  double sum = 0;
  double target = 0;
  for (int64_t v = 0; v < vocab; ++v) {
    double score = 0;
    for (int64_t j = 0; j < dim; ++j) score += value(x, j) * value(weight, v * dim + j);
    sum += std::exp(score);
    if (v == targets[0]) target = score;
  }
  const CostSizes sizes{.rows = static_cast<double>(tokens),
                        .cols = static_cast<double>(dim),
                        .out = static_cast<double>(vocab),
                        .element = sizeof(T)};
  measure(state, "linear_cross_entropy", sizes, run, near(log_p[0], target - std::log(sum)));
}

/// A list of one tensor.
struct SingleTensor {
  OptimizerTensor tensor;
  std::vector<TensorChunk> chunks;

  explicit SingleTensor(const OptimizerTensor& given) : tensor(given), chunks(static_cast<size_t>(list_size())) {
    write_chunks({&tensor, 1}, chunks.data());
  }
  int64_t list_size() const { return count_chunks({&tensor, 1}); }
  TensorList list() const { return {&tensor, chunks.data(), list_size()}; }
};

/// T: of the parameter, which has no master copy.
template <class T>
void adamw(benchmark::State& state) {
  const int64_t count = state.range(0);
  auto param = random_values<T>(count, 1);
  const auto grad = random_values<float>(count, 2);
  const double before = value(param, 0);
  std::vector<float> m(param.size());
  std::vector<float> v(param.size());
  OptimizerTensor tensor{.grad = grad.data(), .first = {m.data()}, .second = {v.data()}, .count = count};
  if constexpr (std::is_same_v<T, float>) {
    tensor.weights = param.data();
  } else {
    tensor.rounded = param.data();
  }
  const SingleTensor single(tensor);
  const AdamWParams p{.update = {.list = single.list(), .lr = 0.01F}};
  const auto run = [&] { adamw_step(on(), p); };
  run();  // the first step of Adam is lr in the direction of the gradient's sign
  const bool correct = near(param[0], before - std::copysign(0.01, value(grad, 0)), 0.01);
  measure(state, "adamw_step", {.cols = static_cast<double>(count), .element = sizeof(T)}, run, correct);
}

void norm(benchmark::State& state) {
  const int64_t count = state.range(0);
  const std::vector<float> x(static_cast<size_t>(count), 2.0F);
  OptimizerTensor tensor;
  tensor.grad = x.data();
  tensor.count = count;
  const SingleTensor single(tensor);
  GradientSummary summary;
  SquaredNormParams p{single.list(), &summary, nullptr};
  std::vector<std::byte> workspace(static_cast<size_t>(squared_norm_workspace_bytes<Cpu>(p)));
  p.workspace = workspace.data();
  const auto run = [&] { squared_norm(on(), p); };
  run();
  measure(state, "squared_norm", {.cols = static_cast<double>(count)}, run,
          summary.squared_norm == 4.0 * static_cast<double>(count));
}

template <class T>
void rotary(benchmark::State& state) {
  const int64_t tokens = state.range(0);
  const int64_t heads = state.range(1);
  const int64_t d = state.range(2);
  const int64_t width = 3 * heads * d;
  const auto qkv = random_values<T>(tokens * width, 1);
  std::vector<T> out(qkv.size());
  std::vector<int32_t> positions(static_cast<size_t>(tokens));
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<float> inv_freq(static_cast<size_t>(d / 2), 0.01F);
  const RotaryShape shape{positions.data(), inv_freq.data(), 1.0F, tokens, heads, heads, d, d, 1e-6F};
  const auto run = [&] {
    rotary_forward(on(), RotaryForwardParams<T>{shape, qkv.data(), out.data(), nullptr, nullptr});
  };
  run();
  const double angle = 0.01 * static_cast<double>(tokens - 1);
  const int64_t last = (tokens - 1) * width;
  const bool correct = near(out[static_cast<size_t>(last)],
                            value(qkv, last) * std::cos(angle) - value(qkv, last + d / 2) * std::sin(angle));
  const CostSizes sizes{.rows = static_cast<double>(tokens),
                        .heads = static_cast<double>(heads),
                        .kv_heads = static_cast<double>(heads),
                        .head_dim = static_cast<double>(d),
                        .element = sizeof(T)};
  measure(state, "rotary_forward", sizes, run, correct);
}

template <class T>
void decode(benchmark::State& state) {
  const int64_t sequences = state.range(0);
  const int64_t length = state.range(1);
  const int64_t heads = state.range(2);
  const int64_t kv_heads = state.range(3);
  const int64_t d = state.range(4);
  constexpr int64_t page_size = 16;
  const int64_t pages = (length + page_size - 1) / page_size;
  const auto q = random_values<T>(sequences * heads * d, 1);
  const auto k = random_values<T>(sequences * pages * page_size * kv_heads * d, 2);
  const std::vector<T> v(k.size(), from_float<T>(0.5F));  // the mean of equal values is the value
  std::vector<T> out(q.size());
  std::vector<int32_t> table(static_cast<size_t>(sequences * pages));
  std::iota(table.begin(), table.end(), 0);
  const std::vector<int32_t> lengths(static_cast<size_t>(sequences), static_cast<int32_t>(length));
  DecodeAttentionParams<T> p{q.data(),       heads * d,  k.data(),  v.data(),  table.data(),
                             lengths.data(), out.data(), heads * d, sequences, pages,
                             page_size,      heads,      kv_heads,  d,         0.1F};
  std::vector<std::byte> workspace(static_cast<size_t>(decode_attention_workspace_bytes<Cpu>(p)));
  p.workspace = workspace.data();
  const auto run = [&] { decode_attention(on(), p); };
  run();
  const CostSizes sizes{.rows = static_cast<double>(sequences),
                        .heads = static_cast<double>(heads),
                        .kv_heads = static_cast<double>(kv_heads),
                        .head_dim = static_cast<double>(d),
                        .pairs = static_cast<double>(sequences * length),
                        .element = sizeof(T)};
  measure(state, "decode_attention", sizes, run, near(out.front(), 0.5) && near(out.back(), 0.5));
}

using Body = void (*)(benchmark::State&);

/// Registers a benchmark for both element types.
void add_benchmark(const std::string& name, Body float32, Body half, const std::vector<std::vector<int64_t>>& shapes) {
  auto* wide = benchmark::RegisterBenchmark((name + "/float32").c_str(), float32);
  auto* narrow = benchmark::RegisterBenchmark((name + "/bfloat16").c_str(), half);
  for (const auto& shape : shapes) {
    wide->Args(shape)->UseRealTime();
    narrow->Args(shape)->UseRealTime();
  }
}

void add_linear(const char* product, const std::vector<std::vector<int64_t>>& shapes) {
  auto* wide = benchmark::RegisterBenchmark((std::string(product) + "/float32").c_str(),
                                            [product](benchmark::State& s) { linear<float>(s, product); });
  auto* narrow = benchmark::RegisterBenchmark((std::string(product) + "/bfloat16").c_str(),
                                              [product](benchmark::State& s) { linear<bfloat16>(s, product); });
  for (const auto& shape : shapes) {
    wide->Args(shape)->UseRealTime();
    narrow->Args(shape)->UseRealTime();
  }
}

void add_all() {
  const std::vector<std::vector<int64_t>> rows = {{4096, 128}, {2048, 2048}};
  const std::vector<std::vector<int64_t>> gated = {{4096, 384}, {2048, 5632}};
  const std::vector<std::vector<int64_t>> products = {
      {32, 128, 384}, {4096, 128, 384}, {512, 2048, 2048}, {1, 2048, 2048}};
  const std::vector<std::vector<int64_t>> attentions = {{40, 100, 4, 4, 32}, {2, 1024, 8, 2, 64}, {1, 2048, 4, 1, 128}};
  add_benchmark("rms_norm_forward", rms_norm<float>, rms_norm<bfloat16>, rows);
  add_benchmark("rms_norm_backward", rms_norm_gradient<float>, rms_norm_gradient<bfloat16>, rows);
  add_benchmark("rotary_forward", rotary<float>, rotary<bfloat16>, {{4096, 4, 32}, {2048, 16, 128}});
  add_benchmark("attention_forward", attention<float>, attention<bfloat16>, attentions);
  add_benchmark("attention_backward", attention_gradient<float>, attention_gradient<bfloat16>, attentions);
  add_benchmark("decode_attention", decode<float>, decode<bfloat16>, {{64, 100, 4, 4, 32}, {1, 4096, 32, 8, 64}});
  add_benchmark("gated_activation_forward", swiglu<float>, swiglu<bfloat16>, gated);
  add_benchmark("gated_activation_backward", swiglu_gradient<float>, swiglu_gradient<bfloat16>, gated);
  for (const char* product : {"linear_forward", "linear_backward_input", "linear_backward_weight"})
    add_linear(product, products);
  add_benchmark("linear_cross_entropy", cross_entropy<float>, cross_entropy<bfloat16>,
                {{4096, 512, 128}, {256, 32000, 256}});
  add_benchmark("adamw_step", adamw<float>, adamw<bfloat16>, {{1 << 20}, {1 << 24}});
  benchmark::RegisterBenchmark("squared_norm/float32", norm)->Arg(1 << 20)->Arg(1 << 24)->UseRealTime();
}

}  // namespace
}  // namespace subspect::kernels

int main(int argc, char** argv) {
  using namespace subspect::kernels;  // NOLINT(google-build-using-namespace): the program is this file
  team = std::make_unique<ThreadTeam>(static_cast<int>(subspect::bench::take_number(argc, argv, "threads", 0)));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  peaks = measure_peaks();
  std::fprintf(stderr, "%d threads; copy %.1f GB/s, matrix product %.1f GFLOP/s\n", team->size(),
               peaks.copy_bytes / 1e9, peaks.gemm_flops / 1e9);
  add_all();
  benchmark::RunSpecifiedBenchmarks();
  team.reset();
  return 0;
}
