// Linear algebra of weight deltas: decompositions of V by method and shape, and what a projection study needs of one
// matrix (30 cells) from one basis against decomposing for every cell. Results are checked before they are timed.
// `--threads=N` sets the team; times are of the whole call.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "bench/arguments.h"
#include "runtime/linalg/left_basis.h"
#include "runtime/linalg/random_basis.h"
#include "runtime/random.h"

namespace {

using subspect::runtime::DType;
using subspect::runtime::Philox;
using subspect::runtime::Stream;
using subspect::runtime::Tensor;
namespace linalg = subspect::runtime::linalg;

std::shared_ptr<Stream> stream;

Tensor gaussian(int64_t rows, int64_t cols, uint64_t seed) {
  Tensor matrix = Tensor::empty(*stream, {rows, cols}, DType::float32);
  fill_normal(*stream, matrix, 1e-3, Philox(seed));
  return matrix;
}

void check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "bench_linalg: %s\n", what);
  std::exit(1);
}

/// The basis with its vectors.
void decompose(benchmark::State& state, linalg::BasisMethod method) {
  const Tensor v = gaussian(state.range(0), state.range(1), 1);
  const auto checked = linalg::LeftBasis::compute(*stream, v, "v", {.method = method});
  check(checked.residual() < 1e-6 && checked.orthogonality() < 1e-6, "a decomposition misses its tolerance");
  for (auto _ : state) {
    const auto basis = linalg::LeftBasis::compute(*stream, v, "v", {.method = method});
    benchmark::DoNotOptimize(basis.vectors(*stream, basis.rank()).raw());
  }
  state.counters["residual"] = checked.residual();
  state.counters["orthogonality"] = checked.orthogonality();
}

/// U^T D for one D.
void coefficients(benchmark::State& state) {
  const auto basis = linalg::LeftBasis::compute(*stream, gaussian(state.range(0), state.range(1), 1), "v");
  const Tensor d = gaussian(state.range(0), state.range(1), 2);
  for (auto _ : state) benchmark::DoNotOptimize(basis.coefficients(*stream, d).row_energy.data());
}

void random_basis(benchmark::State& state) {
  const int64_t k = std::min(state.range(0), state.range(1)) * 99 / 100;
  check(linalg::random_basis(*stream, state.range(0), k, Philox(1)).deviation < 1e-6,
        "a random basis is not orthonormal");
  for (auto _ : state) {
    benchmark::DoNotOptimize(linalg::random_basis(*stream, state.range(0), k, Philox(1)).vectors.raw());
  }
}

/// Five fractions x two modes x three bases of one matrix: decompose once (and one QR), then sums of rows and P built
/// up.
void study_from_one_basis(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const int64_t cols = state.range(1);
  const Tensor v = gaussian(rows, cols, 1);
  const Tensor d = gaussian(rows, cols, 2);
  const int64_t side = std::min(rows, cols);
  for (auto _ : state) {
    const auto basis = linalg::LeftBasis::compute(*stream, v, "v");
    const Tensor u = basis.vectors(*stream, basis.rank());
    const linalg::Coefficients c = basis.coefficients(*stream, d);
    const auto random = linalg::random_basis(*stream, rows, side * 99 / 100, Philox(3));
    const linalg::Coefficients random_c = linalg::project_onto(*stream, random.vectors, d);
    for (int basis_index = 0; basis_index < 3; ++basis_index) {
      const Tensor& vectors = basis_index == 2 ? random.vectors : u;
      const Tensor& values = basis_index == 2 ? random_c.values : c.values;
      const Tensor parallel = Tensor::zeros(*stream, {rows, cols}, DType::float32);
      int64_t reached = 0;
      for (const double fraction : {0.01, 0.25, 0.5, 0.75, 0.99}) {
        const auto k = std::min(vectors.size(0), static_cast<int64_t>(fraction * static_cast<double>(side)));
        linalg::add_projection(*stream, vectors.narrow(0, reached, k - reached), values.narrow(0, reached, k - reached),
                               1.0, parallel);
        reached = k;
      }
      benchmark::DoNotOptimize(parallel.raw());
    }
  }
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "cols"})->Unit(benchmark::kMillisecond)->UseRealTime();
  for (const auto& [rows, cols] :
       {std::pair<int64_t, int64_t>{512, 2048}, {1024, 1024}, {2048, 2048}, {8192, 2048}, {2048, 8192}}) {
    bench->Args({rows, cols});
  }
}

void gram(benchmark::State& state) {
  decompose(state, linalg::BasisMethod::gram);
}

void exact(benchmark::State& state) {
  decompose(state, linalg::BasisMethod::exact);
}

BENCHMARK(gram)->Apply(shapes);
BENCHMARK(exact)
    ->ArgNames({"rows", "cols"})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Args({512, 2048})
    ->Args({1024, 1024});
BENCHMARK(coefficients)->Apply(shapes);
BENCHMARK(random_basis)->Apply(shapes);
BENCHMARK(study_from_one_basis)->Apply(shapes);

}  // namespace

int main(int argc, char** argv) {
  stream = Stream::open({}, static_cast<int>(subspect::bench::take_number(argc, argv, "threads", 0)));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  stream.reset();
  return 0;
}
