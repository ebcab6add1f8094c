// Optimizers: what AdamW and SGD share, and the two of them.
#include "runtime/optim/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/dispatch.h"
#include "runtime/ops/checks.h"
#include "runtime/random.h"

namespace subspect::runtime::optim {

namespace {

const std::string& first_name(const Parameter& parameter) {
  require(!parameter.parts.empty(), "optimizer", "a trained parameter must have a name.");
  return parameter.parts.front().name;
}

double decay_of(const Parameter& parameter, double weight_decay) {
  return parameter.value.dim() >= 2 ? weight_decay : 0.0;
}

int64_t blocks_of(int64_t count) {
  return (count + kernels::moment_block - 1) / kernels::moment_block;
}

// Bytes of the host in the memory of the stream's device.
template <class T>
Tensor upload(Stream& stream, const std::vector<T>& values) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  Tensor tensor = Tensor::empty(stream, {bytes}, DType::uint8);
  stream.copy_from_host(tensor.raw(), values.data(), bytes);
  return tensor;
}

}  // namespace

Optimizer::Optimizer(Stream& stream, std::span<Parameter* const> parameters, double lr, double weight_decay,
                     const StateFormat& format, std::span<const std::string_view> moments)
    : stream_(&stream), format_(format), lr_(lr), weight_decay_(weight_decay) {
  const MemoryScope scope(*stream.allocator(), MemoryTag::optimizer);
  for (Parameter* parameter : parameters) {
    if (!parameter->trained()) continue;
    const Tensor& value = parameter->value;
    require(value.dtype() == DType::float32 || value.dtype() == DType::bfloat16, "optimizer",
            "parameters must be float32 or bfloat16. Received {}.", runtime::name(value.dtype()));
    Slot slot{.parameter = parameter, .name = first_name(*parameter), .master = {}, .moments = {}};
    if (format.master_weights && value.dtype() != DType::float32) slot.master = value.to(stream, DType::float32);
    const bool coded = format.int8_moments && value.numel() >= format.smallest_int8_tensor;
    for (const std::string_view moment : moments) {
      KeptMoment& kept = slot.moments.emplace_back();
      kept.name = moment;
      kept.values = Tensor::zeros(stream, value.shape(), coded ? DType::uint8 : DType::float32);
      if (coded) kept.scales = Tensor::zeros(stream, {blocks_of(value.numel())}, DType::float32);
    }
    slots_.push_back(std::move(slot));
  }
}

kernels::OptimizerTensor Optimizer::record_of(const Slot& slot) const {
  const Parameter& parameter = *slot.parameter;
  const Tensor& weights = slot.master.defined() ? slot.master : parameter.value;
  kernels::OptimizerTensor record;
  if (weights.dtype() == DType::float32) record.weights = weights.data<float>();
  if (parameter.value.dtype() == DType::bfloat16) record.rounded = parameter.value.data<bfloat16>();
  record.grad = parameter.grad.data<float>();
  const std::array<kernels::Moment*, 2> moments = {&record.first, &record.second};
  for (size_t i = 0; i < slot.moments.size(); ++i) {
    const KeptMoment& kept = slot.moments[i];
    *moments[i] = kept.scales.defined()
                      ? kernels::Moment{nullptr, kept.values.data<uint8_t>(), kept.scales.data<float>()}
                      : kernels::Moment{kept.values.data<float>(), nullptr, nullptr};
  }
  record.count = parameter.value.numel();
  record.random_stream = stream_of(slot.name);
  record.weight_decay = static_cast<float>(decay_of(parameter, weight_decay_));
  return record;
}

// The list on the device; made anew only when a tensor has moved.
kernels::TensorList Optimizer::list() {
  std::vector<kernels::OptimizerTensor> records;
  records.reserve(slots_.size());
  for (const Slot& slot : slots_) records.push_back(record_of(slot));
  if (records != records_ || !device_records_.defined()) {
    std::vector<kernels::TensorChunk> chunks(static_cast<size_t>(kernels::count_chunks(records)));
    kernels::write_chunks(records, chunks.data());
    const MemoryScope scope(*stream_->allocator(), MemoryTag::optimizer);
    device_records_ = upload(*stream_, records);
    device_chunks_ = upload(*stream_, chunks);
    records_ = std::move(records);
  }
  const auto chunk_bytes = static_cast<int64_t>(sizeof(kernels::TensorChunk));
  return {static_cast<const kernels::OptimizerTensor*>(device_records_.raw()),
          static_cast<const kernels::TensorChunk*>(device_chunks_.raw()), device_chunks_.numel() / chunk_bytes};
}

