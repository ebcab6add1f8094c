// Metrics over steps: metrics.jsonl, one JSON object per step, and beside it TensorBoard event files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace subspect::runtime::io {

class AppendFile;
class TensorBoardWriter;

/// Names and values of one step, written in this order. Undefined values (NaN, infinities) become null.
using MetricValues = std::vector<std::pair<std::string, double>>;

class MetricsWriter {
 public:
  /// Writes nothing.
  MetricsWriter();
  /// Appends to `jsonl` (made with the first step); writes TensorBoard scalars too when `tensorboard` is not empty.
  explicit MetricsWriter(const std::filesystem::path& jsonl, const std::filesystem::path& tensorboard = {});
  ~MetricsWriter();
  MetricsWriter(MetricsWriter&&) noexcept;
  MetricsWriter& operator=(MetricsWriter&&) noexcept;

  /// Writes `{"step": step, ...values}`; whole numbers are written without a point.
  void write(int64_t step, const MetricValues& values);

  /// Drops what was written after `step`: a run that resumes from a checkpoint writes those steps again.
  void resume_after(int64_t step);

 private:
  std::filesystem::path path_;
  std::unique_ptr<AppendFile> file_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
};

}  // namespace subspect::runtime::io
