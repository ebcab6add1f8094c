// Choosing the next token of many sequences.
#include "kernels/sampling.h"

#include <array>

#include "bench/kernels/bench.h"

namespace subspect::bench {
namespace {

using kernels::Context;

struct Scores {
  const KernelBench& on;
  int64_t rows;
  int64_t vocabulary;
  Tensor logits;
  Tensor ids;

  explicit Scores(const KernelBench& bench)
      : on(bench),
        rows(bench.session.quick() ? 2 : 64),
        vocabulary(bench.config.vocab_size),
        logits(on.normal({rows, vocabulary}, 1)),
        ids(Tensor::empty(on.stream(), {rows}, DType::int32)) {}

  void measure(std::string_view kernel, const std::function<void()>& run, const std::function<bool()>& correct) const {
    on.measure(kernel, fmt::format("rows={} out={}", rows, vocabulary),
               {.rows = static_cast<double>(rows), .out = static_cast<double>(vocabulary)}, run, correct);
  }
};

void argmax(const KernelBench& on) {
  const Scores s(on);
  const auto run = [&] {
    runtime::dispatch_device(on.stream(), [&]<class D>(Context<D> context) {
      kernels::argmax<D>(context, s.logits.data<float>(), s.ids.data<int32_t>(), s.rows, s.vocabulary);
    });
  };
  const auto correct = [&] {
    const Values row = on.row(s.logits, s.rows - 1);
    return s.ids.to_host<int32_t>(on.stream()).back() == std::max_element(row.begin(), row.end()) - row.begin();
  };
  s.measure("argmax", run, correct);
}

/// Draws at 1/2 with a temperature of 1/2: the token at which the sorted probabilities reach one half.
void sample(const KernelBench& on) {
  const Scores s(on);
  const Tensor uniform = on.upload(std::vector<float>(static_cast<size_t>(s.rows), 0.5F));
  Tensor scratch;
  const auto run = [&] {
    runtime::dispatch_device(on.stream(), [&]<class D>(Context<D> context) {
      kernels::SampleParams p{.logits = s.logits.data<float>(),
                              .uniform = uniform.data<float>(),
                              .ids = s.ids.data<int32_t>(),
                              .rows = s.rows,
                              .vocab = s.vocabulary,
                              .temperature = 0.5F};
      if (!scratch.defined()) scratch = on.scratch(kernels::sample_workspace_bytes<D>(p));
      p.workspace = scratch.raw();
      kernels::sample<D>(context, p);
    });
  };
  const auto correct = [&] {
    const Values row = on.row(s.logits, s.rows - 1);
    const double chosen = row[static_cast<size_t>(s.ids.to_host<int32_t>(on.stream()).back())];
    double sum = 0;
    double likelier = 0;
    for (const double score : row) {
      sum += std::exp(2 * score);
      if (score > chosen) likelier += std::exp(2 * score);
    }
    return likelier <= (0.5 + 1e-4) * sum && likelier + std::exp(2 * chosen) >= (0.5 - 1e-4) * sum;
  };
  s.measure("sample", run, correct);
}

/// A penalty near 1, so that scores stay finite however often it is applied.
void repetition_penalty(const KernelBench& on) {
  constexpr float penalty = 1.0009765625F;
  const Scores s(on);
  const int64_t present = std::min<int64_t>(1024, s.vocabulary);
  std::vector<int32_t> tokens;
  std::vector<int64_t> offsets = {0};
  for (int64_t row = 0; row < s.rows; ++row) {
    for (int64_t t = 0; t < present; ++t) tokens.push_back(static_cast<int32_t>(t));
    offsets.push_back(static_cast<int64_t>(tokens.size()));
  }
  const Tensor device_tokens = on.upload(tokens);
  const Tensor device_offsets = on.upload(offsets);
  Values expected = on.row(s.logits, s.rows - 1);
  for (int64_t t = 0; t < present; ++t) {
    double& score = expected[static_cast<size_t>(t)];
    score = score < 0 ? score * penalty : score / penalty;
  }
  const auto run = [&] {
    runtime::dispatch_device(on.stream(), [&]<class D>(Context<D> context) {
      kernels::repetition_penalty<D>(context, {.logits = s.logits.data<float>(),
                                               .tokens = device_tokens.data<int32_t>(),
                                               .offsets = device_offsets.data<int64_t>(),
                                               .rows = s.rows,
                                               .vocab = s.vocabulary,
                                               .penalty = penalty});
    });
  };
  const auto correct = [&] {
    const Values actual = on.row(s.logits, s.rows - 1);
    return std::equal(actual.begin(), actual.end(), expected.begin(),
                      [](double a, double e) { return std::abs(a - e) <= 1e-6 * std::abs(e); });
  };
  s.measure("repetition_penalty", run, correct);
}

constexpr std::array cases = {
    KernelCase{"argmax", argmax, true},
    KernelCase{"sample", sample, true},
    KernelCase{"repetition_penalty", repetition_penalty, true},
};

}  // namespace

std::span<const KernelCase> sampling_cases() {
  return cases;
}

}  // namespace subspect::bench
