// Left bases from the Gram matrix of the smaller side, or from a singular value decomposition.
#include "runtime/linalg/left_basis.h"

#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "runtime/error.h"
#include "runtime/linalg/finite.h"
#include "runtime/linalg/products.h"
#include "runtime/linalg/random_basis.h"
#include "runtime/random.h"

namespace subspect::runtime::linalg {

namespace {

constexpr int64_t exact_side = 64;  // automatic: up to this smaller side, the SVD costs nothing
// Vectors formed as V w / sigma lose orthogonality like eps sigma_1^2 / sigma^2; beyond this they are formed and
// repaired.
constexpr double repair_condition = 1e8;
constexpr int64_t probe_columns = 8;
constexpr uint64_t probe_seed = 0x5ab5bec7;

FloatMatrix as_matrix(const Tensor& tensor) {
  return {tensor.data<float>(), tensor.size(0), tensor.size(1)};
}

void require_matrix(const Tensor& tensor, std::string_view op) {
  require(tensor.defined() && tensor.dim() == 2 && tensor.is_contiguous() && tensor.dtype() == DType::float32 &&
              tensor.device().type == DeviceType::cpu,
          op, "a contiguous float32 matrix on the CPU is required. Received {} {}",
          tensor.defined() ? name(tensor.dtype()) : "nothing", to_string(tensor.shape()));
}

/// A power of two that brings the largest magnitude into [0.5, 1); 1 for a matrix of zeros.
double power_of_two_scale(const Tensor& v) {
  const float* values = v.data<float>();
  float largest = 0.0F;
  for (int64_t i = 0; i < v.numel(); ++i) largest = std::max(largest, std::abs(values[i]));
  if (largest == 0.0F) return 1.0;
  int exponent = 0;
  std::frexp(largest, &exponent);
  return std::ldexp(1.0, -exponent);
}

/// Eigenvalues ascending; row i of `matrix` becomes the eigenvector i. False when LAPACK did not converge.
bool eigen_decompose(std::vector<double>& matrix, int64_t n, std::vector<double>& eigenvalues) {
  eigenvalues.resize(static_cast<size_t>(n));
  const auto size = static_cast<lapack_int>(n);
  return LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', size, matrix.data(), size, eigenvalues.data()) == 0;
}

Tensor transposed_copy(Stream& stream, const Tensor& matrix) {
  constexpr int64_t tile = 32;
  const int64_t rows = matrix.size(0);
  const int64_t cols = matrix.size(1);
  Tensor copy = Tensor::empty(stream, {cols, rows}, DType::float32);
  const float* source = matrix.data<float>();
  float* target = copy.data<float>();
  for (int64_t row = 0; row < rows; row += tile) {
    for (int64_t col = 0; col < cols; col += tile) {
      for (int64_t i = row; i < std::min(row + tile, rows); ++i) {
        for (int64_t j = col; j < std::min(col + tile, cols); ++j) target[j * rows + i] = source[i * cols + j];
      }
    }
  }
  return copy;
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

std::vector<double> row_energies(const float* values, int64_t rows, int64_t cols) {
  std::vector<double> energies(static_cast<size_t>(rows), 0.0);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      const auto value = static_cast<double>(values[i * cols + j]);
      energies[static_cast<size_t>(i)] += value * value;
    }
  }
  return energies;
}

}  // namespace

std::string_view name(BasisMethod method) {
  switch (method) {
    case BasisMethod::gram:
      return "gram";
    case BasisMethod::exact:
      return "exact";
    case BasisMethod::automatic:
      break;
  }
  return "auto";
}

BasisMethod parse_basis_method(std::string_view text) {
  for (const BasisMethod method : {BasisMethod::automatic, BasisMethod::gram, BasisMethod::exact}) {
    if (text == name(method)) return method;
  }
  throw UsageError(fmt::format("unknown decomposition method '{}'", text), "method", "use auto, gram or exact");
}

