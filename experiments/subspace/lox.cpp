// Low-rank extrapolation, tensor by tensor.
#include "experiments/subspace/lox.h"

#include <algorithm>
#include <numeric>

#include "experiments/subspace/factors.h"
#include "experiments/subspace/formed_weights.h"
#include "runtime/linalg/bases.h"
#include "runtime/linalg/parallel.h"
#include "runtime/linalg/products.h"
#include "runtime/memory.h"

namespace subspect::experiments::subspace {

namespace {

using runtime::Tensor;
using runtime::linalg::LeftBasis;

class Extrapolation {
 public:
  Extrapolation(RunContext& context, const WeightSource& base, const WeightSource& aligned, const LoxSettings& settings)
      : context_(context), base_(base), aligned_(aligned), settings_(settings) {}

  std::optional<runtime::linalg::BasisRequest> request(const std::string& tensor) const {
    if (!is_matrix(tensor)) return std::nullopt;
    runtime::linalg::BasisRequest request{alignment(tensor), tensor, settings_.basis};
    request.options.rank = std::min({settings_.rank, request.matrix.size(0), request.matrix.size(1)});
    return request;
  }

  /// A + alpha Proj_k(V) as it is stored.
  Tensor form(const std::string& tensor, const LeftBasis& basis, LoxTensor& about) const {
    runtime::Stream& stream = context_.stream;
    const Tensor v = basis.matrix().defined() ? basis.matrix() : alignment(tensor);
    Tensor weights = aligned_.load(stream, tensor);
    const double squared = runtime::linalg::squared_norm(stream, v);
    about = {tensor, v.size(0), v.size(1), 0, squared, squared, "direction", 0.0};
    if (is_matrix(tensor)) {
      about.rank = std::min(settings_.rank, basis.rank());
      about.method = runtime::linalg::name(basis.method());
      about.residual = basis.residual();
      const auto k = static_cast<std::ptrdiff_t>(about.rank);
      const runtime::linalg::Coefficients coefficients = basis.coefficients(stream, v);
      about.projected = std::accumulate(coefficients.row_energy.begin(), coefficients.row_energy.begin() + k, 0.0);
      if (k > 0) {
        runtime::linalg::add_projection(stream, basis.vectors(stream, about.rank),
                                        coefficients.values.narrow(0, 0, about.rank), settings_.alpha,
                                        as_matrix(weights));
      }
    } else {
      about.rank = squared > 0.0 ? 1 : 0;
      runtime::linalg::add_scaled(stream, v.view(weights.shape()), settings_.alpha, weights);
    }
    return runtime::linalg::on_host(stream, weights.to(stream, aligned_.info(tensor).dtype));
  }

 private:
  bool is_matrix(const std::string& tensor) const { return aligned_.info(tensor).shape.size() >= 2; }
  Tensor alignment(const std::string& tensor) const {
    return as_matrix(difference(context_.stream, aligned_, base_, tensor));
  }

  RunContext& context_;
  const WeightSource& base_;
  const WeightSource& aligned_;
  const LoxSettings& settings_;
};

}  // namespace

LoxModel extrapolate(RunContext& context, const WeightSource& base, const WeightSource& aligned,
                     const std::vector<std::string>& tensors, const LoxSettings& settings) {
  const Extrapolation extrapolation(context, base, aligned, settings);
  LoxModel model;
  model.tensors.resize(tensors.size());
  std::vector<Tensor> formed(tensors.size());
  auto progress = context.progress.begin("extrapolate", static_cast<int64_t>(tensors.size()), "tensors");
  const auto finish = [&](size_t i, const LeftBasis& basis) {
    formed[i] = extrapolation.form(tensors[i], basis, model.tensors[i]);
    progress.advance();
  };
  runtime::linalg::for_each_range_within(
      context.stream, tensors.size(), runtime::available_memory(context.stream) / 2,
      [&](size_t i) { return factor_workspace_bytes(aligned.info(tensors[i]).shape, 1); },
      [&](size_t begin, size_t end) {
        runtime::linalg::for_each_basis(
            context.stream, end - begin, [&](size_t i) { return extrapolation.request(tensors[begin + i]); },
            [&](size_t i, const LeftBasis& basis) { finish(begin + i, basis); });
      },
      [&] { context.stop_if_interrupted(); });
  model.weights = stored_weights(aligned);
  for (size_t i = 0; i < tensors.size(); ++i) model.weights[tensors[i]] = std::move(formed[i]);
  return model;
}

}  // namespace subspect::experiments::subspace
