// Checkpoints opened for comparison.
#include "experiments/subspace/weights.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <utility>

#include "model/config.h"
#include "runtime/error.h"
#include "runtime/linalg/finite.h"

namespace subspect::experiments::subspace {

namespace {

namespace fs = std::filesystem;
using runtime::DType;
using runtime::Error;
using runtime::Stream;
using runtime::Tensor;

/// The number in a one-line file of the control group; nothing ("max", no such file) is no limit.
int64_t read_limit(const char* path, int64_t fallback) {
  std::ifstream stream(path);
  int64_t value = 0;
  return stream >> value ? value : fallback;
}

void require_tensor(const WeightSource& reference, const WeightSource& other, const std::string& tensor) {
  const std::string shape = runtime::to_string(reference.info(tensor).shape);
  const auto fail = [&](const std::string& what) {
    throw Error(fmt::format("tensor {} is {} in {} and {} in {}", tensor, shape, reference.name(), what, other.name()),
                other.directory().string(), "give checkpoints of the same architecture and size");
  };
  if (!other.contains(tensor)) fail("missing");
  if (other.info(tensor).shape != reference.info(tensor).shape) fail(runtime::to_string(other.info(tensor).shape));
}

}  // namespace

WeightSource WeightSource::open(std::string name, const fs::path& directory) {
  WeightSource source;
  source.name_ = std::move(name);
  source.set_ = runtime::io::SafetensorsSet::open(directory);
  const fs::path config = directory / "config.json";
  const bool tied = fs::exists(config) && model::read_decoder_config(config).tied_embeddings;
  for (const std::string& tensor : source.set_.names()) {
    if (tied && tensor == "lm_head.weight") continue;
    const bool floating = runtime::is_floating_point(source.set_.info(tensor).dtype);
    (floating ? source.tensors_ : source.other_tensors_).push_back(tensor);
  }
  return source;
}

Tensor WeightSource::load(Stream& stream, std::string_view tensor) const {
  const Tensor values = set_.tensor(tensor);
  runtime::linalg::require_finite(values, tensor, set_.file(tensor).path().string());
  return values.to(stream, DType::float32);
}

void require_same_tensors(const WeightSource& reference, const WeightSource& other) {
  for (const std::string& tensor : reference.tensors()) require_tensor(reference, other, tensor);
  for (const std::string& tensor : other.tensors()) {
    if (!reference.contains(tensor)) require_tensor(other, reference, tensor);
  }
}

Tensor difference(Stream& stream, const WeightSource& a, const WeightSource& b, std::string_view tensor) {
  Tensor result = a.load(stream, tensor);
  const Tensor subtrahend = b.load(stream, tensor);
  runtime::require(result.shape() == subtrahend.shape(), "difference",
                   "equal shapes are required for {}. Received {} and {}", tensor, runtime::to_string(result.shape()),
                   runtime::to_string(subtrahend.shape()));
  float* values = result.data<float>();
  const float* other = subtrahend.data<float>();
  for (int64_t i = 0; i < result.numel(); ++i) values[i] -= other[i];
  return result;
}

Tensor as_matrix(const Tensor& tensor) {
  if (tensor.dim() == 0) return tensor.view({1, 1});
  const int64_t rows = tensor.size(0);
  return tensor.view({rows, rows == 0 ? 0 : tensor.numel() / rows});
}

bool matches_any(const std::vector<std::string>& globs, const std::string& name) {
  return std::any_of(globs.begin(), globs.end(),
                     [&](const std::string& glob) { return ::fnmatch(glob.c_str(), name.c_str(), 0) == 0; });
}

std::vector<std::string> select_tensors(const WeightSource& source, const std::vector<std::string>& globs,
                                        std::string_view key) {
  std::vector<std::string> selected;
  for (const std::string& glob : globs) {
    const bool any = std::any_of(source.tensors().begin(), source.tensors().end(),
                                 [&](const std::string& tensor) { return matches_any({glob}, tensor); });
    if (!any) {
      throw runtime::UsageError(fmt::format("the pattern '{}' matches no tensor of {}", glob, source.name()),
                                std::string(key),
                                "use names as safetensors has them, with * for anything (see `subspect inspect`)");
    }
  }
  for (const std::string& tensor : source.tensors()) {
    if (matches_any(globs, tensor)) selected.push_back(tensor);
  }
  return selected;
}

std::string decoder_layer_of(std::string_view tensor) {
  constexpr std::string_view marker = "layers.";
  const size_t begin = tensor.find(marker);
  if (begin == std::string_view::npos || (begin > 0 && tensor[begin - 1] != '.')) return {};
  size_t end = begin + marker.size();
  while (end < tensor.size() && tensor[end] >= '0' && tensor[end] <= '9') ++end;
  if (end == begin + marker.size() || end == tensor.size() || tensor[end] != '.') return {};
  return std::string(tensor.substr(begin, end - begin));
}

std::string group_of(std::string_view tensor) {
  std::string layer = decoder_layer_of(tensor);
  if (!layer.empty()) return layer;
  if (tensor.starts_with("model.")) tensor.remove_prefix(6);
  if (tensor.ends_with(".weight")) tensor.remove_suffix(7);
  return std::string(tensor);
}

int64_t available_memory() {
  constexpr int64_t no_limit = std::numeric_limits<int64_t>::max();
  int64_t available = no_limit;
  std::ifstream stream("/proc/meminfo");
  std::string line;
  while (std::getline(stream, line)) {
    if (line.starts_with("MemAvailable:")) available = std::stoll(line.substr(13)) * 1024;
  }
  const int64_t limit = read_limit("/sys/fs/cgroup/memory.max", no_limit);
  if (limit != no_limit) {
    available = std::min(available, std::max<int64_t>(0, limit - read_limit("/sys/fs/cgroup/memory.current", 0)));
  }
  return available == no_limit ? int64_t{4} << 30 : available;
}

}  // namespace subspect::experiments::subspace
