// What a basis is asked for, and the choice of the method.
#include "runtime/linalg/left_basis.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"
#include "runtime/linalg/decomposition.h"
#include "runtime/linalg/products.h"
#include "runtime/random.h"

namespace subspect::runtime::linalg {

namespace {

constexpr int64_t exact_side = 64;  // automatic: up to this smaller side, the SVD costs nothing
// automatic: the randomized method pays from this smaller side on, for ranks up to these shares of it.
constexpr int64_t randomized_side = 512;
constexpr int64_t randomized_share = 20;
constexpr int64_t largest_share = 4;
constexpr int64_t probe_columns = 8;
constexpr uint64_t probe_seed = 0x5ab5bec7;

/// Bytes of the Gram matrix, its eigenvectors and the eigensolver's workspace.
int64_t gram_bytes(int64_t side) {
  return 4 * side * side * static_cast<int64_t>(sizeof(double));
}

std::vector<double> gaussian_probes(int64_t rows) {
  Random random(probe_seed);
  std::vector<double> probes(static_cast<size_t>(rows * probe_columns));
  for (double& value : probes) value = random.normal();
  return probes;
}

/// The largest of |a - b| / |g| over the columns of three [rows, probe_columns] and [.., probe_columns] blocks.
double largest_ratio(const std::vector<double>& a, const std::vector<double>& b, const std::vector<double>& g) {
  double largest = 0.0;
  for (size_t probe = 0; probe < probe_columns; ++probe) {
    double difference = 0.0;
    double norm = 0.0;
    for (size_t i = probe; i < a.size(); i += probe_columns) difference += (a[i] - b[i]) * (a[i] - b[i]);
    for (size_t i = probe; i < g.size(); i += probe_columns) norm += g[i] * g[i];
    largest = std::max(largest, std::sqrt(difference / norm));
  }
  return largest;
}

}  // namespace

std::string_view name(BasisMethod method) {
  switch (method) {
    case BasisMethod::gram:
      return "gram";
    case BasisMethod::exact:
      return "exact";
    case BasisMethod::randomized:
      return "randomized";
    case BasisMethod::automatic:
      break;
  }
  return "auto";
}

BasisMethod parse_basis_method(std::string_view text) {
  for (const BasisMethod method :
       {BasisMethod::automatic, BasisMethod::gram, BasisMethod::exact, BasisMethod::randomized}) {
    if (text == name(method)) return method;
  }
  throw UsageError(fmt::format("unknown decomposition method '{}'", text), "method",
                   "use auto, gram, exact or randomized");
}

BasisMethod choose_method(int64_t rows, int64_t cols, const BasisOptions& options) {
  if (options.method != BasisMethod::automatic) return options.method;
  const int64_t side = std::min(rows, cols);
  if (side <= exact_side) return BasisMethod::exact;
  const bool few = options.rank > 0 && options.rank * randomized_share <= side && side >= randomized_side;
  const bool too_large = options.memory_bytes > 0 && gram_bytes(side) > options.memory_bytes && options.rank > 0 &&
                         options.rank * largest_share <= side;
  return few || too_large ? BasisMethod::randomized : BasisMethod::gram;
}

LeftBasis LeftBasis::compute(Stream& stream, const Tensor& v, std::string_view tensor_name,
                             const BasisOptions& options) {
  return Decomposition(stream, v, tensor_name, options).run();
}

void LeftBasis::measure(Stream& stream) {
  const auto v = matrix_of<float>(matrix_);
  const auto block = [&](int64_t rows) { return Tensor::empty(stream, {rows, probe_columns}, DType::float64); };
  const auto ref = [](const Tensor& tensor) { return matrix_of<double>(tensor); };
  // y = U x and x = U^T y for blocks of probes.
  const auto expand = [&](const Tensor& x) {
    Tensor y = block(rows_);
    if (!map_.defined()) {
      multiply_narrow(stream, Op::transpose, matrix_of<float>(vectors_), ref(x), ref(y));
      return y;
    }
    const Tensor between = block(cols_);
    multiply(stream, Op::transpose, ref(map_), Op::none, ref(x), ref(between));
    multiply_narrow(stream, Op::none, v, ref(between), ref(y));
    return y;
  };
  const auto contract = [&](const Tensor& y) {
    Tensor x = block(rank_);
    if (!map_.defined()) {
      multiply_narrow(stream, Op::none, matrix_of<float>(vectors_), ref(y), ref(x));
      return x;
    }
    const Tensor between = block(cols_);
    multiply_narrow(stream, Op::transpose, v, ref(y), ref(between));
    multiply(stream, Op::none, ref(map_), Op::none, ref(between), ref(x));
    return x;
  };
  const std::vector<double> g = gaussian_probes(rank_);
  const Tensor image = expand(to_device(stream, g, probe_columns));
  orthogonality_ = largest_ratio(contract(image).to_host<double>(stream), g, g);

  // V V^T U x - U S^2 x, both divided by sigma_1^2 in two steps against underflow; x = g, or sigma_1^2 S^-2 g.
  const double largest = singular_values_[0];
  std::vector<double> x = g;
  std::vector<double> weighted = g;
  for (size_t i = 0; i < x.size(); ++i) {
    const double ratio = singular_values_[i / probe_columns] / largest;
    if (method_ == BasisMethod::randomized) {
      x[i] /= ratio * ratio;
    } else {
      weighted[i] *= ratio * ratio;
    }
  }
  const Tensor inner = block(cols_);
  const Tensor outer = block(rows_);
  multiply_narrow(stream, Op::transpose, v, ref(expand(to_device(stream, x, probe_columns))), ref(inner),
                  1.0 / largest);
  multiply_narrow(stream, Op::none, v, ref(inner), ref(outer), 1.0 / largest);
  const Tensor expected = expand(to_device(stream, weighted, probe_columns));
  residual_ = largest_ratio(outer.to_host<double>(stream), expected.to_host<double>(stream), g);
}

bool LeftBasis::unique_at(int64_t k) const {
  if (!truncated_ || k != rank_) return linalg::unique_at(singular_values_, k);
  std::vector<double> values = singular_values_;
  values.push_back(next_singular_value_);
  return linalg::unique_at(values, k);
}

int64_t LeftBasis::rank_at_energy(double energy) const {
  if (!truncated_) return std::min(rank_, linalg::rank_at_energy(singular_values_, energy));
  const double wanted = (energy - 1e-12) * squared_norm_;
  double sum = 0.0;
  for (int64_t i = 0; i < rank_; ++i) {
    sum += singular_values_[static_cast<size_t>(i)] * singular_values_[static_cast<size_t>(i)];
    if (sum >= wanted) return i + 1;
  }
  throw Error(fmt::format("{} leading vectors hold {} of the energy of a matrix; {} was asked for", rank_,
                          sum / squared_norm_, energy),
              "LeftBasis", "ask for this energy, or use method gram");
}

Tensor LeftBasis::vectors(Stream& stream, int64_t k) const {
  require(0 <= k && k <= rank_, "LeftBasis::vectors", "0 <= k <= {} is required. Received {}", rank_, k);
  if (k == 0) return Tensor::empty(stream, {0, rows_}, DType::float32);
  if (vectors_.defined()) return vectors_.narrow(0, 0, k);
  Tensor formed = Tensor::empty(stream, {k, rows_}, DType::float32);
  multiply_by_rows(stream, DoubleMatrix(map_.data<double>(), k, cols_), matrix_of<float>(matrix_),
                   matrix_of<float>(formed));
  return formed;
}

LeftBasis LeftBasis::transposed(Stream& stream, std::string_view tensor_name, const BasisOptions& options) const {
  require(matrix_.defined(), "LeftBasis::transposed", "the basis of a matrix is required. Received an empty one");
  const Tensor matrix = transposed_copy(stream, matrix_);
  if (!map_.defined()) return compute(stream, matrix, tensor_name, options);
  LeftBasis basis = *this;
  std::swap(basis.rows_, basis.cols_);
  basis.matrix_ = matrix;
  basis.map_ = Tensor();
  basis.vectors_ = Tensor::empty(stream, {rank_, cols_}, DType::float32);
  // The map's rows are w_i / sigma_i.
  copy_rows(stream, matrix_of<double>(map_), matrix_of<float>(basis.vectors_), {{}, singular_values_, 1.0});
  basis.measure(stream);
  return basis;
}

Coefficients LeftBasis::coefficients(Stream& stream, const Tensor& d) const {
  require_matrix(stream, d, "LeftBasis::coefficients");
  require(d.size(0) == rows_, "LeftBasis::coefficients", "{} rows are required. Received {}", rows_,
          to_string(d.shape()));
  if (!map_.defined()) return project_onto(stream, vectors(stream, rank_), d);
  const int64_t width = d.size(1);
  const Tensor inner = Tensor::empty(stream, {cols_, width}, DType::float64);
  const Tensor product = Tensor::empty(stream, {rank_, width}, DType::float64);
  multiply_transposed_wide(stream, matrix_of<float>(matrix_), matrix_of<float>(d), matrix_of<double>(inner));
  multiply(stream, Op::none, matrix_of<double>(map_), Op::none, matrix_of<double>(inner), matrix_of<double>(product));
  Coefficients result;
  result.values = Tensor::empty(stream, {rank_, width}, DType::float32);
  copy_rows(stream, matrix_of<double>(product), matrix_of<float>(result.values));
  result.row_energy = row_energies(stream, result.values);
  return result;
}

Coefficients project_onto(Stream& stream, const Tensor& vectors, const Tensor& d) {
  require_matrix(stream, vectors, "project_onto");
  require_matrix(stream, d, "project_onto");
  require(vectors.size(1) == d.size(0), "project_onto",
          "vectors as long as D has rows are required. Received {} and {}", to_string(vectors.shape()),
          to_string(d.shape()));
  Coefficients result;
  result.values = Tensor::empty(stream, {vectors.size(0), d.size(1)}, DType::float32);
  const auto values = matrix_of<float>(result.values);
  const auto u = matrix_of<float>(vectors);
  for_each_resident(stream, matrix_of<float>(d), [&](FloatMatrix part, int64_t row) {
    multiply(stream, Op::none, FloatMatrix(u.data + row, u.rows, part.rows, u.stride), Op::none, part, values,
             {1.0, row == 0 ? 0.0 : 1.0});
  });
  result.row_energy = row_energies(stream, result.values);
  return result;
}

void add_projection(Stream& stream, const Tensor& vectors, const Tensor& coefficients, double alpha,
                    const Tensor& out) {
  require_matrix(stream, vectors, "add_projection");
  require_matrix(stream, coefficients, "add_projection");
  require_matrix(stream, out, "add_projection");
  require(
      vectors.size(0) == coefficients.size(0) && vectors.size(1) == out.size(0) && coefficients.size(1) == out.size(1),
      "add_projection", "[k, m], [k, n] and [m, n] are required. Received {}, {} and {}", to_string(vectors.shape()),
      to_string(coefficients.shape()), to_string(out.shape()));
  if (vectors.size(0) == 0) return;
  const Tensor u = on_device(stream, vectors);
  const Tensor c = on_device(stream, coefficients);
  multiply(stream, Op::transpose, matrix_of<float>(u), Op::none, matrix_of<float>(c), matrix_of<float>(out),
           {alpha, 1.0});
}

}  // namespace subspect::runtime::linalg