LeftBasis LeftBasis::compute(Stream& stream, const Tensor& v, std::string_view tensor_name, BasisMethod method) {
  require_matrix(v, "LeftBasis");
  require_finite(v, tensor_name, "before its decomposition");
  LeftBasis basis;
  basis.rows_ = v.size(0);
  basis.cols_ = v.size(1);
  basis.matrix_ = v;
  const int64_t side = std::min(basis.rows_, basis.cols_);
  const bool exact_first = method == BasisMethod::exact || (method == BasisMethod::automatic && side <= exact_side);
  basis.method_ = exact_first ? BasisMethod::exact : BasisMethod::gram;
  basis.squared_norm_ = linalg::squared_norm(stream.context<kernels::Cpu>(), v.data<float>(), v.numel());
  basis.singular_values_.assign(static_cast<size_t>(side), 0.0);
  const double scale = power_of_two_scale(v);
  if (basis.squared_norm_ == 0.0) return basis;  // untouched: no directions at all

  const auto decompose = [&](BasisMethod chosen) {
    basis.method_ = chosen;
    return chosen == BasisMethod::exact ? basis.decompose_exact(stream, scale) : basis.decompose_gram(stream, scale);
  };
  bool converged = decompose(basis.method_);
  if (!converged && method == BasisMethod::automatic) {
    converged = decompose(exact_first ? BasisMethod::gram : BasisMethod::exact);
  }
  if (!converged) {
    throw Error(fmt::format("the decomposition of tensor {} {} did not converge", tensor_name, to_string(v.shape())),
                std::string(name(basis.method_)), "try the other method");
  }
  basis.measure(stream);
  return basis;
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

bool LeftBasis::decompose_gram(Stream& stream, double scale) {
  use_single_threaded_blas();
  const auto context = stream.context<kernels::Cpu>();
  const bool tall = rows_ > cols_;
  const int64_t side = std::min(rows_, cols_);
  std::vector<double> gram(static_cast<size_t>(side * side));
  if (tall) {
    gram_of_cols(context, as_matrix(matrix_), scale, gram.data());
  } else {
    gram_of_rows(context, as_matrix(matrix_), scale, gram.data());
  }
  std::vector<double> eigenvalues;
  if (!eigen_decompose(gram, side, eigenvalues)) return false;
  std::vector<double> sigma(eigenvalues.rbegin(), eigenvalues.rend());
  for (double& value : sigma) value = std::sqrt(std::max(value, 0.0)) / scale;
  set_spectrum(std::move(sigma));
  const auto eigenvector = [&](int64_t i) { return gram.data() + (side - 1 - i) * side; };
  if (!tall) {
    vectors_ = Tensor::empty(stream, {rank_, rows_}, DType::float32);
    for (int64_t i = 0; i < rank_; ++i) {
      std::transform(eigenvector(i), eigenvector(i) + side, vectors_.data<float>() + i * side,
                     [](double x) { return static_cast<float>(x); });
    }
    return true;
  }
  map_ = Tensor::empty(stream, {rank_, cols_}, DType::float64);
  for (int64_t i = 0; i < rank_; ++i) {
    const double inverse = 1.0 / singular_values_[static_cast<size_t>(i)];
    std::transform(eigenvector(i), eigenvector(i) + side, map_.data<double>() + i * side,
                   [inverse](double x) { return x * inverse; });
  }
  const double smallest = singular_values_[static_cast<size_t>(rank_ - 1)] / singular_values_[0];
  if (smallest * smallest * repair_condition < 1.0) {
    vectors_ = vectors(stream, rank_);
    orthonormalize_rows(stream, vectors_);
    map_ = Tensor();
  }
  return true;
}

bool LeftBasis::decompose_exact(Stream& stream, double scale) {
  use_single_threaded_blas();
  const int64_t side = std::min(rows_, cols_);
  const float* values = matrix_.data<float>();
  std::vector<double> wide(static_cast<size_t>(rows_ * cols_));
  std::transform(values, values + matrix_.numel(), wide.begin(), [scale](float x) { return scale * x; });
  // Row-major V is column-major V^T = W S U^T: LAPACK's "vt" is our U^T.
  std::vector<double> sigma(static_cast<size_t>(side));
  std::vector<double> right(static_cast<size_t>(cols_ * side));
  std::vector<double> left(static_cast<size_t>(side * rows_));
  const auto m = static_cast<lapack_int>(cols_);
  const auto n = static_cast<lapack_int>(rows_);
  const auto r = static_cast<lapack_int>(side);
  if (LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', m, n, wide.data(), m, sigma.data(), right.data(), m, left.data(), r) != 0) {
    return false;
  }
  for (double& value : sigma) value /= scale;
  set_spectrum(std::move(sigma));
  vectors_ = Tensor::empty(stream, {rank_, rows_}, DType::float32);
  map_ = Tensor();
  for (int64_t i = 0; i < rank_; ++i) {
    float* row = vectors_.data<float>() + i * rows_;
    for (int64_t j = 0; j < rows_; ++j) row[j] = static_cast<float>(left[static_cast<size_t>(j * side + i)]);
  }
  return true;
}

void LeftBasis::measure(Stream& stream) {
  const auto context = stream.context<kernels::Cpu>();
  const FloatMatrix v = as_matrix(matrix_);
  const auto block = [](int64_t rows) { return std::vector<double>(static_cast<size_t>(rows * probe_columns)); };
  const auto ref = [](std::vector<double>& values) {
    return MatrixRef<double>(values.data(), static_cast<int64_t>(values.size()) / probe_columns, probe_columns);
  };
  const auto map = [&] { return DoubleMatrix(map_.data<double>(), rank_, cols_); };
  // y = U x and x = U^T y for blocks of probes.
  const auto expand = [&](std::vector<double>& x, std::vector<double>& y) {
    if (!map_.defined()) return multiply_narrow(context, Op::transpose, as_matrix(vectors_), ref(x), ref(y));
    std::vector<double> between = block(cols_);
    multiply(context, Op::transpose, map(), Op::none, ref(x), ref(between));
    multiply_narrow(context, Op::none, v, ref(between), ref(y));
  };
  const auto contract = [&](std::vector<double>& y, std::vector<double>& x) {
    if (!map_.defined()) return multiply_narrow(context, Op::none, as_matrix(vectors_), ref(y), ref(x));
    std::vector<double> between = block(cols_);
    multiply_narrow(context, Op::transpose, v, ref(y), ref(between));
    multiply(context, Op::none, map(), Op::none, ref(between), ref(x));
  };
  std::vector<double> g = gaussian_probes(rank_);
  std::vector<double> expanded = block(rows_);
  std::vector<double> back = block(rank_);
  expand(g, expanded);
  contract(expanded, back);
  orthogonality_ = largest_ratio(back, g, g);

  // Both sides divided by sigma_1^2, in two steps against underflow.
  const double largest = singular_values_[0];
  std::vector<double> inner = block(cols_);
  std::vector<double> outer = block(rows_);
  multiply_narrow(context, Op::transpose, v, ref(expanded), ref(inner));
  for (double& value : inner) value /= largest;
  multiply_narrow(context, Op::none, v, ref(inner), ref(outer));
  for (double& value : outer) value /= largest;
  std::vector<double> weighted = g;
  for (size_t i = 0; i < weighted.size(); ++i) {
    const double ratio = singular_values_[i / probe_columns] / largest;
    weighted[i] *= ratio * ratio;
  }
  expand(weighted, expanded);
  residual_ = largest_ratio(outer, expanded, g);
}

Tensor LeftBasis::vectors(Stream& stream, int64_t k) const {
  require(0 <= k && k <= rank_, "LeftBasis::vectors", "0 <= k <= {} is required. Received {}", rank_, k);
  if (k == 0) return Tensor::empty(stream, {0, rows_}, DType::float32);
  if (vectors_.defined()) return vectors_.narrow(0, 0, k);
  Tensor formed = Tensor::empty(stream, {k, rows_}, DType::float32);
  multiply_by_rows(stream.context<kernels::Cpu>(), DoubleMatrix(map_.data<double>(), k, cols_), as_matrix(matrix_),
                   MatrixRef<float>(formed.data<float>(), k, rows_));
  return formed;
}

LeftBasis LeftBasis::transposed(Stream& stream, std::string_view tensor_name, BasisMethod method) const {
  require(matrix_.defined(), "LeftBasis::transposed", "the basis of a matrix is required. Received an empty one");
  const Tensor matrix = transposed_copy(stream, matrix_);
  if (!map_.defined()) return compute(stream, matrix, tensor_name, method);
  LeftBasis basis;
  basis.rows_ = cols_;
  basis.cols_ = rows_;
  basis.rank_ = rank_;
  basis.squared_norm_ = squared_norm_;
  basis.method_ = method_;
  basis.singular_values_ = singular_values_;
  basis.matrix_ = matrix;
  basis.vectors_ = Tensor::empty(stream, {rank_, cols_}, DType::float32);
  const double* map = map_.data<double>();
  for (int64_t i = 0; i < rank_; ++i) {
    const double sigma = singular_values_[static_cast<size_t>(i)];  // the map's rows are w_i / sigma_i
    std::transform(map + i * cols_, map + (i + 1) * cols_, basis.vectors_.data<float>() + i * cols_,
                   [sigma](double x) { return static_cast<float>(x * sigma); });
  }
  basis.measure(stream);
  return basis;
}

Coefficients LeftBasis::coefficients(Stream& stream, const Tensor& d) const {
  require_matrix(d, "LeftBasis::coefficients");
  require(d.size(0) == rows_, "LeftBasis::coefficients", "{} rows are required. Received {}", rows_,
          to_string(d.shape()));
  if (!map_.defined()) return project_onto(stream, vectors(stream, rank_), d);
  const auto context = stream.context<kernels::Cpu>();
  const int64_t width = d.size(1);
  std::vector<double> inner(static_cast<size_t>(cols_ * width));
  std::vector<double> product(static_cast<size_t>(rank_ * width));
  multiply_transposed_wide(context, as_matrix(matrix_), as_matrix(d), MatrixRef<double>(inner.data(), cols_, width));
  multiply(context, Op::none, DoubleMatrix(map_.data<double>(), rank_, cols_), Op::none,
           DoubleMatrix(inner.data(), cols_, width), MatrixRef<double>(product.data(), rank_, width));
  Coefficients result;
  result.values = Tensor::empty(stream, {rank_, width}, DType::float32);
  std::transform(product.begin(), product.end(), result.values.data<float>(),
                 [](double x) { return static_cast<float>(x); });
  result.row_energy = row_energies(result.values.data<float>(), rank_, width);
  return result;
}

Coefficients project_onto(Stream& stream, const Tensor& vectors, const Tensor& d) {
  require_matrix(vectors, "project_onto");
  require_matrix(d, "project_onto");
  require(vectors.size(1) == d.size(0), "project_onto",
          "vectors as long as D has rows are required. Received {} and {}", to_string(vectors.shape()),
          to_string(d.shape()));
  Coefficients result;
  result.values = Tensor::empty(stream, {vectors.size(0), d.size(1)}, DType::float32);
  multiply(stream.context<kernels::Cpu>(), Op::none, as_matrix(vectors), Op::none, as_matrix(d),
           MatrixRef<float>(result.values.data<float>(), vectors.size(0), d.size(1)));
  result.row_energy = row_energies(result.values.data<float>(), vectors.size(0), d.size(1));
  return result;
}

void add_projection(Stream& stream, const Tensor& vectors, const Tensor& coefficients, double alpha,
                    const Tensor& out) {
  require_matrix(vectors, "add_projection");
  require_matrix(coefficients, "add_projection");
  require_matrix(out, "add_projection");
  require(
      vectors.size(0) == coefficients.size(0) && vectors.size(1) == out.size(0) && coefficients.size(1) == out.size(1),
      "add_projection", "[k, m], [k, n] and [m, n] are required. Received {}, {} and {}", to_string(vectors.shape()),
      to_string(coefficients.shape()), to_string(out.shape()));
  if (vectors.size(0) == 0) return;
  multiply(stream.context<kernels::Cpu>(), Op::transpose, as_matrix(vectors), Op::none, as_matrix(coefficients),
           MatrixRef<float>(out.data<float>(), out.size(0), out.size(1)), {alpha, 1.0});
}

}  // namespace subspect::runtime::linalg
