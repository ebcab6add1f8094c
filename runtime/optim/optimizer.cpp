// Optimizers: what AdamW and SGD share, and the two of them.
#include "runtime/optim/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/dispatch.h"
#include "runtime/ops/checks.h"
#include "runtime/optim/offload.h"
#include "runtime/random.h"
#include "runtime/upload.h"

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

// A tensor of the state where it lies.
std::byte* where_it_is(const Tensor& kept, int64_t first, int64_t /*count*/) {
  return static_cast<std::byte*>(kept.raw()) + first * element_size(kept.dtype());
}

}  // namespace

comm::Split split(const Tensor& tensor, const Sharding& sharding, int64_t group) {
  comm::Split result{tensor, {}};
  for (int rank = 0; rank <= sharding.rank_count(); ++rank) {
    const int first = rank * sharding.slices_per_rank();
    result.begins.push_back(comm::slice_begin(tensor.numel(), first, sharding.slices, group));
  }
  return result;
}

Tensor gather_whole(Stream& stream, const StateTensor& state, const Sharding& sharding) {
  Tensor whole = state.part;
  if (sharding.rank_count() > 1) {
    std::vector<comm::Message> sends, receives;
    if (sharding.rank() == 0) {
      whole = Tensor::empty(stream, state.shape, state.dtype());
      const comm::Split shared{whole, state.begins};
      shared.part(0).copy_from(stream, state.part);
      for (int rank = 1; rank < sharding.rank_count(); ++rank) {
        if (const Tensor part = shared.part(rank); part.numel() > 0) receives.push_back({rank, part});
      }
    } else if (state.part.numel() > 0) {
      const bool sendable = state.part.device() == stream.device();
      sends.push_back({0, sendable ? state.part : state.part.clone(stream)});
    }
    sharding.ranks->exchange(stream, sends, receives);
    if (sharding.rank() != 0) return {};
  }
  return whole.device().type == DeviceType::cpu ? whole : whole.to_cpu(stream, whole.dtype());
}

Optimizer::Optimizer(Stream& stream, std::span<Parameter* const> parameters, double lr, double weight_decay,
                     const StateFormat& format, const Sharding& sharding, std::span<const std::string_view> moments)
    : stream_(&stream),
      format_(format),
      sharding_(sharding),
      offloaded_(format.offload ? std::make_unique<OffloadedState>(stream) : nullptr),
      lr_(lr),
      weight_decay_(weight_decay) {
  require(sharding.slices > 0 && sharding.slices % sharding.rank_count() == 0, "optimizer",
          "slices must be a multiple of the ranks. Received {} and {}.", sharding.slices, sharding.rank_count());
  const MemoryScope scope(*stream.allocator(), MemoryTag::optimizer);
  for (Parameter* parameter : parameters) {
    if (!parameter->trained()) continue;
    const Tensor& value = parameter->value;
    require(value.dtype() == DType::float32 || value.dtype() == DType::bfloat16, "optimizer",
            "parameters must be float32 or bfloat16. Received {}.", runtime::name(value.dtype()));
    Slot slot{.parameter = parameter, .name = first_name(*parameter), .begin = 0, .master = {}, .moments = {}};
    const comm::Split shared = split(value, sharding);
    slot.begin = shared.begins[static_cast<size_t>(sharding.rank())];
    if (format.master_weights && value.dtype() != DType::float32) {
      const Tensor part = sharding.rank_count() == 1 ? value : shared.part(sharding.rank());
      slot.master = zeros(part.shape(), DType::float32);
      slot.master.copy_from(stream, part);
    }
    const bool coded = format.int8_moments && value.numel() >= format.smallest_int8_tensor;
    for (const std::string_view moment : moments) {
      KeptMoment& kept = slot.moments.emplace_back();
      kept.name = moment;
      kept.values = kept_zeros(value.shape(), coded ? DType::uint8 : DType::float32, kernels::moment_block);
      if (coded) kept.scales = kept_zeros({blocks_of(value.numel())}, DType::float32, 1);
    }
    slots_.push_back(std::move(slot));
  }
}

// Copies of the state end before the state goes.
Optimizer::~Optimizer() {
  offloaded_.reset();
}

Tensor Optimizer::zeros(Shape shape, DType dtype) const {
  return offloaded_ ? offloaded_->zeros(std::move(shape), dtype) : Tensor::zeros(*stream_, std::move(shape), dtype);
}

