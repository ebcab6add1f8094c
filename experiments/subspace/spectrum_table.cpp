// Spectra of B - A, a batch of tensors at a time.
#include "experiments/subspace/spectrum_table.h"

#include <fmt/format.h>

#include <cmath>

#include "experiments/subspace/factors.h"
#include "runtime/linalg/bases.h"
#include "runtime/linalg/parallel.h"
#include "runtime/linalg/products.h"
#include "runtime/linalg/spectrum.h"
#include "runtime/memory.h"

namespace subspect::experiments::subspace {

namespace {

namespace linalg = runtime::linalg;
using runtime::Tensor;

Row spectrum_row(runtime::Stream& stream, const WeightSource& a, const std::string& tensor,
                 const linalg::LeftBasis& basis, const SpectrumOptions& options) {
  const Tensor before = a.load(stream, tensor);
  const double norm_before = std::sqrt(linalg::squared_norm(stream, before));
  const std::vector<double>& sigma = basis.singular_values();
  const double norm = std::sqrt(basis.squared_norm());
  Row row = {tensor,
             basis.rows(),
             basis.cols(),
             norm,
             norm / norm_before,
             basis.rank(),
             linalg::effective_rank(sigma),
             linalg::stable_rank(sigma)};
  for (const double energy : options.energies) row.emplace_back(linalg::rank_at_energy(sigma, energy));
  row.emplace_back(name(basis.method()));
  row.emplace_back(basis.residual());
  return row;
}

}  // namespace

Table spectrum_table(runtime::Stream& stream, const WeightSource& a, const WeightSource& b,
                     const SpectrumOptions& options) {
  require_same_tensors(a, b);
  const std::vector<std::string> tensors = select_tensors(a, options.globs, "pattern");
  std::vector<std::string> columns = {"tensor",        "rows", "cols",           "norm",
                                      "relative_norm", "rank", "effective_rank", "stable_rank"};
  for (const double energy : options.energies) columns.push_back(fmt::format("k_{}", energy));
  columns.insert(columns.end(), {"method", "residual"});
  std::vector<Row> rows(tensors.size());
  linalg::for_each_range_within(
      stream, tensors.size(), runtime::available_memory(stream) / 2,
      [&](size_t i) { return factor_workspace_bytes(a.info(tensors[i]).shape, 0); },
      [&](size_t begin, size_t end) {
        linalg::for_each_basis(
            stream, end - begin,
            [&](size_t i) {
              const std::string& tensor = tensors[begin + i];
              return linalg::BasisRequest{
                  as_matrix(difference(stream, b, a, tensor)), tensor, {.method = options.method}};
            },
            [&](size_t i, const linalg::LeftBasis& basis) {
              rows[begin + i] = spectrum_row(stream, a, tensors[begin + i], basis, options);
            });
      },
      {});
  Table table(columns);
  for (Row& row : rows) table.append(std::move(row));
  return table;
}

}  // namespace subspect::experiments::subspace
