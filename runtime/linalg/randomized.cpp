// Block Krylov iteration with restarts.
#include "runtime/linalg/randomized.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/linalg/backend.h"
#include "runtime/linalg/products.h"
#include "runtime/linalg/random_basis.h"
#include "runtime/random.h"

namespace subspect::runtime::linalg {

namespace {

constexpr uint64_t start_seed = 0x5ab5bec75eed;
constexpr int64_t blocks_kept = 5;  // blocks that the space holds before it is cut back to one
constexpr double dependent = 1e-6;  // parts of unit vectors with less energy are no new directions
constexpr int64_t patience = 8;     // iterations without progress before the iteration is given up
constexpr double progress_factor = 0.9;

int64_t block_of(int64_t wanted, int64_t side) {
  return std::min(side, wanted + std::max<int64_t>(8, wanted / 4));
}

/// count - 1, ..., 0: from ascending eigenvalues to descending ones.
std::vector<int64_t> descending(int64_t count, int64_t take) {
  std::vector<int64_t> order(static_cast<size_t>(take));
  std::iota(order.rbegin(), order.rend(), count - take);
  return order;
}

/// The space Q (orthonormal rows of the smaller side) with B = Q A, where A = V or V^T has the smaller side as rows.
class KrylovSpace {
 public:
  KrylovSpace(Stream& stream, const Tensor& v, const RandomizedOptions& options)
      : stream_(stream),
        options_(options),
        v_(matrix_of<float>(v)),
        tall_(v.size(0) > v.size(1)),
        side_(std::min(v.size(0), v.size(1))),
        length_(std::max(v.size(0), v.size(1))) {}

  std::optional<LeadingVectors> run() {
    int64_t wanted = options_.energy < 1.0 ? std::max<int64_t>(1, side_ / 64) : side_;
    if (options_.rank > 0) wanted = std::min(options_.rank, side_);
    for (;;) {
      const int64_t block = block_of(wanted, side_);
      reserve(std::min(side_, blocks_kept * block));
      if (size_ == 0) append(random_directions(block));
      if (!iterate(wanted, block)) return std::nullopt;
      if (options_.rank > 0 || holds_energy(wanted) || size_ == side_ || exhausted_) break;
      wanted = std::min(side_, 2 * wanted);
    }
    return finish(wanted);
  }

 private:
  /// y = x A, [b, length].
  void times(const Tensor& x, const Tensor& y) {
    const auto from = matrix_of<float>(x);
    const auto to = matrix_of<float>(y);
    for_each_resident(stream_, v_, [&](FloatMatrix part, int64_t row) {
      if (tall_) {  // A = V^T: columns of y are rows of V
        multiply(stream_, Op::none, from, Op::transpose, part, {to.data + row, to.rows, part.rows, to.stride},
                 {options_.scale, 0.0});
      } else {
        multiply(stream_, Op::none, FloatMatrix(from.data + row, from.rows, part.rows, from.stride), Op::none, part, to,
                 {options_.scale, row == 0 ? 0.0 : 1.0});
      }
    });
  }

  /// y = x A^T, [b, side].
  void times_transposed(const Tensor& x, const Tensor& y) {
    const auto from = matrix_of<float>(x);
    const auto to = matrix_of<float>(y);
    for_each_resident(stream_, v_, [&](FloatMatrix part, int64_t row) {
      if (tall_) {
        multiply(stream_, Op::none, FloatMatrix(from.data + row, from.rows, part.rows, from.stride), Op::none, part, to,
                 {options_.scale, row == 0 ? 0.0 : 1.0});
      } else {
        multiply(stream_, Op::none, from, Op::transpose, part, {to.data + row, to.rows, part.rows, to.stride},
                 {options_.scale, 0.0});
      }
    });
  }