// Zeros for this rank's part of a tensor.
Tensor Optimizer::kept_zeros(const Shape& whole, DType dtype, int64_t group) const {
  if (sharding_.rank_count() == 1) return zeros(whole, dtype);
  int64_t count = 1;
  for (const int64_t size : whole) count *= size;
  const int rank = sharding_.rank();
  const int each = sharding_.slices_per_rank();
  const int64_t begin = comm::slice_begin(count, rank * each, sharding_.slices, group);
  return zeros({comm::slice_begin(count, (rank + 1) * each, sharding_.slices, group) - begin}, dtype);
}

// The elements of a parameter that belong to a slice.
std::pair<int64_t, int64_t> Optimizer::range_of(const Slot& slot, int slice) const {
  const int64_t numel = slot.parameter->value.numel();
  return {comm::slice_begin(numel, slice, sharding_.slices, kernels::moment_block),
          comm::slice_begin(numel, slice + 1, sharding_.slices, kernels::moment_block)};
}

// What elements [begin, end) of a parameter are to the kernels.
kernels::OptimizerTensor Optimizer::record_of(const Slot& slot, int64_t begin, int64_t end, const Place& place) const {
  const Parameter& parameter = *slot.parameter;
  const int64_t kept = begin - slot.begin;  // where they begin in what this rank keeps
  const int64_t count = end - begin;
  kernels::OptimizerTensor record;
  if (slot.master.defined()) {
    record.weights = reinterpret_cast<float*>(place(slot.master, kept, count));
  } else if (parameter.value.dtype() == DType::float32) {
    record.weights = parameter.value.data<float>() + begin;
  }
  if (parameter.value.dtype() == DType::bfloat16) record.rounded = parameter.value.data<bfloat16>() + begin;
  record.grad = parameter.grad.data<float>() + begin;
  const std::array<kernels::Moment*, 2> moments = {&record.first, &record.second};
  for (size_t i = 0; i < slot.moments.size(); ++i) {
    const KeptMoment& moment = slot.moments[i];
    std::byte* values = place(moment.values, kept, count);
    if (!moment.scales.defined()) {
      moments[i]->values = reinterpret_cast<float*>(values);
      continue;
    }
    moments[i]->codes = reinterpret_cast<uint8_t*>(values);
    moments[i]->scales = reinterpret_cast<float*>(place(moment.scales, kept / kernels::moment_block, blocks_of(count)));
  }
  record.count = count;
  record.begin = begin;
  record.random_stream = stream_of(slot.name);
  record.weight_decay = static_cast<float>(decay_of(parameter, weight_decay_));
  return record;
}

// The list on the device; made anew only when a tensor has moved.
kernels::TensorList Optimizer::list() {
  const int slices = sharding_.slices_per_rank();
  std::vector<kernels::OptimizerTensor> records;
  records.reserve(slots_.size() * static_cast<size_t>(slices));
  std::vector<int64_t> slice_chunks = {0};
  for (int slice = 0; slice < slices; ++slice) {
    for (const Slot& slot : slots_) {
      const auto [begin, end] = range_of(slot, sharding_.rank() * slices + slice);
      records.push_back(record_of(slot, begin, end, where_it_is));
    }
    slice_chunks.push_back(kernels::count_chunks(records));
  }
  if (records != records_ || !device_records_.defined()) {
    std::vector<kernels::TensorChunk> chunks(static_cast<size_t>(slice_chunks.back()));
    kernels::write_chunks(records, chunks.data());
    const MemoryScope scope(*stream_->allocator(), MemoryTag::optimizer);
    device_records_ = upload_bytes<kernels::OptimizerTensor>(*stream_, records);
    device_chunks_ = upload_bytes<kernels::TensorChunk>(*stream_, chunks);
    records_ = std::move(records);
    slice_chunks_ = std::move(slice_chunks);
    if (offloaded_) plan_windows();
  }
  return {static_cast<const kernels::OptimizerTensor*>(device_records_.raw()),
          static_cast<const kernels::TensorChunk*>(device_chunks_.raw()), slice_chunks_.back()};
}

// Cuts the records into pieces that fit a window.
void Optimizer::plan_windows() {
  int64_t bytes = 0;
  for (const Slot& slot : slots_) bytes += state_bytes(slot, kept_elements(slot));
  offloaded_->plan(OffloadedState::window_bytes(bytes, static_cast<int64_t>(slots_.size())));
  const Place place = [this](const Tensor& kept, int64_t first, int64_t count) {
    return offloaded_->place(kept, first, count);
  };
  for (const Slot& slot : slots_) {
    const int64_t begin = slot.begin;
    const int64_t end = begin + kept_elements(slot);
    for (int64_t first = begin; first < end; first += OffloadedState::piece_elements) {
      const int64_t last = std::min(end, first + OffloadedState::piece_elements);
      offloaded_->begin(state_bytes(slot, last - first));
      offloaded_->add(record_of(slot, first, last, place));
    }
  }
}

