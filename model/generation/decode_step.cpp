// One decoding step. All that changes from step to step lies in one block of device memory, written by one copy.
#include "model/generation/decode_step.h"

#include <algorithm>
#include <bit>
#include <memory>

#include "runtime/error.h"
#include "runtime/ops/attention.h"

namespace subspect::model {

using runtime::DType;
using runtime::Execution;
using runtime::Tensor;
using runtime::Variable;
namespace ops = runtime::ops;

namespace {

constexpr int64_t alignment = 16;  // elements: each array begins at a multiple of 64 bytes

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// 1, 2, 4, 8, 16, 24, ..., 64, 96, 128, ...: few shapes, and few rows that do nothing.
int64_t rounded_rows(int64_t rows) {
  if (rows <= 8) return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  return round_up(rows, rows <= 64 ? 8 : 32);
}

/// Powers of two, at least the 8 pages that decode attention reads at a time on a GPU.
int64_t rounded_pages(int64_t pages) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(pages, 8))));
}

int64_t length_of(const DecodeRow& row) {
  return static_cast<int64_t>(row.sampling.tokens.size());
}

}  // namespace

DecodeStep::Layout::Layout(const Shape& shape, const SamplingOptions& sampling) {
  const auto take = [this](int64_t elements) {
    const int64_t begin = end;
    end += round_up(elements, alignment);
    return begin;
  };
  ids = take(shape.rows);
  positions = take(shape.rows);
  lengths = take(shape.rows);
  slots = take(shape.rows);
  uniforms = take(sampling.draws() ? shape.rows : 0);
  page_table = take(shape.rows * shape.pages);
  tokens = take(sampling.penalizes() ? shape.rows * most_tokens(shape) : 0);
}

DecodeStep::Shape DecodeStep::shape_of(runtime::Device device, std::span<const DecodeRow> rows) {
  Shape shape{.rows = static_cast<int64_t>(rows.size())};
  for (const DecodeRow& row : rows) shape.pages = std::max(shape.pages, KvCache::pages_for(length_of(row)));
  if (device.type == runtime::DeviceType::cpu) return shape;
  return {.rows = rounded_rows(shape.rows), .pages = rounded_pages(shape.pages)};
}

DecodeStep::DecodeStep(runtime::Stream& stream, Decoder& decoder, const KvCache& cache, const SamplingOptions& sampling,
                       Shape shape, const Intervention* intervention)
    : stream_(stream),
      decoder_(decoder),
      cache_(cache),
      sampling_(sampling),
      intervention_(intervention),
      shape_(shape),
      layout_(shape, sampling),
      host_(static_cast<size_t>(layout_.end), 0),
      inputs_(Tensor::empty(stream, {layout_.end}, DType::int32)),
      replay_(stream, [this] { compute(); }) {
  if (!sampling.penalizes()) return;
  std::vector<int64_t> offsets;
  for (int64_t row = 0; row <= shape.rows; ++row) offsets.push_back(row * most_tokens(shape));
  offsets_ = Tensor::from_host<int64_t>(stream, offsets, {shape.rows + 1});
}

std::vector<int32_t> DecodeStep::run(std::span<const DecodeRow> rows) {
  const auto used = static_cast<int64_t>(rows.size());
  runtime::require(used <= shape_.rows, "DecodeStep", "at most {} rows are possible. Received {}.", shape_.rows, used);
  for (int64_t row = 0; row < used; ++row) fill_row(row, rows[static_cast<size_t>(row)]);
  for (int64_t row = used; row < shape_.rows; ++row) fill_unused_row(row);
  stream_.copy_from_host(inputs_.raw(), host_.data(), inputs_.bytes());
  replay_.run();
  std::vector<int32_t> chosen = chosen_.to_host<int32_t>(stream_);
  chosen.resize(rows.size());
  return chosen;
}

void DecodeStep::fill_row(int64_t row, const DecodeRow& with) {
  const std::span<const int32_t> tokens = with.sampling.tokens;
  const int64_t length = length_of(with);
  const int64_t pages = KvCache::pages_for(length);
  runtime::require(pages <= shape_.pages, "DecodeStep", "at most {} pages are possible. Received {} tokens.",
                   shape_.pages, length);
  int32_t* host = host_.data();
  host[layout_.ids + row] = tokens.back();
  host[layout_.positions + row] = static_cast<int32_t>(length - 1);
  host[layout_.lengths + row] = static_cast<int32_t>(length);
  host[layout_.slots + row] = KvCache::slot(*with.pages, length - 1);
  if (sampling_.draws()) {
    host[layout_.uniforms + row] = std::bit_cast<int32_t>(uniform_number(sampling_.seed, with.sampling));
  }
  std::copy_n(with.pages->begin(), pages, host + layout_.page_table + row * shape_.pages);
  if (sampling_.penalizes()) {
    int32_t* present = host + layout_.tokens + row * most_tokens(shape_);
    std::copy(tokens.begin(), tokens.end(), present);
    std::fill(present + length, present + most_tokens(shape_), tokens.back());  // repeats change nothing
  }
}

/// Reads the first position of page 0, appends nothing, and is not looked at. Pages and tokens may be what they were.
void DecodeStep::fill_unused_row(int64_t row) {
  int32_t* host = host_.data();
  host[layout_.ids + row] = 0;
  host[layout_.positions + row] = 0;
  host[layout_.lengths + row] = 1;
  host[layout_.slots + row] = -1;
}

Tensor DecodeStep::input(int64_t begin, runtime::Shape shape, DType dtype) const {
  const int32_t* place = inputs_.data<int32_t>() + begin;
  return Tensor::wrap(place, std::move(shape), dtype, stream_.device(), std::make_shared<Tensor>(inputs_));
}

SamplerInputs DecodeStep::sampler_inputs() const {
  SamplerInputs inputs;
  if (sampling_.draws()) inputs.uniforms = input(layout_.uniforms, {shape_.rows}, DType::float32);
  if (sampling_.penalizes()) inputs.tokens = input(layout_.tokens, {shape_.rows * most_tokens(shape_)});
  inputs.offsets = offsets_;
  return inputs;
}

void DecodeStep::compute() {
  const DecoderConfig& config = decoder_.config();
  ops::DecodeAttentionParams params{.heads = config.heads,
                                    .kv_heads = config.kv_heads,
                                    .head_dim = config.head_dim,
                                    .page_table = input(layout_.page_table, {shape_.rows, shape_.pages}),
                                    .lengths = input(layout_.lengths, {shape_.rows})};
  const Tensor slots = input(layout_.slots, {shape_.rows});
  const auto attention = [&](const Execution& on, int64_t layer, const Variable& qkv) {
    ops::append_to_cache(on, qkv.value, config.heads, cache_.layer(layer), slots);
    params.sliding_window = config.window(layer);
    return Variable{ops::decode_attention(on, qkv.value, cache_.layer(layer), params)};
  };
  const Variable hidden =
      decoder_.forward(Execution{stream_}, input(layout_.ids, {shape_.rows}), input(layout_.positions, {shape_.rows}),
                       attention, {.intervention = intervention_});
  chosen_ = choose_on_device(stream_, decoder_.logits(stream_, hidden.value), sampler_inputs(), sampling_);
}

}  // namespace subspect::model
