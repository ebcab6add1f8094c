// Optimizers: what AdamW and SGD share, the two of them, and the gradient norm.
#include "runtime/optim/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/optimizer.h"
#include "runtime/dispatch.h"
#include "runtime/ops/checks.h"

namespace subspect::runtime::optim {

namespace {

const std::string& first_name(const Parameter& parameter) {
  require(!parameter.parts.empty(), "optimizer", "a trained parameter must have a name.");
  return parameter.parts.front().name;
}

double decay_of(const Parameter& parameter, double weight_decay) {
  return parameter.value.dim() >= 2 ? weight_decay : 0.0;
}

}  // namespace

Optimizer::Optimizer(Stream& stream, std::span<Parameter* const> parameters, double lr, bool master_weights,
                     std::span<const std::string_view> moments)
    : stream_(&stream), lr_(lr) {
  const MemoryScope scope(*stream.allocator(), MemoryTag::optimizer);
  for (Parameter* parameter : parameters) {
    if (!parameter->trained()) continue;
    Slot slot{.parameter = parameter, .name = first_name(*parameter), .master = {}, .moments = {}};
    if (master_weights && parameter->value.dtype() != DType::float32) {
      slot.master = parameter->value.to(stream, DType::float32);
    }
    for (const std::string_view moment : moments) {
      slot.moments.emplace_back(moment, Tensor::zeros(stream, parameter->value.shape(), DType::float32));
    }
    slots_.push_back(std::move(slot));
  }
}

void Optimizer::step(const StepParams& params) {
  ++steps_;
  for (Slot& slot : slots_) {
    update(*stream_, slot, static_cast<float>(lr_ * params.lr_factor), static_cast<float>(params.gradient_scale),
           steps_);
  }
}

const Tensor& Optimizer::weights(const Parameter& parameter) const {
  for (const Slot& slot : slots_) {
    if (slot.parameter == &parameter && slot.master.defined()) return slot.master;
  }
  return parameter.value;
}

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> tensors;
  for (const Slot& slot : slots_) {
    if (slot.master.defined()) tensors.emplace_back(slot.name + ".master", slot.master);
    for (const auto& [suffix, moment] : slot.moments) tensors.emplace_back(slot.name + "." + suffix, moment);
  }
  return tensors;
}

void Optimizer::load_state(std::span<const NamedTensor> tensors, int64_t steps, const std::string& where) {
  for (const auto& [name, target] : state()) {
    const std::string& wanted = name;
    const auto found =
        std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& given) { return given.first == wanted; });
    if (found == tensors.end() || found->second.shape() != target.shape() || found->second.dtype() != target.dtype()) {
      throw Error(fmt::format("the optimizer state '{}' is missing or has another shape or type", wanted), where,
                  "start the run anew in another directory");
    }
    target.copy_from(*stream_, found->second);
  }
  steps_ = steps;
}

namespace {

constexpr std::array<std::string_view, 2> adamw_moments = {"exp_avg", "exp_avg_sq"};
constexpr std::array<std::string_view, 1> sgd_moments = {"momentum_buffer"};

class AdamW final : public Optimizer {
 public:
  AdamW(Stream& stream, std::span<Parameter* const> parameters, const AdamWConfig& config, bool master_weights)
      : Optimizer(stream, parameters, config.lr, master_weights, adamw_moments), config_(config) {}

 private:
  void update(Stream& stream, Slot& slot, float lr, float gradient_scale, int64_t step) override {
    const Tensor& value = slot.parameter->value;
    dispatch(stream, value.dtype(), "adamw", [&]<class D, class T>(kernels::Context<D> context) {
      kernels::adamw_step<D, T>(context,
                                {.param = value.data<T>(),
                                 .master = slot.master.defined() ? slot.master.data<float>() : nullptr,
                                 .grad = slot.parameter->grad.data<float>(),
                                 .moment1 = slot.moments[0].second.data<float>(),
                                 .moment2 = slot.moments[1].second.data<float>(),
                                 .count = value.numel(),
                                 .lr = lr,
                                 .beta1 = static_cast<float>(config_.beta1),
                                 .beta2 = static_cast<float>(config_.beta2),
                                 .eps = static_cast<float>(config_.eps),
                                 .weight_decay = static_cast<float>(decay_of(*slot.parameter, config_.weight_decay)),
                                 .step = step,
                                 .grad_scale = gradient_scale});
    });
  }