  Tensor floats(int64_t rows, int64_t cols) { return Tensor::empty(stream_, {rows, cols}, DType::float32); }
  Tensor doubles(int64_t rows, int64_t cols) { return Tensor::empty(stream_, {rows, cols}, DType::float64); }

  /// Room for `rows` vectors; those that are there stay.
  void reserve(int64_t rows) {
    if (q_.defined() && q_.size(0) >= rows) return;
    const Tensor q = floats(rows, side_);
    const Tensor b = floats(rows, length_);
    if (size_ > 0) {
      copy_rows(stream_, matrix_of<float>(q_.narrow(0, 0, size_)), matrix_of<float>(q.narrow(0, 0, size_)));
      copy_rows(stream_, matrix_of<float>(b_.narrow(0, 0, size_)), matrix_of<float>(b.narrow(0, 0, size_)));
    }
    q_ = q;
    b_ = b;
  }

  /// At most `count` orthonormal rows outside of Q: the image of a Gaussian block, less what depends on Q.
  Tensor random_directions(int64_t count) {
    const Tensor gaussian = floats(count, length_);
    fill_normal(stream_, gaussian, 1.0, Philox(start_seed, static_cast<uint64_t>(size_)));
    const Tensor image = floats(count, side_);
    times_transposed(gaussian, image);
    std::vector<double> inverse = row_energies(stream_, image);
    for (double& energy : inverse) energy = energy > 0.0 ? 1.0 / std::sqrt(energy) : 0.0;
    const Tensor unit = floats(count, side_);
    copy_rows(stream_, matrix_of<float>(image), matrix_of<float>(unit), {{}, inverse, 1.0});
    return outside(unit);
  }

  /// Orthonormal rows that span the given unit rows as far as they lie outside of Q.
  Tensor outside(const Tensor& unit) {
    leave_space(unit);
    Tensor fresh = independent(unit);
    leave_space(fresh);
    orthonormalize_rows(stream_, fresh);
    return fresh;
  }

  void append(const Tensor& fresh) {
    const int64_t rows = fresh.size(0);
    if (size_ + rows > q_.size(0)) restart();
    copy_rows(stream_, matrix_of<float>(fresh), matrix_of<float>(q_.narrow(0, size_, rows)));
    times(fresh, b_.narrow(0, size_, rows));
    size_ += rows;
  }

  void restart() {
    size_ = x_.size(0);
    copy_rows(stream_, matrix_of<float>(x_), matrix_of<float>(q_.narrow(0, 0, size_)));
    copy_rows(stream_, matrix_of<float>(bx_), matrix_of<float>(b_.narrow(0, 0, size_)));
  }

  /// Ritz values of the whole space, and the leading `block` Ritz vectors.
  bool ritz(int64_t block) {
    const Tensor small = doubles(size_, size_);
    gram_of_rows(stream_, matrix_of<float>(b_.narrow(0, 0, size_)), 1.0, small.data<double>());
    std::vector<double> ascending(static_cast<size_t>(size_));
    if (!backend_of(stream_).eigen(stream_, small.data<double>(), size_, size_, ascending.data())) return false;
    theta_.assign(ascending.rbegin(), ascending.rend());
    const int64_t count = std::min(block, size_);
    const Tensor mix = floats(count, size_);
    const std::vector<int64_t> order = descending(size_, count);
    copy_rows(stream_, matrix_of<double>(small), matrix_of<float>(mix), {order, {}, 1.0});
    x_ = floats(count, side_);
    bx_ = floats(count, length_);
    multiply(stream_, Op::none, matrix_of<float>(mix), Op::none, matrix_of<float>(q_.narrow(0, 0, size_)),
             matrix_of<float>(x_));
    multiply(stream_, Op::none, matrix_of<float>(mix), Op::none, matrix_of<float>(b_.narrow(0, 0, size_)),
             matrix_of<float>(bx_));
    return true;
  }

