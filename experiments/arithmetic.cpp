// Task arithmetic: the grid, the geometry of the updates, and forming each model.
#include "experiments/arithmetic.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/subspace/checkpoints.h"
#include "experiments/subspace/formed_weights.h"
#include "experiments/subspace/update_products.h"
#include "runtime/linalg/products.h"

namespace subspect::experiments {

namespace {

using runtime::Tensor;
using subspace::UpdateProducts;
using subspace::WeightSource;

/// Norms of the updates and the cosines of every two.
void write_updates(const RunDir& dir, const std::vector<WeightSource>& checkpoints, const UpdateProducts& products) {
  Table table({"update", "other", "norm", "norm_other", "cosine"});
  for (size_t i = 0; i < products.size(); ++i) {
    for (size_t j = 0; j <= i; ++j) {
      const double norm = std::sqrt(products[i][i]), other = std::sqrt(products[j][j]);
      table.append(NamedCells{
          {"update", checkpoints[i + 1].name()},
          {"other", checkpoints[j + 1].name()},
          {"norm", norm},
          {"norm_other", other},
          {"cosine", norm * other > 0 ? std::clamp(products[i][j] / (norm * other), -1.0, 1.0) : std::nan("")}});
    }
  }
  write_whole_table(dir, "updates", table);
}

/// || sum_i c_i D_i ||.
double norm_of_sum(const UpdateProducts& products, const std::vector<double>& coefficients) {
  double squared = 0.0;
  for (size_t i = 0; i < products.size(); ++i) {
    for (size_t j = 0; j < products.size(); ++j) squared += coefficients[i] * coefficients[j] * products[i][j];
  }
  return std::sqrt(std::max(0.0, squared));
}

/// A + sum_i c_i (F_i - A) of one tensor, in float32.
Tensor combine(runtime::Stream& stream, const std::vector<WeightSource>& checkpoints, const std::string& tensor,
               const std::vector<double>& coefficients) {
  Tensor weights = checkpoints[0].load(stream, tensor);
  for (size_t i = 0; i < coefficients.size(); ++i) {
    if (coefficients[i] == 0.0) continue;
    const Tensor update = difference(stream, checkpoints[i + 1], checkpoints[0], tensor);
    runtime::linalg::add_scaled(stream, update, coefficients[i], weights);
  }
  return weights;
}

}  // namespace

void Arithmetic::visit(Fields& f) {
  f.field("aligned", aligned_, "A, the model that updates are added to", Rule().required());
  f.field("finetuned", finetuned_, "name -> F, models fine-tuned from A; their updates are D = F - A",
          Rule().required().not_empty());
  subspace::check_names(f, finetuned_, {"aligned"});
  f.field("coefficients", coefficients_,
          "name of an update -> its coefficients, of which every combination is a model; an update that is not named "
          "here gets 0, 0.5 and 1",
          Rule().not_empty());
  for (const auto& [name, values] : coefficients_) {
    const auto same = [&, &key = name](const auto& model) { return model.first == key; };
    f.check(std::any_of(finetuned_.begin(), finetuned_.end(), same), "coefficients",
            fmt::format("there is no update '{}'", name), "use names from finetuned");
    f.check(std::set<double>(values.begin(), values.end()).size() == values.size(), "coefficients",
            fmt::format("those of '{}' have one twice", name), "list each once");
  }
  if (f.reading()) {
    for (const auto& model : finetuned_) {
      const auto same = [&](const auto& entry) { return entry.first == model.first; };
      if (std::any_of(coefficients_.begin(), coefficients_.end(), same)) continue;
      coefficients_.emplace_back(model.first, std::vector<double>{0.0, 0.5, 1.0});
    }
  }
  f.field("tensors", tensors_, "globs of tensors that are changed; the others stay those of A", Rule().not_empty());
  formed_.visit(f);
}

Named<ModelPath> Arithmetic::models() const {
  return subspace::listed({{"aligned", aligned_}}, finetuned_);
}

std::vector<Arithmetic::Point> Arithmetic::grid() const {
  std::vector<Point> points = {{}};
  for (const auto& model : finetuned_) {
    const auto given = std::find_if(coefficients_.begin(), coefficients_.end(),
                                    [&](const auto& entry) { return entry.first == model.first; });
    std::vector<Point> longer;
    for (const Point& point : points) {
      for (const double value : given->second) {
        longer.push_back(point);
        longer.back().push_back(value);
      }
    }
    points = std::move(longer);
  }
  const Point origin(finetuned_.size(), 0.0);
  std::erase(points, origin);
  points.insert(points.begin(), origin);
  return points;
}

std::string Arithmetic::label(const Point& point) const {
  if (std::all_of(point.begin(), point.end(), [](double c) { return c == 0.0; })) return "aligned";
  std::string text;
  for (size_t i = 0; i < point.size(); ++i) {
    text += fmt::format("{}{}-{}", i == 0 ? "" : "-", finetuned_[i].first, point[i]);
  }
  return text;
}

Plan Arithmetic::plan(const PlanContext& context) const {
  Plan plan;
  plan.steps.push_back(fmt::format("measure {} updates", finetuned_.size()));
  subspace::plan_formed_models(context, formed_, aligned_, static_cast<int64_t>(grid().size()), plan);
  if (!formed_.needs_weights()) {
    plan.warnings.emplace_back("no model is evaluated or saved: only the norms of the updates are measured");
  }
  if (const auto opened = subspace::open_planned(context, models()))
    select_tensors(opened->front(), tensors_, "tensors");
  return plan;
}

void Arithmetic::run(RunContext& context) {
  const std::vector<WeightSource> checkpoints = subspace::open_checkpoints(context, models());
  const std::vector<std::string> tensors = select_tensors(checkpoints.front(), tensors_, "tensors");
  const UpdateProducts products = subspace::total(update_products(context, checkpoints, tensors), finetuned_.size());
  write_updates(context.dir, checkpoints, products);
  std::vector<std::string> keys = {"model"};
  for (const auto& model : finetuned_) keys.push_back("coefficient_" + model.first);
  std::vector<subspace::FormedModel> formed;
  for (const Point& point : grid()) {
    subspace::FormedModel& each = formed.emplace_back();
    each.name = label(point);
    each.key = {{"model", each.name}};
    for (size_t i = 0; i < point.size(); ++i) each.key.emplace_back(keys[i + 1], point[i]);
    each.facts = {{"update_norm", norm_of_sum(products, point)}};
    each.origin = checkpoints.data();
    if (formed_.save_models) each.folder = std::filesystem::path("models") / each.name;
    if (each.name != "aligned") each.against = {{"aligned", "aligned"}};
    each.weights = [&, point] {
      model::NamedTensors weights = stored_weights(checkpoints.front());
      replace_tensors(
          context.stream, checkpoints.front(), tensors,
          [&](size_t i) { return combine(context.stream, checkpoints, tensors[i], point); }, weights);
      return weights;
    };
  }
  subspace::FormedModels(context, formed_, checkpoints.front().directory(), keys, {"update_norm"}).run(formed);
}

}  // namespace subspect::experiments
