// Bases and coefficients of one tensor.
#include "experiments/subspace/factors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "runtime/error.h"
#include "runtime/io/safetensors.h"
#include "runtime/linalg/products.h"
#include "runtime/linalg/random_basis.h"
#include "runtime/random.h"

namespace subspect::experiments::subspace {

namespace {

using runtime::DType;
using runtime::Stream;
using runtime::Tensor;
using runtime::linalg::Coefficients;
using runtime::linalg::LeftBasis;

/// An independent random sequence for each tensor, purpose and draw; random vectors of either side have their own.
uint64_t sequence_of(const std::string& tensor, Basis basis, int64_t draw, std::string_view side = "") {
  return runtime::stream_of(fmt::format("{}{}/{}/{}", name(basis), side, draw, tensor));
}

/// Rows `order[begin, end)` of a matrix; shares memory when they are consecutive.
Tensor take_rows(Stream& stream, const Tensor& matrix, const std::vector<int64_t>& order, int64_t begin, int64_t end) {
  const int64_t first = order[static_cast<size_t>(begin)];
  bool consecutive = true;
  for (int64_t i = begin; i < end; ++i) consecutive &= order[static_cast<size_t>(i)] == first + i - begin;
  if (consecutive) return matrix.narrow(0, first, end - begin);
  Tensor rows = Tensor::empty(stream, {end - begin, matrix.size(1)}, DType::float32);
  runtime::linalg::copy_rows(
      stream, runtime::linalg::matrix_of<float>(matrix), runtime::linalg::matrix_of<float>(rows),
      {std::span(order).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)), {}});
  return rows;
}

SplitSums measure(Stream& stream, const Tensor& update, const Tensor& alignment) {
  SplitSums sums;
  sums.update = runtime::linalg::squared_norm(stream, update);
  sums.alignment = runtime::linalg::squared_norm(stream, alignment);
  sums.update_alignment = runtime::linalg::inner_product(stream, update, alignment);
  return sums;
}

/// a - b as a matrix, transposed for the right side of a matrix.
Tensor worked_difference(Stream& stream, const WeightSource& a, const WeightSource& b, const std::string& tensor,
                         Sides sides) {
  const Tensor matrix = as_matrix(difference(stream, a, b, tensor));
  const bool turned = sides == Sides::right && a.info(tensor).shape.size() >= 2;
  return turned ? runtime::linalg::transposed_copy(stream, matrix) : matrix;
}

Tensor alignment_of(Stream& stream, const UpdateSources& sources, const std::string& tensor, Sides sides) {
  return worked_difference(stream, *sources.aligned, *sources.base, tensor, sides);
}

bool is_matrix(const UpdateSources& sources, const std::string& tensor) {
  return sources.aligned->info(tensor).shape.size() >= 2;
}

/// How a matrix of this size is decomposed: for as many vectors as the leading fraction asks for.
runtime::linalg::BasisOptions decomposition(const FactorOptions& options, int64_t rows, int64_t cols) {
  runtime::linalg::BasisOptions basis = options.basis;
  if (splits_by_rank(options.leading_fraction)) {
    basis.rank = rank_of_fraction(options.leading_fraction, std::min(rows, cols));
  }
  return basis;
}

void describe(Stream& stream, const LeftBasis& basis, const FactorOptions& options, Factors& factors) {
  factors.rank = basis.rank();
  factors.method = runtime::linalg::name(basis.method());
  factors.residual = basis.residual();
  factors.singular_values = basis.singular_values();
  if (basis.truncated()) factors.singular_values.push_back(basis.next_singular_value());
  if (factors.sides == Sides::both) {
    const LeftBasis right =
        basis.transposed(stream, factors.tensor, decomposition(options, factors.rows, factors.cols));
    factors.rank = std::min(factors.rank, right.rank());
    factors.residual = std::max(factors.residual, right.residual());
    factors.right_vectors = right.vectors(stream, factors.rank);
  }
  if (options.keep) factors.vectors = basis.vectors(stream, factors.rank);
}

void draw(Stream& stream, const BasisChoice& choice, const FactorOptions& options, Factors& factors) {
  const int64_t side = std::min(factors.rows, factors.cols);
  factors.rank = splits_by_rank(options.largest_fraction) ? rank_of_fraction(options.largest_fraction, side) : 0;
  factors.method = "qr";
  const auto drawn = [&](int64_t size, std::string_view of) {
    runtime::linalg::RandomBasis basis = runtime::linalg::random_basis(
        stream, size, factors.rank,
        runtime::Philox(choice.seed, sequence_of(factors.tensor, choice.basis, choice.draw, of)));
    factors.residual = std::max(factors.residual, basis.deviation);
    return std::move(basis.vectors);
  };
  constexpr std::string_view right = "-right";
  factors.vectors = factors.sides == Sides::right ? drawn(factors.cols, right) : drawn(factors.rows, "");
  if (factors.sides == Sides::both) factors.right_vectors = drawn(factors.cols, right);
}