  /// Ritz values above what float32 products resolve.
  int64_t resolved() const {
    const double limit = theta_[0] * float32_resolution * float32_resolution;
    return std::count_if(theta_.begin(), theta_.end(), [&](double theta) { return theta > limit; });
  }

  bool holds_energy(int64_t wanted) const {
    const double norm = options_.squared_norm * options_.scale * options_.scale;
    double held = 0.0;
    for (size_t i = 0; i < static_cast<size_t>(std::min(wanted, size_)); ++i) held += theta_[i];
    return held >= options_.energy * norm;
  }

  /// True once the first `wanted` Ritz vectors meet the tolerance, or nothing is left to add.
  bool iterate(int64_t wanted, int64_t block) {
    double best = 0.0;
    int64_t stale = 0;
    for (;; ++iterations_) {
      if (!ritz(block)) return false;
      const Tensor residual = floats(x_.size(0), side_);
      times_transposed(bx_, residual);
      const std::vector<double> theta(theta_.begin(), theta_.begin() + x_.size(0));
      add_scaled(stream_, x_, -1.0, residual, theta);
      const std::vector<double> errors = relative_errors(residual);
      const auto target = static_cast<ptrdiff_t>(std::min({wanted, resolved(), x_.size(0)}));
      const double worst = *std::max_element(errors.begin(), errors.begin() + target);
      if ((worst <= options_.tolerance && x_.size(0) >= std::min(wanted, side_)) || size_ == side_) return true;
      stale = best == 0.0 || worst < progress_factor * best ? 0 : stale + 1;
      best = best == 0.0 ? worst : std::min(best, worst);
      if (stale > patience && options_.tolerance > 0.0) return false;
      if (iterations_ >= options_.max_iterations) return options_.tolerance == 0.0;
      Tensor fresh = new_directions(residual, errors);
      if (fresh.size(0) == 0 && size_ < block) fresh = random_directions(block - size_);
      exhausted_ = fresh.size(0) == 0;
      if (exhausted_) return worst <= options_.tolerance;
      append(fresh);
    }
  }

  std::vector<double> relative_errors(const Tensor& residual) {
    std::vector<double> errors = row_energies(stream_, residual);
    for (size_t i = 0; i < errors.size(); ++i) errors[i] = std::sqrt(errors[i]) / std::max(theta_[i], 1e-300);
    return errors;
  }

  /// Orthonormal rows that span the residuals of the vectors that miss the tolerance, outside of Q.
  Tensor new_directions(const Tensor& residual, const std::vector<double>& errors) {
    std::vector<int64_t> rows;
    std::vector<double> inverse;
    const int64_t limit = std::min(residual.size(0), resolved());
    for (int64_t i = 0; i < limit; ++i) {
      const double error = errors[static_cast<size_t>(i)];
      if (error <= options_.tolerance) continue;
      rows.push_back(i);
      inverse.push_back(1.0 / (error * theta_[static_cast<size_t>(i)]));
    }
    const auto count = static_cast<int64_t>(rows.size());
    if (count == 0) return floats(0, side_);
    const Tensor unit = floats(count, side_);
    copy_rows(stream_, matrix_of<float>(residual), matrix_of<float>(unit), {rows, inverse, 1.0});
    return outside(unit);
  }

  /// rows -= rows Q^T Q.
  void leave_space(const Tensor& rows) {
    if (size_ == 0) return;
    const auto q = matrix_of<float>(q_.narrow(0, 0, size_));
    const Tensor inside = floats(rows.size(0), size_);
    multiply(stream_, Op::none, matrix_of<float>(rows), Op::transpose, q, matrix_of<float>(inside));
    multiply(stream_, Op::none, matrix_of<float>(inside), Op::none, q, matrix_of<float>(rows), {-1.0, 1.0});
  }

