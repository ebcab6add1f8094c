// Removing a direction is a linear layer of one unit and back; adding one is a bias.
#include "model/intervention.h"

#include <cmath>
#include <vector>

#include "runtime/error.h"
#include "runtime/ops/accumulate.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/linear.h"
#include "runtime/parameter.h"

namespace subspect::model {

using runtime::Tensor;

namespace {

/// Units of the linear layer, all but one of them zero: rows of bfloat16 are then aligned as matrix products on a GPU
/// want them.
constexpr int64_t rank = 8;

double length_of(std::span<const float> direction) {
  double squares = 0.0;
  for (const float x : direction) squares += static_cast<double>(x) * static_cast<double>(x);
  return std::sqrt(squares);
}

}  // namespace

Intervention Intervention::ablate(runtime::Stream& stream, std::span<const float> direction, runtime::DType dtype) {
  const double length = length_of(direction);
  if (!(length > 0.0) || !std::isfinite(length)) {
    throw runtime::Error("a direction of no length, or of an infinite one, cannot be removed", "intervention",
                         "take it at another layer, or from prompts that differ more");
  }
  const auto hidden = static_cast<int64_t>(direction.size());
  std::vector<float> read(static_cast<size_t>(rank * hidden)), write(read.size());
  for (size_t d = 0; d < direction.size(); ++d) {
    const auto unit = static_cast<float>(static_cast<double>(direction[d]) / length);
    read[d] = unit;
    write[d * static_cast<size_t>(rank)] = -unit;
  }
  Intervention result(Kind::ablate, -1);
  result.read_ = Tensor::from_host<float>(stream, read, {rank, hidden}).to(stream, dtype);
  result.write_ = Tensor::from_host<float>(stream, write, {hidden, rank}).to(stream, dtype);
  return result;
}

Intervention Intervention::add(runtime::Stream& stream, std::span<const float> offset, int64_t layer,
                               runtime::DType dtype) {
  Intervention result(Kind::add, layer);
  result.offset_ = Tensor::from_host<float>(stream, offset, {static_cast<int64_t>(offset.size())}).to(stream, dtype);
  return result;
}

void Intervention::require_fits(const DecoderConfig& config, runtime::DType dtype) const {
  const Tensor& of = kind_ == Kind::add ? offset_ : read_;
  const int64_t width = of.size(of.dim() - 1);
  runtime::require(width == config.hidden_size && of.dtype() == dtype, "intervention",
                   "a direction of {} numbers ({}) is required. Received {} ({}).", config.hidden_size,
                   runtime::name(dtype), width, runtime::name(of.dtype()));
  runtime::require(kind_ == Kind::ablate || (layer_ >= 0 && layer_ <= config.layers), "intervention",
                   "a layer of 0 to {} is required. Received {}.", config.layers, layer_);
}

void Intervention::change(const runtime::Execution& on, const Tensor& written, int64_t completes) const {
  if (kind_ == Kind::add) {
    if (completes == layer_) runtime::ops::add_row(on.stream, written, offset_);
    return;
  }
  runtime::Parameter read, write;
  read.value = read_;
  write.value = write_;
  const runtime::Variable along = runtime::ops::linear(on, {written}, read);
  runtime::ops::add_into(on.stream, written, runtime::ops::linear(on, along, write).value);
}

}  // namespace subspect::model