// Elements of a parameter that this rank updates.
int64_t Optimizer::kept_elements(const Slot& slot) const {
  const int slices = sharding_.slices_per_rank();
  return range_of(slot, sharding_.rank() * slices + slices - 1).second - slot.begin;
}

// Of so many elements of a parameter.
int64_t Optimizer::state_bytes(const Slot& slot, int64_t count) {
  int64_t bytes = slot.master.defined() ? count * element_size(DType::float32) : 0;
  for (const KeptMoment& moment : slot.moments) {
    bytes += count * element_size(moment.values.dtype());
    if (moment.scales.defined()) bytes += blocks_of(count) * element_size(DType::float32);
  }
  return bytes;
}

void Optimizer::update_all(const kernels::UpdateParams& params) {
  if (!offloaded_) return update(*stream_, params);
  offloaded_->run([&](const kernels::TensorList& list) {
    kernels::UpdateParams part = params;
    part.list = list;
    update(*stream_, part);
  });
}

// Queues a look at the gradients of each slice; what it finds goes to `found`, one after another.
void Optimizer::measure(const kernels::TensorList& tensors, kernels::GradientSummary* found) {
  dispatch_device(*stream_, [&]<class D>(kernels::Context<D> context) {
    for (size_t slice = 0; slice + 1 < slice_chunks_.size(); ++slice) {
      kernels::TensorList list = tensors;
      list.chunks += slice_chunks_[slice];
      list.chunk_count = slice_chunks_[slice + 1] - slice_chunks_[slice];
      kernels::SquaredNormParams p{list, found + slice, nullptr};
      const Tensor scratch = ops::workspace(*stream_, kernels::squared_norm_workspace_bytes<D>(p));
      p.workspace = scratch.raw();
      kernels::squared_norm<D>(context, p);
    }
  });
}

// The findings of all slices on all ranks as one, in the order of the slices. Waits for the device.
kernels::GradientSummary Optimizer::sum_of_slices(const kernels::GradientSummary* found) const {
  std::vector<kernels::GradientSummary> mine(static_cast<size_t>(sharding_.slices_per_rank()));
  stream_->copy_to_host(mine.data(), found, static_cast<int64_t>(mine.size() * sizeof(mine[0])));
  constexpr size_t fields = 3;
  const auto none = static_cast<double>(slots_.size());
  std::vector<double> numbers;
  for (const kernels::GradientSummary& one : mine) {
    const bool finite = one.nonfinite == 0;
    const double slot = finite ? none : static_cast<double>(one.first_nonfinite % static_cast<int64_t>(slots_.size()));
    numbers.insert(numbers.end(), {one.squared_norm, static_cast<double>(one.nonfinite), slot});
  }
  if (sharding_.ranks != nullptr) numbers = sharding_.ranks->gather(numbers);
  kernels::GradientSummary sum;
  for (size_t i = 0; i < numbers.size(); i += fields) {
    sum.squared_norm += numbers[i];
    sum.nonfinite += static_cast<int64_t>(numbers[i + 1]);
    if (numbers[i + 2] < none)
      sum.first_nonfinite = std::min(sum.first_nonfinite, static_cast<int64_t>(numbers[i + 2]));
  }
  return sum;
}

GradientNorm Optimizer::step(const StepParams& params) {
  const kernels::TensorList tensors = list();
  const auto summary_bytes = static_cast<int64_t>(sizeof(kernels::GradientSummary));
  const Tensor summaries = Tensor::empty(*stream_, {summary_bytes * sharding_.slices_per_rank()}, DType::uint8);
  const Tensor scale = Tensor::empty(*stream_, {1}, DType::float32);
  auto* found = static_cast<kernels::GradientSummary*>(summaries.raw());
  measure(tensors, found);
  if (sharding_.slices > 1) {
    const kernels::GradientSummary sum = sum_of_slices(found);
    stream_->copy_from_host(found, &sum, summary_bytes);
  }
  dispatch_device(*stream_, [&]<class D>(kernels::Context<D> context) {
    kernels::clip_scale<D>(context, {found, params.max_grad_norm, scale.data<float>()});
  });
  update_all({.list = tensors,
              .lr = static_cast<float>(lr_ * params.lr_factor),
              .number = steps_ + 1,
              .grad_scale = scale.data<float>(),
              .stochastic_rounding = format_.stochastic_rounding,
              .seed = format_.seed});
  gather_weights();
  kernels::GradientSummary read;
  stream_->copy_to_host(&read, found, summary_bytes);
  GradientNorm result{.norm = std::sqrt(read.squared_norm), .first_non_finite = {}, .non_finite = read.nonfinite};
  if (read.nonfinite > 0) {
    result.first_non_finite = slots_[static_cast<size_t>(read.first_nonfinite)].name;
  } else {
    ++steps_;
  }
  return result;
}

