// metrics.jsonl and TensorBoard scalars of the same steps.
#include "runtime/io/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/io/files.h"
#include "runtime/io/tensorboard.h"

namespace subspect::runtime::io {

MetricsWriter::MetricsWriter() = default;

MetricsWriter::MetricsWriter(const std::filesystem::path& jsonl, const std::filesystem::path& tensorboard)
    : path_(jsonl) {
  if (!tensorboard.empty()) tensorboard_ = std::make_unique<TensorBoardWriter>(tensorboard);
}

MetricsWriter::~MetricsWriter() = default;
MetricsWriter::MetricsWriter(MetricsWriter&&) noexcept = default;
MetricsWriter& MetricsWriter::operator=(MetricsWriter&&) noexcept = default;

void MetricsWriter::write(int64_t step, const MetricValues& values) {
  if (path_.empty()) return;
  std::string line = fmt::format("{{\"step\": {}", step);
  for (const auto& [name, value] : values) {
    line += fmt::format(", {}: ", nlohmann::json(name).dump());
    line += std::isfinite(value) ? fmt::format("{}", value) : "null";
  }
  if (!file_) file_ = std::make_unique<AppendFile>(path_);
  file_->append(line + "}\n");
  if (tensorboard_) tensorboard_->write(step, values);
}

void MetricsWriter::resume_after(int64_t step) {
  if (!std::filesystem::exists(path_)) return;
  const std::string text = read_file(path_);
  std::string kept;
  for (size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = text.substr(begin, end - begin);
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("step") && json["step"].is_number() && json["step"] <= step) {
      kept += line + "\n";
    }
  }
  if (kept == text) return;
  file_.reset();
  write_file_atomically(path_, kept);
  if (tensorboard_) tensorboard_->resume_after(step);
}

}  // namespace subspect::runtime::io