/// U^T D W from U^T D, for the first `factors.rank` of either.
Tensor two_sided(Stream& stream, const Factors& factors, const Tensor& left) {
  Tensor values = Tensor::empty(stream, {factors.rank, factors.rank}, DType::float32);
  if (factors.rank == 0) return values;
  runtime::linalg::multiply(stream, runtime::linalg::Op::none,
                            runtime::linalg::matrix_of<float>(left.narrow(0, 0, factors.rank)),
                            runtime::linalg::Op::transpose, runtime::linalg::matrix_of<float>(factors.right_vectors),
                            runtime::linalg::matrix_of<float>(values));
  return runtime::linalg::on_host(stream, values);
}

}  // namespace

int64_t rank_of_fraction(double fraction, int64_t side) {
  return std::clamp<int64_t>(std::llround(fraction * static_cast<double>(side)), 1, side);
}

bool splits_by_rank(double fraction) {
  return fraction > 0.0 && fraction < 1.0;
}

std::string_view name(Basis basis) {
  switch (basis) {
    case Basis::random_k:
      return "random_k";
    case Basis::random:
      return "random";
    case Basis::top_k:
      break;
  }
  return "top_k";
}

std::string_view name(Sides sides) {
  switch (sides) {
    case Sides::right:
      return "right";
    case Sides::both:
      return "both";
    case Sides::left:
      break;
  }
  return "left";
}

bool Factors::spans_everything(double fraction) const {
  const int64_t k = rank_at(fraction);
  return (sides == Sides::right || k == rows) && (sides == Sides::left || k == cols);
}

int64_t Factors::rank_at(double fraction) const {
  if (!is_matrix || !splits_by_rank(fraction)) return sums.empty() || sums[0].alignment > 0.0 ? 1 : 0;
  return std::min(rank, rank_of_fraction(fraction, std::min(rows, cols)));
}