  /// Nearly orthonormal rows that span the given ones, directions of no energy dropped, at most as many as Q lacks.
  Tensor independent(const Tensor& rows) {
    const int64_t count = rows.size(0);
    const Tensor gram = doubles(count, count);
    gram_of_rows(stream_, matrix_of<float>(rows), 1.0, gram.data<double>());
    std::vector<double> values(static_cast<size_t>(count));
    if (!backend_of(stream_).eigen(stream_, gram.data<double>(), count, count, values.data())) return floats(0, side_);
    int64_t kept = std::count_if(values.begin(), values.end(), [](double x) { return x > dependent; });
    kept = std::min(kept, side_ - size_);
    const std::vector<int64_t> order = descending(count, kept);
    std::vector<double> inverse;
    for (const int64_t i : order) inverse.push_back(1.0 / std::sqrt(values[static_cast<size_t>(i)]));
    const Tensor mix = floats(kept, count);
    copy_rows(stream_, matrix_of<double>(gram), matrix_of<float>(mix), {order, inverse, 1.0});
    Tensor fresh = floats(kept, side_);
    multiply(stream_, Op::none, matrix_of<float>(mix), Op::none, matrix_of<float>(rows), matrix_of<float>(fresh));
    return fresh;
  }

  /// Rayleigh-Ritz in float64 within the Ritz vectors.
  std::optional<LeadingVectors> finish(int64_t wanted) {
    const Backend& backend = backend_of(stream_);
    const int64_t count = x_.size(0);
    const Tensor wide = doubles(count, side_);
    const Tensor small = doubles(count, count);
    copy_rows(stream_, matrix_of<float>(x_), matrix_of<double>(wide));
    backend.accumulate_gram(stream_, Op::none, matrix_of<double>(wide), true, small.data<double>());
    if (!backend.cholesky(stream_, small.data<double>(), count)) return std::nullopt;
    backend.solve_lower(stream_, Op::none, small.data<double>(), matrix_of<double>(wide));
    gram_of_product(stream_, matrix_of<double>(wide), tall_ ? Op::transpose : Op::none, v_, options_.scale,
                    small.data<double>());
    std::vector<double> ascending(static_cast<size_t>(count));
    if (!backend.eigen(stream_, small.data<double>(), count, count, ascending.data())) return std::nullopt;
    theta_.assign(ascending.rbegin(), ascending.rend());

    LeadingVectors result;
    const int64_t there = resolved();
    result.complete = exhausted_ || there < count || count == side_;
    result.iterations = iterations_;
    const int64_t held = std::min(there, wanted);
    for (int64_t i = 0; i < held; ++i)
      result.values.push_back(std::sqrt(theta_[static_cast<size_t>(i)]) / options_.scale);
    if (held < there) result.next = std::sqrt(theta_[static_cast<size_t>(held)]) / options_.scale;
    result.complete = result.complete && held == there;
    const Tensor mix = doubles(held, count);
    copy_rows(stream_, matrix_of<double>(small), matrix_of<double>(mix), {descending(count, held), {}, 1.0});
    result.vectors = doubles(held, side_);
    multiply(stream_, Op::none, matrix_of<double>(mix), Op::none, matrix_of<double>(wide),
             matrix_of<double>(result.vectors));
    return result;
  }

  Stream& stream_;
  RandomizedOptions options_;
  FloatMatrix v_;
  bool tall_;
  int64_t side_;
  int64_t length_;
  Tensor q_;                   // [capacity, side]
  Tensor b_;                   // [capacity, length]
  Tensor x_;                   // [block, side], Ritz vectors
  Tensor bx_;                  // [block, length], times A
  std::vector<double> theta_;  // Ritz values of (scale A)(scale A)^T, descending
  int64_t size_ = 0;
  int64_t iterations_ = 0;
  bool exhausted_ = false;  // no direction of V is outside of Q
};

}  // namespace

std::optional<LeadingVectors> leading_vectors(Stream& stream, const Tensor& v, const RandomizedOptions& options) {
  return KrylovSpace(stream, v, options).run();
}

}  // namespace subspect::runtime::linalg
