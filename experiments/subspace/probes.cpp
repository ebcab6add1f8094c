// Two directions and their held-out scores.
#include "experiments/subspace/probes.h"

#include <lapacke.h>

#include <algorithm>
#include <cmath>

#include "experiments/subspace/columns.h"
#include "runtime/error.h"
#include "runtime/linalg/finite.h"
#include "runtime/linalg/products.h"

namespace subspect::experiments::subspace {

namespace {

namespace linalg = runtime::linalg;
using runtime::Stream;
using runtime::Tensor;
using Vector = std::vector<double>;

/// Some of the prompts of both sets.
struct Part {
  Tensor useful;
  Tensor harmful;
};

linalg::FloatMatrix matrix_of(const Tensor& states) {
  return linalg::matrix_of<float>(states);
}

double mean(const Vector& values) {
  double sum = 0.0;
  for (const double x : values) sum += x;
  return sum / static_cast<double>(values.size());
}

double squared_deviations(const Vector& values) {
  const double middle = mean(values);
  double sum = 0.0;
  for (const double x : values) sum += (x - middle) * (x - middle);
  return sum;
}

/// mean(harmful) - mean(useful).
Vector difference_of_means(const Part& train) {
  const Vector useful = row_means(train.useful);
  Vector direction = row_means(train.harmful);
  for (size_t d = 0; d < direction.size(); ++d) direction[d] -= useful[d];
  return direction;
}

/// Both sets side by side, [hidden, useful + harmful], less the mean of all columns.
Tensor centred_together(const Part& train) {
  const int64_t hidden = train.useful.size(0);
  const int64_t useful = train.useful.size(1);
  const int64_t harmful = train.harmful.size(1);
  Tensor all = linalg::host_matrix(hidden, useful + harmful);
  for (int64_t d = 0; d < hidden; ++d) {
    float* row = all.values<float>().data() + d * (useful + harmful);
    std::copy_n(train.useful.values<float>().data() + d * useful, useful, row);
    std::copy_n(train.harmful.values<float>().data() + d * harmful, harmful, row + useful);
  }
  center_rows(all);
  return all;
}

/// op(states) x, computed on the stream's device.
Vector times(Stream& stream, linalg::Op op, const Tensor& states, const Vector& x) {
  const Tensor on_stream = linalg::to_device(stream, x);
  const Tensor y = Tensor::empty(stream, {states.size(op == linalg::Op::none ? 0 : 1), 1}, runtime::DType::float64);
  linalg::multiply_narrow(stream, op, matrix_of(states), linalg::matrix_of<double>(on_stream),
                          linalg::matrix_of<double>(y));
  return y.to_host<double>(stream);
}

/// x = (gram + lambda I)^-1 x with lambda = probe_ridge trace / hidden; a trace of 0 leaves x alone.
void solve_ridge(Vector& gram, Vector& x, int64_t hidden, const std::string& label) {
  const size_t side = x.size();
  double trace = 0.0;
  for (size_t i = 0; i < side; ++i) trace += gram[i * side + i];
  if (trace == 0.0) return;
  const double lambda = probe_ridge * trace / static_cast<double>(hidden);
  for (size_t i = 0; i < side; ++i) gram[i * side + i] += lambda;
  const auto n = static_cast<lapack_int>(side);
  if (LAPACKE_dposv(LAPACK_COL_MAJOR, 'U', n, 1, gram.data(), n, x.data(), n) != 0) {
    throw runtime::Error("the linear probe's system is not positive definite", label,
                         "look for states of extreme size in this model");
  }
}

/// (X X^T + lambda I)^-1 X y = X (X^T X + lambda I)^-1 y, with X y the difference of the means: y = 1 / n_harmful and
/// -1 / n_useful.
Vector discriminant(Stream& stream, const Part& train, const std::string& label) {
  const Tensor x = centred_together(train);
  const int64_t hidden = x.size(0);
  const int64_t count = x.size(1);
  const int64_t side = std::min(hidden, count);
  const Tensor on_stream = Tensor::empty(stream, {side, side}, runtime::DType::float64);
  if (hidden <= count) {
    linalg::gram_of_rows(stream, matrix_of(x), 1.0, on_stream.data<double>());
    Vector gram = on_stream.to_host<double>(stream);
    Vector direction = difference_of_means(train);
    solve_ridge(gram, direction, hidden, label);
    return direction;
  }
  linalg::gram_of_cols(stream, matrix_of(x), 1.0, on_stream.data<double>());
  Vector gram = on_stream.to_host<double>(stream);
  const int64_t useful = train.useful.size(1);
  Vector dual(static_cast<size_t>(count), 1.0 / static_cast<double>(count - useful));
  std::fill_n(dual.begin(), useful, -1.0 / static_cast<double>(useful));
  solve_ridge(gram, dual, hidden, label);
  return times(stream, linalg::Op::none, x, dual);
}

Vector scores_of(Stream& stream, const Tensor& states, const Vector& direction) {
  return times(stream, linalg::Op::transpose, states, direction);
}

/// The direction that a method finds on the training prompts.
Vector direction_of(Stream& stream, ProbeMethod method, const Part& train, const std::string& label) {
  return method == ProbeMethod::linear_probe ? discriminant(stream, train, label) : difference_of_means(train);
}

/// One fold: which of its prompts are called right, and how far apart the two sets' scores are.
struct FoldScore {
  std::vector<bool> useful_right;
  std::vector<bool> harmful_right;
  double separation = 0;
};

FoldScore score(Stream& stream, const Vector& direction, const Part& train, const Part& held_out) {
  const double threshold =
      (mean(scores_of(stream, train.useful, direction)) + mean(scores_of(stream, train.harmful, direction))) / 2.0;
  const Vector useful = scores_of(stream, held_out.useful, direction);
  const Vector harmful = scores_of(stream, held_out.harmful, direction);
  FoldScore result;
  for (const double x : useful) result.useful_right.push_back(x <= threshold);
  for (const double x : harmful) result.harmful_right.push_back(x > threshold);
  const auto n = static_cast<int64_t>(useful.size() + harmful.size());
  const double deviations = squared_deviations(useful) + squared_deviations(harmful);
  const double pooled = std::sqrt(deviations / static_cast<double>(std::max<int64_t>(n - 2, 1)));
  result.separation = (mean(harmful) - mean(useful)) / pooled;
  return result;
}

/// The folds' verdicts in the order of the prompts.
std::vector<bool> interleaved(const std::vector<std::vector<bool>>& folds, int64_t count) {
  std::vector<bool> all;
  for (size_t j = 0; j < static_cast<size_t>(count); ++j) all.push_back(folds[j % folds.size()][j / folds.size()]);
  return all;
}

ProbeResult cross_validated(Stream& stream, ProbeMethod method, const std::vector<std::pair<Part, Part>>& folds,
                            const std::string& label) {
  std::vector<std::vector<bool>> useful, harmful;
  Vector separations;
  int64_t useful_count = 0;
  int64_t harmful_count = 0;
  for (const auto& [train, held_out] : folds) {
    FoldScore fold = score(stream, direction_of(stream, method, train, label), train, held_out);
    useful_count += held_out.useful.size(1);
    harmful_count += held_out.harmful.size(1);
    separations.push_back(fold.separation);
    useful.push_back(std::move(fold.useful_right));
    harmful.push_back(std::move(fold.harmful_right));
  }
  ProbeResult result;
  result.method = method;
  result.n = useful_count + harmful_count;
  result.separation = mean(separations);
  result.right = interleaved(useful, useful_count);
  const std::vector<bool> others = interleaved(harmful, harmful_count);
  result.right.insert(result.right.end(), others.begin(), others.end());
  return result;
}

}  // namespace

std::string_view name(ProbeMethod method) {
  return method == ProbeMethod::linear_probe ? "linear_probe" : "difference_of_means";
}

std::vector<ProbeResult> probe_states(Stream& stream, const Tensor& useful, const Tensor& harmful,
                                      const ProbeOptions& options) {
  if (useful.size(1) < 2 || harmful.size(1) < 2) return {};
  for (const Tensor* states : {&useful, &harmful}) linalg::require_finite(*states, options.label, "before its probes");
  const int64_t count = std::min({options.folds, useful.size(1), harmful.size(1)});
  std::vector<std::pair<Part, Part>> folds;  // what trains, what is held out
  for (int64_t fold = 0; fold < count; ++fold) {
    folds.push_back({{other_columns(useful, fold, count), other_columns(harmful, fold, count)},
                     {every_column(useful, fold, count), every_column(harmful, fold, count)}});
  }
  const statistics::Resamples resamples(useful.size(1) + harmful.size(1), probe_resamples, options.seed);
  std::vector<ProbeResult> results;
  for (const ProbeMethod method : {ProbeMethod::difference_of_means, ProbeMethod::linear_probe}) {
    ProbeResult result = cross_validated(stream, method, folds, options.label);
    const statistics::MeanInterval accuracy =
        statistics::mean_interval(resamples, Vector(result.right.begin(), result.right.end()), 0.0, 1.0);
    result.accuracy = accuracy.mean;
    result.accuracy_interval = accuracy.interval;
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace subspect::experiments::subspace
