// `kind: arithmetic`: task arithmetic. Models A + sum_i c_i (F_i - A) on a grid of coefficients c, and what they do;
// with one update this is the line from A to F and beyond.
// Method: Ilharco et al. 2023, "Editing Models with Task Arithmetic" (arXiv 2212.04089).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/formed_models.h"

namespace subspect::experiments {

class Arithmetic final : public Experiment {
 public:
  std::string_view kind() const override { return "arithmetic"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  /// The coefficients of one model, in the order of finetuned.
  using Point = std::vector<double>;

  Named<ModelPath> models() const;
  /// The aligned model, then the product of all coefficients without it.
  std::vector<Point> grid() const;
  std::string label(const Point& point) const;

  ModelPath aligned_;
  Named<ModelPath> finetuned_;
  Named<std::vector<double>> coefficients_;
  std::vector<std::string> tensors_ = {"*"};
  subspace::FormedModelFields formed_;
};

}  // namespace subspect::experiments