GradientNorm Optimizer::step(const StepParams& params) {
  const kernels::TensorList tensors = list();
  const Tensor summary = Tensor::empty(*stream_, {sizeof(kernels::GradientSummary)}, DType::uint8);
  const Tensor scale = Tensor::empty(*stream_, {1}, DType::float32);
  auto* found = static_cast<kernels::GradientSummary*>(summary.raw());
  dispatch_device(*stream_, [&]<class D>(kernels::Context<D> context) {
    kernels::SquaredNormParams p{tensors, found, nullptr};
    const Tensor scratch = ops::workspace(*stream_, kernels::squared_norm_workspace_bytes<D>(p));
    p.workspace = scratch.raw();
    kernels::squared_norm<D>(context, p);
    kernels::clip_scale<D>(context, {found, params.max_grad_norm, scale.data<float>()});
  });
  update(*stream_, {.list = tensors,
                    .lr = static_cast<float>(lr_ * params.lr_factor),
                    .number = steps_ + 1,
                    .grad_scale = scale.data<float>(),
                    .stochastic_rounding = format_.stochastic_rounding,
                    .seed = format_.seed});
  kernels::GradientSummary read;
  stream_->copy_to_host(&read, summary.raw(), sizeof(read));
  GradientNorm result{.norm = std::sqrt(read.squared_norm), .first_non_finite = {}, .non_finite = read.nonfinite};
  if (read.nonfinite > 0) {
    result.first_non_finite = slots_[static_cast<size_t>(read.first_nonfinite)].name;
  } else {
    ++steps_;
  }
  return result;
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
    for (const KeptMoment& kept : slot.moments) {
      tensors.emplace_back(slot.name + "." + kept.name, kept.values);
      if (kept.scales.defined()) tensors.emplace_back(slot.name + "." + kept.name + ".scale", kept.scales);
    }
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
  AdamW(Stream& stream, std::span<Parameter* const> parameters, const AdamWConfig& config, const StateFormat& format)
      : Optimizer(stream, parameters, config.lr, config.weight_decay, format, adamw_moments), config_(config) {}

 private:
  void update(Stream& stream, const kernels::UpdateParams& params) override {
    dispatch_device(stream, [&]<class D>(kernels::Context<D> context) {
      kernels::adamw_step<D>(context, {.update = params,
                                       .beta1 = static_cast<float>(config_.beta1),
                                       .beta2 = static_cast<float>(config_.beta2),
                                       .eps = static_cast<float>(config_.eps)});
    });
  }

  AdamWConfig config_;
};

class Sgd final : public Optimizer {
 public:
  Sgd(Stream& stream, std::span<Parameter* const> parameters, const SgdConfig& config, const StateFormat& format)
      : Optimizer(stream, parameters, config.lr, config.weight_decay, format,
                  config.momentum != 0 ? std::span<const std::string_view>(sgd_moments)
                                       : std::span<const std::string_view>()),
        momentum_(static_cast<float>(config.momentum)) {}

 private:
  void update(Stream& stream, const kernels::UpdateParams& params) override {
    dispatch_device(stream, [&]<class D>(kernels::Context<D> context) {
      kernels::sgd_step<D>(context, {.update = params, .momentum = momentum_});
    });
  }

  float momentum_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(Stream& stream, std::span<Parameter* const> parameters, const AdamWConfig& config,
                                      const StateFormat& format) {
  return std::make_unique<AdamW>(stream, parameters, config, format);
}

std::unique_ptr<Optimizer> make_sgd(Stream& stream, std::span<Parameter* const> parameters, const SgdConfig& config,
                                    const StateFormat& format) {
  return std::make_unique<Sgd>(stream, parameters, config, format);
}

void zero_grads(Stream& stream, std::span<Parameter* const> parameters) {
  for (const Parameter* parameter : parameters) {
    if (parameter->trained()) parameter->grad.fill_zero(stream);
  }
}

}  // namespace subspect::runtime::optim
