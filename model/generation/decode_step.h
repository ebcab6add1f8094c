// DecodeStep: one more token for every running sequence, in a shape that stays the same from step to step, so that a
// GPU replays what was recorded once.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <vector>

#include "model/decoder.h"
#include "model/generation/kv_cache.h"
#include "model/generation/sampler.h"
#include "runtime/replay.h"
#include "runtime/tensor.h"

namespace subspect::model {

/// What one running sequence brings to a step.
struct DecodeRow {
  SamplerRow sampling;              ///< its tokens: the last is read in this step, those before it are in the cache
  const PageList* pages = nullptr;  ///< with room for all of them
};

class DecodeStep {
 public:
  struct Shape {
    int64_t rows = 0;
    int64_t pages = 0;  ///< that the longest sequence uses

    auto operator<=>(const Shape&) const = default;  // NOLINT(modernize-use-nullptr): a false alarm of the check
  };

  /// A shape that these rows fit into: the smallest on a CPU; on a GPU one of few, so that steps repeat.
  static Shape shape_of(runtime::Device device, std::span<const DecodeRow> rows);

  /// All of the references outlive the step.
  DecodeStep(runtime::Stream& stream, Decoder& decoder, const KvCache& cache, const SamplingOptions& sampling,
             Shape shape, const Intervention* intervention = nullptr);
  DecodeStep(const DecodeStep&) = delete;
  DecodeStep& operator=(const DecodeStep&) = delete;

  /// Appends each row's last token to the cache and chooses the next: one id per row. One copy to the device, one back.
  /// @param rows that fit into the shape
  std::vector<int32_t> run(std::span<const DecodeRow> rows);

 private:
  /// Where each array begins in the block of inputs, in elements of 4 bytes.
  struct Layout {
    int64_t ids = 0;         // [rows]
    int64_t positions = 0;   // [rows]
    int64_t lengths = 0;     // [rows]
    int64_t slots = 0;       // [rows]
    int64_t uniforms = 0;    // [rows] float32
    int64_t page_table = 0;  // [rows, pages]
    int64_t tokens = 0;      // [rows, most_tokens]
    int64_t end = 0;

    Layout(const Shape& shape, const SamplingOptions& sampling);
  };

  static int64_t most_tokens(const Shape& shape) { return shape.pages * KvCache::page_size; }

  void fill_row(int64_t row, const DecodeRow& with);
  void fill_unused_row(int64_t row);
  runtime::Tensor input(int64_t begin, runtime::Shape shape, runtime::DType dtype = runtime::DType::int32) const;
  SamplerInputs sampler_inputs() const;
  void compute();

  runtime::Stream& stream_;
  Decoder& decoder_;
  const KvCache& cache_;
  const SamplingOptions& sampling_;
  const Intervention* intervention_;
  Shape shape_;
  Layout layout_;
  std::vector<int32_t> host_;  // what the inputs are overwritten with before a step
  runtime::Tensor inputs_;
  runtime::Tensor offsets_;  // [rows + 1] int64 into the tokens; undefined without a repetition penalty
  runtime::Tensor chosen_;   // [rows] int32
  runtime::Replay replay_;
};

}  // namespace subspect::model