// Gets the weights that other ranks updated.
void Optimizer::gather_weights() {
  if (sharding_.rank_count() == 1) return;
  std::vector<comm::Split> splits;
  splits.reserve(slots_.size());
  for (const Slot& slot : slots_) splits.push_back(split(slot.parameter->value, sharding_));
  sharding_.ranks->all_gather(*stream_, splits);
}

StateTensor Optimizer::weights(const Parameter& parameter) const {
  if (offloaded_) offloaded_->wait();
  for (const Slot& slot : slots_) {
    if (slot.parameter == &parameter && slot.master.defined()) {
      return {slot.name, slot.master, parameter.value.shape(), split(parameter.value, sharding_).begins};
    }
  }
  return {first_name(parameter), parameter.value, parameter.value.shape(), {}};
}

std::vector<StateTensor> Optimizer::state() const {
  if (offloaded_) offloaded_->wait();
  std::vector<StateTensor> tensors;
  for (const Slot& slot : slots_) {
    const Tensor& value = slot.parameter->value;
    const std::vector<int64_t> begins = split(value, sharding_).begins;
    if (slot.master.defined()) tensors.push_back({slot.name + ".master", slot.master, value.shape(), begins});
    for (const KeptMoment& kept : slot.moments) {
      tensors.push_back({slot.name + "." + kept.name, kept.values, value.shape(), begins});
      if (!kept.scales.defined()) continue;
      std::vector<int64_t> scale_begins = begins;
      for (int64_t& begin : scale_begins) begin = blocks_of(begin);
      tensors.push_back(
          {slot.name + "." + kept.name + ".scale", kept.scales, {blocks_of(value.numel())}, std::move(scale_begins)});
    }
  }
  return tensors;
}

void Optimizer::load_state(std::span<const NamedTensor> tensors, int64_t steps, const std::string& where) {
  for (const StateTensor& target : state()) {
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const NamedTensor& given) { return given.first == target.name; });
    if (found == tensors.end() || found->second.shape() != target.shape || found->second.dtype() != target.dtype()) {
      throw Error(fmt::format("the optimizer state '{}' is missing or has another shape or type", target.name), where,
                  "start the run anew in another directory");
    }
    const Tensor& whole = found->second;
    const bool has_all = sharding_.rank_count() == 1;
    target.part.copy_from(*stream_, has_all ? whole : comm::Split{whole, target.begins}.part(sharding_.rank()));
  }
  steps_ = steps;
}

namespace {

constexpr std::array<std::string_view, 2> adamw_moments = {"exp_avg", "exp_avg_sq"};
constexpr std::array<std::string_view, 1> sgd_moments = {"momentum_buffer"};

class AdamW final : public Optimizer {
 public:
  AdamW(Stream& stream, std::span<Parameter* const> parameters, const AdamWConfig& config, const StateFormat& format,
        const Sharding& sharding)
      : Optimizer(stream, parameters, config.lr, config.weight_decay, format, sharding, adamw_moments),
        config_(config) {}

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
  Sgd(Stream& stream, std::span<Parameter* const> parameters, const SgdConfig& config, const StateFormat& format,
      const Sharding& sharding)
      : Optimizer(stream, parameters, config.lr, config.weight_decay, format, sharding,
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
                                      const StateFormat& format, const Sharding& sharding) {
  return std::make_unique<AdamW>(stream, parameters, config, format, sharding);
}

std::unique_ptr<Optimizer> make_sgd(Stream& stream, std::span<Parameter* const> parameters, const SgdConfig& config,
                                    const StateFormat& format, const Sharding& sharding) {
  return std::make_unique<Sgd>(stream, parameters, config, format, sharding);
}

}  // namespace subspect::runtime::optim