std::vector<int64_t> Factors::order(const BasisChoice& choice) const {
  if (choice.basis == Basis::random_k) {
    return runtime::random_permutation(rank, choice.seed, sequence_of(tensor, choice.basis, choice.draw));
  }
  std::vector<int64_t> all(static_cast<size_t>(rank));
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

double Factors::parallel_energy(size_t finetuned, const std::vector<int64_t>& order, double fraction) const {
  const SplitSums& sum = sums[finetuned];
  if (!is_matrix || !splits_by_rank(fraction)) {
    return sum.alignment > 0.0 ? sum.update_alignment * (sum.update_alignment / sum.alignment) : 0.0;
  }
  if (spans_everything(fraction)) return sum.update;  // P = D
  double kept = 0.0;
  if (sides == Sides::both) {
    const float* values = coefficients[finetuned].values.data<float>();
    for (int64_t i = 0; i < rank_at(fraction); ++i) {
      for (int64_t j = 0; j < rank_at(fraction); ++j) {
        const int64_t at = order[static_cast<size_t>(i)] * rank + order[static_cast<size_t>(j)];
        kept += std::pow(static_cast<double>(values[at]), 2);
      }
    }
    return kept;
  }
  const std::vector<double>& energy = coefficients[finetuned].row_energy;
  for (int64_t i = 0; i < rank_at(fraction); ++i) kept += energy[static_cast<size_t>(order[static_cast<size_t>(i)])];
  return kept;
}

void Factors::add_parallel(Stream& stream, size_t finetuned, const std::vector<int64_t>& order, int64_t begin,
                           int64_t end, const Tensor& parallel) const {
  if (begin >= end) return;
  const Tensor directions = take_rows(stream, vectors, order, begin, end);
  const Tensor values = take_rows(stream, coefficients[finetuned].values, order, begin, end);
  const Tensor out = as_matrix(parallel);
  if (sides == Sides::left) runtime::linalg::add_projection(stream, directions, values, 1.0, out);
  if (sides == Sides::right) runtime::linalg::add_projection(stream, values, directions, 1.0, out);
  if (sides != Sides::both) return;
  runtime::require(begin == 0, "Factors", "both sides are added at once, not from vector {}.", begin);
  const Tensor inner = runtime::linalg::transposed_copy(stream, runtime::linalg::on_device(stream, values));
  const Tensor rows_of_w = Tensor::zeros(stream, {end, cols}, DType::float32);  // (U^T D W) W^T
  runtime::linalg::add_projection(stream, take_rows(stream, inner, order, 0, end),
                                  take_rows(stream, right_vectors, order, 0, end), 1.0, rows_of_w);
  runtime::linalg::add_projection(stream, directions, rows_of_w, 1.0, out);
}

int64_t Factors::kept_bytes() const {
  int64_t bytes = (vectors.defined() ? vectors.bytes() : 0) + (right_vectors.defined() ? right_vectors.bytes() : 0);
  for (const Coefficients& c : coefficients) bytes += c.values.defined() ? c.values.bytes() : 0;
  return bytes;
}

void Factors::spill(Stream& stream, const std::filesystem::path& file) {
  if (!vectors.defined() || vectors.numel() == 0) return;
  std::vector<std::pair<std::string, Tensor*>> kept = {{"vectors", &vectors}};
  if (right_vectors.defined()) kept.emplace_back("right_vectors", &right_vectors);
  for (size_t i = 0; i < coefficients.size(); ++i) {
    kept.emplace_back(fmt::format("coefficients.{}", i), &coefficients[i].values);
  }
  std::vector<runtime::io::TensorSpec> specs;
  for (const auto& [key, held] : kept) specs.push_back({key, DType::float32, held->shape()});
  runtime::io::write_safetensors(file, specs,
                                 [&](size_t i) { return runtime::linalg::on_host(stream, *kept[i].second); });
  const auto mapped = runtime::io::SafetensorsFile::open(file);
  for (const auto& [key, held] : kept) *held = mapped.tensor(key);
}

std::optional<runtime::linalg::BasisRequest> basis_request(Stream& stream, const UpdateSources& sources,
                                                           const std::string& tensor, const BasisChoice& choice,
                                                           const FactorOptions& options) {
  if (!is_matrix(sources, tensor) || choice.basis == Basis::random) return std::nullopt;
  const Tensor alignment = alignment_of(stream, sources, tensor, choice.sides);
  return runtime::linalg::BasisRequest{alignment, tensor, decomposition(options, alignment.size(0), alignment.size(1))};
}

Factors make_factors(Stream& stream, const UpdateSources& sources, const std::string& tensor, const BasisChoice& choice,
                     const FactorOptions& options, const LeftBasis& basis) {
  const Tensor alignment =
      basis.matrix().defined() ? basis.matrix() : alignment_of(stream, sources, tensor, choice.sides);
  Factors factors;
  factors.tensor = tensor;
  factors.sides = choice.sides;
  factors.is_matrix = is_matrix(sources, tensor);
  factors.rows = alignment.size(0);
  factors.cols = alignment.size(1);
  if (factors.is_matrix && choice.sides == Sides::right) std::swap(factors.rows, factors.cols);
  if (!factors.is_matrix) {
    factors.method = "direction";
  } else if (choice.basis == Basis::random) {
    draw(stream, choice, options, factors);
  } else {
    describe(stream, basis, options, factors);
  }
  for (const WeightSource* finetuned : sources.finetuned) {
    const Tensor update = worked_difference(stream, *finetuned, *sources.aligned, tensor, choice.sides);
    factors.sums.push_back(measure(stream, update, alignment));
    Coefficients coefficients;
    if (factors.is_matrix) {
      coefficients = choice.basis == Basis::random ? runtime::linalg::project_onto(stream, factors.vectors, update)
                                                   : basis.coefficients(stream, update);
      if (choice.sides == Sides::both) coefficients.values = two_sided(stream, factors, coefficients.values);
      if (!options.keep) coefficients.values = Tensor();
    }
    factors.coefficients.push_back(std::move(coefficients));
  }
  if (!options.keep) factors.vectors = Tensor();
  if (!factors.is_matrix) factors.rank = factors.rank_at(1.0);
  return factors;
}

int64_t factor_bytes(const runtime::Shape& shape, int64_t finetuned, Sides sides) {
  if (shape.size() < 2) return 0;
  const int64_t rows = shape[0];
  const int64_t cols = elements(shape) / std::max<int64_t>(1, rows);
  const int64_t side = std::min(rows, cols);
  if (sides == Sides::both) return 4 * side * (rows + cols + finetuned * side);
  return 4 * side * (sides == Sides::left ? rows + finetuned * cols : cols + finetuned * rows);
}

double decomposition_flops(const runtime::Shape& shape, int64_t products) {
  if (shape.size() < 2) return 0.0;
  const auto m = static_cast<double>(shape[0]);
  const auto n = static_cast<double>(elements(shape)) / m;
  const double side = std::min(m, n);
  return 2.0 * m * n * side * (1.0 + static_cast<double>(products)) + 9.0 * side * side * side;
}

int64_t factor_workspace_bytes(const runtime::Shape& shape, int64_t finetuned, Sides sides) {
  const int64_t rows = shape.empty() ? 1 : shape[0];
  const int64_t count = elements(shape);
  const int64_t side = rows == 0 ? 0 : std::min(rows, count / rows);
  // V and D (with the subtrahend while they are formed, and their transposes), Gram and the eigensolver's work, the
  // factors themselves.
  const int64_t matrices = sides == Sides::left ? 4 : 6;
  return matrices * 4 * count + 8 * 5 * side * side + factor_bytes(shape, finetuned, sides);
}

}  // namespace subspect::experiments::subspace
