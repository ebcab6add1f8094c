// Left bases from the Gram matrix of the smaller side, from a singular value decomposition, or from random vectors.
#include "runtime/linalg/decomposition.h"

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

namespace subspect::runtime::linalg {

namespace {

// The Gram matrix' leading eigenvectors alone, for ranks up to this share of its side: docs/linear-algebra.md.
constexpr int64_t leading_share = 8;
// Vectors formed as V w / sigma lose orthogonality like eps sigma_1^2 / sigma^2; beyond this they are formed and
// repaired.
constexpr double repair_condition = 1e8;

/// A power of two that brings `largest` into [0.5, 1); 1 for 0.
double power_of_two_scale(float largest) {
  if (largest == 0.0F) return 1.0;
  int exponent = 0;
  std::frexp(largest, &exponent);
  return std::ldexp(1.0, -exponent);
}

}  // namespace

void require_matrix(const Stream& stream, const Tensor& tensor, std::string_view op) {
  require(tensor.defined() && tensor.dim() == 2 && tensor.is_contiguous() && tensor.dtype() == DType::float32 &&
              (tensor.device() == stream.device() || tensor.device().type == DeviceType::cpu),
          op, "a contiguous float32 matrix on {} or the host is required. Received {} {}", stream.device().to_string(),
          tensor.defined() ? name(tensor.dtype()) : "nothing", to_string(tensor.shape()));
}

Decomposition::Decomposition(Stream& stream, const Tensor& v, std::string_view tensor_name, const BasisOptions& options)
    : stream_(stream), tensor_name_(tensor_name), options_(options) {
  require_matrix(stream, v, "LeftBasis");
  const float largest = largest_magnitude(stream, v);
  if (!std::isfinite(largest)) require_finite(stream, v, tensor_name, "before its decomposition");
  scale_ = power_of_two_scale(largest);
  basis_.rows_ = v.size(0);
  basis_.cols_ = v.size(1);
  basis_.matrix_ = v;
  basis_.method_ = choose_method(basis_.rows_, basis_.cols_, options);
  basis_.squared_norm_ = squared_norm(stream, v);
  basis_.singular_values_.assign(static_cast<size_t>(side()), 0.0);
}

LeftBasis Decomposition::run() {
  if (basis_.squared_norm_ == 0.0) return std::move(basis_);  // untouched: no directions at all
  return conclude(decompose(basis_.method_));
}

int64_t Decomposition::gram_side() const {
  return basis_.method_ == BasisMethod::gram && basis_.squared_norm_ > 0.0 && wanted() == side() ? side() : 0;
}

void Decomposition::form_gram(double* gram) const {
  if (basis_.rows_ > basis_.cols_) {
    gram_of_cols(stream_, matrix_of<float>(basis_.matrix_), scale_, gram);
  } else {
    gram_of_rows(stream_, matrix_of<float>(basis_.matrix_), scale_, gram);
  }
}

LeftBasis Decomposition::finish(bool converged, const std::vector<double>& eigenvalues, const Tensor& vectors) {
  if (converged) take_eigen(eigenvalues, vectors);
  return conclude(converged);
}

LeftBasis Decomposition::conclude(bool converged) {
  if (!converged && options_.method == BasisMethod::automatic) {
    converged = decompose(basis_.method_ == BasisMethod::gram ? BasisMethod::exact : BasisMethod::gram);
  }
  if (!converged) {
    const bool iterated = basis_.method_ == BasisMethod::randomized;
    throw Error(fmt::format("the decomposition of tensor {} {} did not converge{}", tensor_name_,
                            to_string(basis_.matrix_.shape()),
                            iterated ? fmt::format(" to a tolerance of {}", options_.tolerance) : ""),
                std::string(name(basis_.method_)),
                iterated ? "use method auto or gram, or a larger tolerance" : "try the other method");
  }
  basis_.measure(stream_);
  return std::move(basis_);
}

/// How many eigenvectors of the Gram matrix: one more than asked for, whose value says what comes next, or all.
int64_t Decomposition::wanted() const {
  return options_.rank > 0 && options_.rank * leading_share <= side() ? options_.rank + 1 : side();
}

bool Decomposition::decompose(BasisMethod method) {
  basis_.method_ = method;
  switch (method) {
    case BasisMethod::exact:
      return decompose_exact();
    case BasisMethod::randomized:
      return decompose_randomized();
    default:
      return decompose_gram();
  }
}

void Decomposition::set_spectrum(std::vector<double> singular_values) {
  basis_.singular_values_ = std::move(singular_values);
  const std::vector<double>& sigma = basis_.singular_values_;
  const double threshold =
      static_cast<double>(std::max(basis_.rows_, basis_.cols_)) * std::numeric_limits<double>::epsilon();
  basis_.rank_ = std::count_if(sigma.begin(), sigma.end(),
                               [&](double value) { return (value / sigma[0]) * (value / sigma[0]) > threshold; });
}

/// Keeps the first rank of the orthonormal `vectors` ([any, smaller side] float64), in `order`.
void Decomposition::set_small_side(const Tensor& vectors, const std::vector<int64_t>& order) {
  const auto from = matrix_of<double>(vectors);
  const int64_t rank = basis_.rank_;
  basis_.vectors_ = Tensor();
  basis_.map_ = Tensor();
  if (basis_.rows_ <= basis_.cols_) {
    basis_.vectors_ = Tensor::empty(stream_, {rank, basis_.rows_}, DType::float32);
    copy_rows(stream_, from, matrix_of<float>(basis_.vectors_), {order, {}, 1.0});
    return;
  }
  const std::vector<double>& sigma = basis_.singular_values_;
  std::vector<double> inverse;
  for (int64_t i = 0; i < rank; ++i) inverse.push_back(1.0 / sigma[static_cast<size_t>(i)]);
  basis_.map_ = Tensor::empty(stream_, {rank, basis_.cols_}, DType::float64);
  copy_rows(stream_, from, matrix_of<double>(basis_.map_), {order, inverse, 1.0});
  const double smallest = sigma[static_cast<size_t>(rank - 1)] / sigma[0];
  if (smallest * smallest * repair_condition < 1.0) {
    basis_.vectors_ = basis_.vectors(stream_, rank);
    orthonormalize_rows(stream_, basis_.vectors_);
    basis_.map_ = Tensor();
  }
}

bool Decomposition::decompose_gram() {
  const Tensor gram = Tensor::empty(stream_, {side(), side()}, DType::float64);
  std::vector<double> eigenvalues;
  form_gram(gram.data<double>());
  bool converged = solve(gram, wanted(), eigenvalues);
  if (!converged && wanted() < side()) {  // another algorithm finds all of them
    form_gram(gram.data<double>());
    converged = solve(gram, side(), eigenvalues);
  }
  if (converged) take_eigen(eigenvalues, gram);
  return converged;
}

/// The `count` largest eigenvalues of `gram`, ascending, and their vectors in its first rows.
bool Decomposition::solve(const Tensor& gram, int64_t count, std::vector<double>& eigenvalues) {
  if (choose_eigensolver(stream_, options_.eigensolver) == Eigensolver::host) {
    HostEigenproblem problem(stream_, gram, count);
    problem.solve();
    return problem.result(stream_, gram, eigenvalues);
  }
  eigenvalues.resize(static_cast<size_t>(count));
  return backend_of(stream_).eigen(stream_, gram.data<double>(), side(), count, eigenvalues.data());
}

/// The singular values and vectors from eigenvalues, ascending, and eigenvectors (rows): all of them or the leading
/// ones.
void Decomposition::take_eigen(const std::vector<double>& eigenvalues, const Tensor& vectors) {
  const auto count = static_cast<int64_t>(eigenvalues.size());
  std::vector<double> sigma(eigenvalues.rbegin(), eigenvalues.rend());
  for (double& value : sigma) value = std::sqrt(std::max(value, 0.0)) / scale_;
  set_spectrum(std::move(sigma));
  std::vector<double>& values = basis_.singular_values_;
  basis_.truncated_ = count < side() && basis_.rank_ == count;
  if (basis_.truncated_) {
    basis_.next_singular_value_ = values.back();
    values.pop_back();
    --basis_.rank_;
  } else {
    values.resize(static_cast<size_t>(side()), 0.0);
  }
  std::vector<int64_t> order(static_cast<size_t>(basis_.rank_));
  std::iota(order.rbegin(), order.rend(), count - basis_.rank_);
  set_small_side(vectors, order);
}

bool Decomposition::decompose_exact() {
  const Tensor wide = Tensor::empty(stream_, {basis_.rows_, basis_.cols_}, DType::float64);
  for_each_resident(stream_, matrix_of<float>(basis_.matrix_), [&](FloatMatrix part, int64_t row) {
    copy_rows(stream_, part, matrix_of<double>(wide).rows_from(row, part.rows), {{}, {}, scale_});
  });
  const Tensor left = Tensor::empty(stream_, {side(), basis_.rows_}, DType::float64);
  std::vector<double> sigma(static_cast<size_t>(side()));
  if (!backend_of(stream_).svd(stream_, matrix_of<double>(wide), sigma.data(), left.data<double>())) return false;
  for (double& value : sigma) value /= scale_;
  set_spectrum(std::move(sigma));
  basis_.map_ = Tensor();
  basis_.vectors_ = Tensor::empty(stream_, {basis_.rank_, basis_.rows_}, DType::float32);
  copy_rows(stream_, matrix_of<double>(left), matrix_of<float>(basis_.vectors_));
  return true;
}

bool Decomposition::decompose_randomized() {
  const std::optional<LeadingVectors> leading = leading_vectors(stream_, basis_.matrix_,
                                                                {.rank = options_.rank,
                                                                 .energy = options_.energy,
                                                                 .squared_norm = basis_.squared_norm_,
                                                                 .scale = scale_,
                                                                 .tolerance = options_.tolerance,
                                                                 .max_iterations = options_.max_iterations});
  if (!leading) return false;
  basis_.rank_ = static_cast<int64_t>(leading->values.size());
  basis_.truncated_ = !leading->complete;
  basis_.next_singular_value_ = leading->next;
  basis_.singular_values_ = leading->values;
  if (!basis_.truncated_) basis_.singular_values_.resize(static_cast<size_t>(side()), 0.0);
  set_small_side(leading->vectors, {});
  return true;
}

}  // namespace subspect::runtime::linalg
