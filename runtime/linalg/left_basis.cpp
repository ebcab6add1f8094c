// Left bases from the Gram matrix of the smaller side, from a singular value decomposition, or from random vectors.
#include "runtime/linalg/left_basis.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "runtime/error.h"
#include "runtime/linalg/backend.h"
#include "runtime/linalg/finite.h"
#include "runtime/linalg/products.h"
#include "runtime/linalg/random_basis.h"
#include "runtime/linalg/randomized.h"
#include "runtime/random.h"

namespace subspect::runtime::linalg {

namespace {

constexpr int64_t exact_side = 64;  // automatic: up to this smaller side, the SVD costs nothing
// automatic: the randomized method pays from this smaller side on, for ranks up to these shares of it.
constexpr int64_t randomized_side = 512;
constexpr int64_t randomized_share = 20;
constexpr int64_t largest_share = 4;
// Vectors formed as V w / sigma lose orthogonality like eps sigma_1^2 / sigma^2; beyond this they are formed and
// repaired.
constexpr double repair_condition = 1e8;
constexpr int64_t probe_columns = 8;
constexpr uint64_t probe_seed = 0x5ab5bec7;

void require_matrix(const Stream& stream, const Tensor& tensor, std::string_view op) {
  require(tensor.defined() && tensor.dim() == 2 && tensor.is_contiguous() && tensor.dtype() == DType::float32 &&
              (tensor.device() == stream.device() || tensor.device().type == DeviceType::cpu),
          op, "a contiguous float32 matrix on {} or the host is required. Received {} {}", stream.device().to_string(),
          tensor.defined() ? name(tensor.dtype()) : "nothing", to_string(tensor.shape()));
}

/// A power of two that brings `largest` into [0.5, 1); 1 for 0.
double power_of_two_scale(float largest) {
  if (largest == 0.0F) return 1.0;
  int exponent = 0;
  std::frexp(largest, &exponent);
  return std::ldexp(1.0, -exponent);
}

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
  require_matrix(stream, v, "LeftBasis");
  const float largest = largest_magnitude(stream, v);
  if (!std::isfinite(largest)) require_finite(stream, v, tensor_name, "before its decomposition");
  LeftBasis basis;
  basis.rows_ = v.size(0);
  basis.cols_ = v.size(1);
  basis.matrix_ = v;
  basis.method_ = choose_method(basis.rows_, basis.cols_, options);
  basis.squared_norm_ = linalg::squared_norm(stream, v);
  basis.singular_values_.assign(static_cast<size_t>(std::min(basis.rows_, basis.cols_)), 0.0);
  if (basis.squared_norm_ == 0.0) return basis;  // untouched: no directions at all