  AdamWConfig config_;
};

class Sgd final : public Optimizer {
 public:
  Sgd(Stream& stream, std::span<Parameter* const> parameters, const SgdConfig& config, bool master_weights)
      : Optimizer(stream, parameters, config.lr, master_weights,
                  config.momentum != 0 ? std::span<const std::string_view>(sgd_moments)
                                       : std::span<const std::string_view>()),
        config_(config) {}

 private:
  void update(Stream& stream, Slot& slot, float lr, float gradient_scale, int64_t) override {
    const Tensor& value = slot.parameter->value;
    dispatch(stream, value.dtype(), "sgd", [&]<class D, class T>(kernels::Context<D> context) {
      kernels::sgd_step<D, T>(context,
                              {.param = value.data<T>(),
                               .master = slot.master.defined() ? slot.master.data<float>() : nullptr,
                               .grad = slot.parameter->grad.data<float>(),
                               .velocity = slot.moments.empty() ? nullptr : slot.moments[0].second.data<float>(),
                               .count = value.numel(),
                               .lr = lr,
                               .momentum = static_cast<float>(config_.momentum),
                               .weight_decay = static_cast<float>(decay_of(*slot.parameter, config_.weight_decay)),
                               .grad_scale = gradient_scale});
    });
  }

  SgdConfig config_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(Stream& stream, std::span<Parameter* const> parameters, const AdamWConfig& config,
                                      bool master_weights) {
  return std::make_unique<AdamW>(stream, parameters, config, master_weights);
}

std::unique_ptr<Optimizer> make_sgd(Stream& stream, std::span<Parameter* const> parameters, const SgdConfig& config,
                                    bool master_weights) {
  return std::make_unique<Sgd>(stream, parameters, config, master_weights);
}

void zero_grads(Stream& stream, std::span<Parameter* const> parameters) {
  for (const Parameter* parameter : parameters) {
    if (parameter->trained()) parameter->grad.fill_zero(stream);
  }
}

GradientNorm gradient_norm(Stream& stream, std::span<Parameter* const> parameters) {
  const auto count = static_cast<int64_t>(parameters.size());
  const Tensor squares = Tensor::zeros(stream, {count}, DType::float64);
  const Tensor non_finite = Tensor::zeros(stream, {count}, DType::int64);
  for (int64_t i = 0; i < count; ++i) {
    const Parameter& parameter = *parameters[static_cast<size_t>(i)];
    if (!parameter.trained()) continue;
    dispatch_device(stream, [&]<class D>(kernels::Context<D> context) {
      kernels::SquaredNormParams<float> p{.x = parameter.grad.data<float>(),
                                          .sum = squares.data<double>() + i,
                                          .nonfinite = non_finite.data<int64_t>() + i,
                                          .count = parameter.grad.numel()};
      const Tensor scratch = ops::workspace(stream, kernels::squared_norm_workspace_bytes<D, float>(p));
      p.workspace = scratch.raw();
      kernels::squared_norm<D, float>(context, p);
    });
  }
  GradientNorm result;
  const std::vector<double> sums = squares.to_host<double>(stream);
  const std::vector<int64_t> bad = non_finite.to_host<int64_t>(stream);
  for (size_t i = 0; i < sums.size(); ++i) {
    if (bad[i] > 0 && result.non_finite == 0) result.first_non_finite = first_name(*parameters[i]);
    result.non_finite += bad[i];
    result.norm += sums[i];
  }
  result.norm = std::sqrt(result.norm);
  return result;
}

double clip_scale(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace subspect::runtime::optim
