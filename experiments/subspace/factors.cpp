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

/// An independent random sequence for each tensor, purpose and draw.
uint64_t sequence_of(const std::string& tensor, Basis basis, int64_t draw) {
  return runtime::stream_of(fmt::format("{}/{}/{}", name(basis), draw, tensor));
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

Tensor alignment_of(Stream& stream, const UpdateSources& sources, const std::string& tensor) {
  return as_matrix(difference(stream, *sources.aligned, *sources.base, tensor));
}

bool is_matrix(const UpdateSources& sources, const std::string& tensor) {
  return sources.aligned->info(tensor).shape.size() >= 2;
}

void describe(Stream& stream, const LeftBasis& basis, const FactorOptions& options, Factors& factors) {
  factors.rank = basis.rank();
  factors.method = runtime::linalg::name(basis.method());
  factors.residual = basis.residual();
  factors.singular_values = basis.singular_values();
  if (basis.truncated()) factors.singular_values.push_back(basis.next_singular_value());
  if (options.keep) factors.vectors = basis.vectors(stream, basis.rank());
}

void draw(Stream& stream, const BasisChoice& choice, const FactorOptions& options, Factors& factors) {
  const int64_t side = std::min(factors.rows, factors.cols);
  factors.rank = splits_by_rank(options.largest_fraction) ? rank_of_fraction(options.largest_fraction, side) : 0;
  factors.method = "qr";
  runtime::linalg::RandomBasis basis = runtime::linalg::random_basis(
      stream, factors.rows, factors.rank,
      runtime::Philox(choice.seed, sequence_of(factors.tensor, choice.basis, choice.draw)));
  factors.vectors = std::move(basis.vectors);
  factors.residual = basis.deviation;
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
  if (rank_at(fraction) == rows) return sum.update;  // the vectors span the whole space: P = D
  const std::vector<double>& energy = coefficients[finetuned].row_energy;
  double kept = 0.0;
  for (int64_t i = 0; i < rank_at(fraction); ++i) kept += energy[static_cast<size_t>(order[static_cast<size_t>(i)])];
  return kept;
}

void Factors::add_parallel(Stream& stream, size_t finetuned, const std::vector<int64_t>& order, int64_t begin,
                           int64_t end, const Tensor& parallel) const {
  if (begin >= end) return;
  runtime::linalg::add_projection(stream, take_rows(stream, vectors, order, begin, end),
                                  take_rows(stream, coefficients[finetuned].values, order, begin, end), 1.0,
                                  as_matrix(parallel));
}

int64_t Factors::kept_bytes() const {
  int64_t bytes = vectors.defined() ? vectors.bytes() : 0;
  for (const Coefficients& c : coefficients) bytes += c.values.defined() ? c.values.bytes() : 0;
  return bytes;
}

void Factors::spill(Stream& stream, const std::filesystem::path& file) {
  if (!vectors.defined() || vectors.numel() == 0) return;
  std::vector<runtime::io::TensorSpec> specs = {{"vectors", DType::float32, vectors.shape()}};
  for (size_t i = 0; i < coefficients.size(); ++i) {
    specs.push_back({fmt::format("coefficients.{}", i), DType::float32, coefficients[i].values.shape()});
  }
  runtime::io::write_safetensors(file, specs, [&](size_t i) {
    return runtime::linalg::on_host(stream, i == 0 ? vectors : coefficients[i - 1].values);
  });
  const auto mapped = runtime::io::SafetensorsFile::open(file);
  vectors = mapped.tensor("vectors");
  for (size_t i = 0; i < coefficients.size(); ++i) coefficients[i].values = mapped.tensor(specs[i + 1].name);
}

std::optional<runtime::linalg::BasisRequest> basis_request(Stream& stream, const UpdateSources& sources,
                                                           const std::string& tensor, const BasisChoice& choice,
                                                           const FactorOptions& options) {
  if (!is_matrix(sources, tensor) || choice.basis == Basis::random) return std::nullopt;
  runtime::linalg::BasisRequest request{alignment_of(stream, sources, tensor), tensor, options.basis};
  if (splits_by_rank(options.leading_fraction)) {
    const int64_t side = std::min(request.matrix.size(0), request.matrix.size(1));
    request.options.rank = rank_of_fraction(options.leading_fraction, side);
  }
  return request;
}

Factors make_factors(Stream& stream, const UpdateSources& sources, const std::string& tensor, const BasisChoice& choice,
                     const FactorOptions& options, const LeftBasis& basis) {
  const Tensor alignment = basis.matrix().defined() ? basis.matrix() : alignment_of(stream, sources, tensor);
  Factors factors;
  factors.tensor = tensor;
  factors.is_matrix = is_matrix(sources, tensor);
  factors.rows = alignment.size(0);
  factors.cols = alignment.size(1);
  if (!factors.is_matrix) {
    factors.method = "direction";
  } else if (choice.basis == Basis::random) {
    draw(stream, choice, options, factors);
  } else {
    describe(stream, basis, options, factors);
  }
  for (const WeightSource* finetuned : sources.finetuned) {
    const Tensor update = as_matrix(difference(stream, *finetuned, *sources.aligned, tensor));
    factors.sums.push_back(measure(stream, update, alignment));
    Coefficients coefficients;
    if (factors.is_matrix) {
      coefficients = choice.basis == Basis::random ? runtime::linalg::project_onto(stream, factors.vectors, update)
                                                   : basis.coefficients(stream, update);
      if (!options.keep) coefficients.values = Tensor();
    }
    factors.coefficients.push_back(std::move(coefficients));
  }
  if (!options.keep) factors.vectors = Tensor();
  if (!factors.is_matrix) factors.rank = factors.rank_at(1.0);
  return factors;
}

int64_t factor_bytes(const runtime::Shape& shape, int64_t finetuned) {
  if (shape.size() < 2) return 0;
  const int64_t rows = shape[0];
  const int64_t cols = std::accumulate(shape.begin() + 1, shape.end(), int64_t{1}, std::multiplies<>());
  return 4 * std::min(rows, cols) * (rows + finetuned * cols);
}

int64_t factor_workspace_bytes(const runtime::Shape& shape, int64_t finetuned) {
  const int64_t rows = shape.empty() ? 1 : shape[0];
  const int64_t count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  const int64_t side = rows == 0 ? 0 : std::min(rows, count / rows);
  // V and D (with the subtrahend while they are formed), Gram and the eigensolver's work, the factors themselves.
  return 4 * 4 * count + 8 * 5 * side * side + factor_bytes(shape, finetuned);
}

}  // namespace subspect::experiments::subspace