  const double scale = power_of_two_scale(largest);
  bool converged = basis.decompose(stream, basis.method_, options, scale);
  if (!converged && options.method == BasisMethod::automatic) {
    const BasisMethod second = basis.method_ == BasisMethod::gram ? BasisMethod::exact : BasisMethod::gram;
    converged = basis.decompose(stream, second, options, scale);
  }
  if (!converged) {
    const bool iterated = basis.method_ == BasisMethod::randomized;
    throw Error(fmt::format("the decomposition of tensor {} {} did not converge{}", tensor_name, to_string(v.shape()),
                            iterated ? fmt::format(" to a tolerance of {}", options.tolerance) : ""),
                std::string(name(basis.method_)),
                iterated ? "use method auto or gram, or a larger tolerance" : "try the other method");
  }
  basis.measure(stream);
  return basis;
}

bool LeftBasis::decompose(Stream& stream, BasisMethod method, const BasisOptions& options, double scale) {
  method_ = method;
  switch (method) {
    case BasisMethod::exact:
      return decompose_exact(stream, scale);
    case BasisMethod::randomized:
      return decompose_randomized(stream, options, scale);
    default:
      return decompose_gram(stream, scale);
  }
}

void LeftBasis::set_spectrum(std::vector<double> singular_values) {
  singular_values_ = std::move(singular_values);
  const double largest = singular_values_.empty() ? 0.0 : singular_values_[0];
  const double threshold = static_cast<double>(std::max(rows_, cols_)) * std::numeric_limits<double>::epsilon();
  rank_ = 0;
  for (const double sigma : singular_values_) {
    if ((sigma / largest) * (sigma / largest) > threshold) ++rank_;
  }
}

/// Keeps the first rank() of the orthonormal `vectors` ([any, smaller side] float64), in `order`.
void LeftBasis::set_small_side(Stream& stream, const Tensor& vectors, std::span<const int64_t> order) {
  const auto from = matrix_of<double>(vectors);
  vectors_ = Tensor();
  map_ = Tensor();
  if (rows_ <= cols_) {
    vectors_ = Tensor::empty(stream, {rank_, rows_}, DType::float32);
    copy_rows(stream, from, matrix_of<float>(vectors_), {order, {}, 1.0});
    return;
  }
  std::vector<double> inverse;
  for (int64_t i = 0; i < rank_; ++i) inverse.push_back(1.0 / singular_values_[static_cast<size_t>(i)]);
  map_ = Tensor::empty(stream, {rank_, cols_}, DType::float64);
  copy_rows(stream, from, matrix_of<double>(map_), {order, inverse, 1.0});
  const double smallest = singular_values_[static_cast<size_t>(rank_ - 1)] / singular_values_[0];
  if (smallest * smallest * repair_condition < 1.0) {
    vectors_ = this->vectors(stream, rank_);
    orthonormalize_rows(stream, vectors_);
    map_ = Tensor();
  }
}

bool LeftBasis::decompose_gram(Stream& stream, double scale) {
  const int64_t side = std::min(rows_, cols_);
  const Tensor gram = Tensor::empty(stream, {side, side}, DType::float64);
  if (rows_ > cols_) {
    gram_of_cols(stream, matrix_of<float>(matrix_), scale, gram.data<double>());
  } else {
    gram_of_rows(stream, matrix_of<float>(matrix_), scale, gram.data<double>());
  }
  std::vector<double> eigenvalues(static_cast<size_t>(side));
  if (!backend_of(stream).eigen(stream, gram.data<double>(), side, eigenvalues.data())) return false;
  std::vector<double> sigma(eigenvalues.rbegin(), eigenvalues.rend());
  for (double& value : sigma) value = std::sqrt(std::max(value, 0.0)) / scale;
  set_spectrum(std::move(sigma));
  std::vector<int64_t> order(static_cast<size_t>(rank_));
  std::iota(order.rbegin(), order.rend(), side - rank_);  // eigenvalues ascend
  set_small_side(stream, gram, order);
  return true;
}

bool LeftBasis::decompose_exact(Stream& stream, double scale) {
  const int64_t side = std::min(rows_, cols_);
  const Tensor wide = Tensor::empty(stream, {rows_, cols_}, DType::float64);
  for_each_resident(stream, matrix_of<float>(matrix_), [&](FloatMatrix part, int64_t row) {
    copy_rows(stream, part, matrix_of<double>(wide).rows_from(row, part.rows), {{}, {}, scale});
  });
  const Tensor left = Tensor::empty(stream, {side, rows_}, DType::float64);
  std::vector<double> sigma(static_cast<size_t>(side));
  if (!backend_of(stream).svd(stream, matrix_of<double>(wide), sigma.data(), left.data<double>())) return false;
  for (double& value : sigma) value /= scale;
  set_spectrum(std::move(sigma));
  map_ = Tensor();
  vectors_ = Tensor::empty(stream, {rank_, rows_}, DType::float32);
  copy_rows(stream, matrix_of<double>(left), matrix_of<float>(vectors_));
  return true;
}

bool LeftBasis::decompose_randomized(Stream& stream, const BasisOptions& options, double scale) {
  const std::optional<LeadingVectors> leading = leading_vectors(stream, matrix_,
                                                                {.rank = options.rank,
                                                                 .energy = options.energy,
                                                                 .squared_norm = squared_norm_,
                                                                 .scale = scale,
                                                                 .tolerance = options.tolerance,
                                                                 .max_iterations = options.max_iterations});
  if (!leading) return false;
  rank_ = static_cast<int64_t>(leading->values.size());
  truncated_ = !leading->complete;
  next_singular_value_ = leading->next;
  singular_values_ = leading->values;
  if (!truncated_) singular_values_.resize(static_cast<size_t>(std::min(rows_, cols_)), 0.0);
  set_small_side(stream, leading->vectors, {});
  return true;
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
