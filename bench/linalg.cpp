// Linear algebra of weight deltas: decompositions of V by method and shape, and "projection", all that a projection
// study needs of one matrix (30 cells: five fractions, two modes, three bases) from one basis. Results are checked.
#include <fmt/format.h>

#include "bench/session.h"
#include "runtime/error.h"
#include "runtime/linalg/left_basis.h"
#include "runtime/linalg/products.h"
#include "runtime/linalg/random_basis.h"
#include "runtime/random.h"

namespace subspect::bench {
namespace {

using runtime::DType;
using runtime::Philox;
using runtime::Tensor;
namespace linalg = runtime::linalg;

constexpr std::string_view usage =
    "bench_linalg: decompositions and projections of weight deltas.\n\n"
    "  --shapes=LIST      ROWSxCOLS, ...\n";

constexpr double fractions[] = {0.01, 0.25, 0.5, 0.75, 0.99};

/// One shape: V, whose basis is wanted, and D, which is projected.
struct Matrices {
  Session& session;
  int64_t rows;
  int64_t cols;
  Tensor v, d;

  Matrices(Session& on, int64_t m, int64_t n) : session(on), rows(m), cols(n), v(gaussian(1)), d(gaussian(2)) {}

  runtime::Stream& stream() const { return session.stream(); }
  int64_t side() const { return std::min(rows, cols); }

  Tensor gaussian(uint64_t seed) const {
    Tensor matrix = Tensor::empty(stream(), {rows, cols}, DType::float32);
    fill_normal(stream(), matrix, 1e-3, Philox(seed));
    return matrix;
  }

  void measure(const std::string& name, const std::function<void()>& run, const std::function<bool()>& correct) const {
    if (!session.wants(name)) return;
    session.measure({.name = name, .shape = fmt::format("rows={} cols={}", rows, cols)}, run, correct);
  }
};

/// The basis with its vectors.
void decompose(const Matrices& m, const std::string& name, const linalg::BasisOptions& options) {
  linalg::LeftBasis basis;
  Tensor vectors;
  const double tolerance = options.method == linalg::BasisMethod::randomized ? options.tolerance : 1e-6;
  m.measure(
      name,
      [&] {
        basis = linalg::LeftBasis::compute(m.stream(), m.v, "v", options);
        vectors = basis.vectors(m.stream(), basis.rank());
      },
      [&] { return basis.residual() < tolerance && basis.orthogonality() < 1e-6; });
}

/// U^T D: with all vectors of a wide matrix its energy is that of D.
void coefficients(const Matrices& m) {
  if (!m.session.wants("coefficients")) return;
  const auto basis = linalg::LeftBasis::compute(m.stream(), m.v, "v");
  linalg::Coefficients c;
  m.measure(
      "coefficients", [&] { c = basis.coefficients(m.stream(), m.d); },
      [&] {
        const Tensor u = basis.vectors(m.stream(), basis.rank());
        const linalg::Coefficients expected = linalg::project_onto(m.stream(), u, m.d);
        double sum = 0;
        double expected_sum = 0;
        for (const double energy : c.row_energy) sum += energy;
        for (const double energy : expected.row_energy) expected_sum += energy;
        return std::abs(sum - expected_sum) <= 1e-5 * expected_sum;
      });
}

void random_basis(const Matrices& m) {
  linalg::RandomBasis basis;
  m.measure(
      "random_basis", [&] { basis = linalg::random_basis(m.stream(), m.rows, m.side() * 99 / 100, Philox(1)); },
      [&] { return basis.deviation < 1e-6; });
}

/// Decompose once (and one QR), then sums of rows and P_k D built up over ascending fractions.
class Projection {
 public:
  explicit Projection(const Matrices& m) : m_(m) {}

  void run() {
    const auto basis = linalg::LeftBasis::compute(m_.stream(), m_.v, "v");
    const Tensor u = basis.vectors(m_.stream(), basis.rank());
    const linalg::Coefficients c = basis.coefficients(m_.stream(), m_.d);
    const auto random = linalg::random_basis(m_.stream(), m_.rows, m_.side() * 99 / 100, Philox(3));
    const linalg::Coefficients random_c = linalg::project_onto(m_.stream(), random.vectors, m_.d);
    build(u, c.values);
    kept_ = energy_at_end(c);
    squared_norm_ = linalg::squared_norm(m_.stream(), parallel_);
    build(u, c.values);
    build(random.vectors, random_c.values);
  }

  /// ||P_k D||^2 is the sum of the first k coefficients' energies.
  bool correct() const { return std::abs(kept_ - squared_norm_) <= 1e-4 * kept_; }

 private:
  int64_t rank_at(double fraction, const Tensor& vectors) const {
    return std::min(vectors.size(0), static_cast<int64_t>(fraction * static_cast<double>(m_.side())));
  }

  void build(const Tensor& vectors, const Tensor& values) {
    parallel_ = Tensor::zeros(m_.stream(), {m_.rows, m_.cols}, DType::float32);
    int64_t reached = 0;
    for (const double fraction : fractions) {
      const int64_t k = rank_at(fraction, vectors);
      linalg::add_projection(m_.stream(), vectors.narrow(0, reached, k - reached),
                             values.narrow(0, reached, k - reached), 1.0, parallel_);
      reached = k;
    }
    last_ = reached;
  }

  double energy_at_end(const linalg::Coefficients& c) const {
    double sum = 0;
    for (int64_t i = 0; i < last_; ++i) sum += c.row_energy[static_cast<size_t>(i)];
    return sum;
  }

  const Matrices& m_;
  Tensor parallel_;
  int64_t last_ = 0;
  double kept_ = 0;
  double squared_norm_ = 0;
};

void measure_shape(Session& session, int64_t rows, int64_t cols) {
  const Matrices m(session, rows, cols);
  decompose(m, "gram", {.method = linalg::BasisMethod::gram});
  // A full decomposition in float64 takes minutes where both sides are long.
  if (rows * cols <= int64_t{1} << 20) decompose(m, "exact", {.method = linalg::BasisMethod::exact});
  // The leading hundredth of the vectors; bench/randomized.cpp measures the method against its rank and iterations.
  if (m.side() >= 100) {
    decompose(m, "randomized", {.method = linalg::BasisMethod::randomized, .rank = m.side() / 100});
  }
  coefficients(m);
  random_basis(m);
  Projection projection(m);
  m.measure(
      "projection", [&] { projection.run(); }, [&] { return projection.correct(); });
}

int run(Arguments& arguments) {
  Session session("linalg", arguments);
  const auto shapes = arguments.list("shapes", session.quick()    ? "48x64"
                                               : session.on_gpu() ? "1024x1024,2048x2048,2048x8192,8192x2048,3584x18944"
                                                                  : "512x512,256x1024,1024x256");
  arguments.finish();
  for (const std::string& shape : shapes) {
    const size_t cross = shape.find('x');
    if (cross == std::string::npos) {
      throw runtime::UsageError(fmt::format("\"{}\" is no shape", shape), "--shapes", "write ROWSxCOLS, as 1024x2048");
    }
    measure_shape(session, to_number("shapes", shape.substr(0, cross)), to_number("shapes", shape.substr(cross + 1)));
  }
  return session.exit_code();
}

}  // namespace
}  // namespace subspect::bench

int main(int argc, char** argv) {
  using namespace subspect::bench;  // NOLINT(google-build-using-namespace): the program is this file
  return run_program("bench_linalg", std::string(usage) + std::string(common_usage), argc, argv, run);
}
