// Checkpoints opened for comparison.
#include "experiments/subspace/weights.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "model/config.h"
#include "runtime/error.h"
#include "runtime/linalg/finite.h"
#include "runtime/linalg/products.h"

namespace subspect::experiments::subspace {

namespace {

namespace fs = std::filesystem;
using runtime::DType;
using runtime::Error;
using runtime::Stream;
using runtime::Tensor;

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
  source.tied_ = fs::exists(config) && model::read_decoder_config(config).tied_embeddings;
  for (const std::string& tensor : source.set_.names()) {
    if (source.tied_ && tensor == "lm_head.weight") continue;
    const bool floating = runtime::is_floating_point(source.set_.info(tensor).dtype);
    (floating ? source.tensors_ : source.other_tensors_).push_back(tensor);
  }
  return source;
}

Tensor WeightSource::finite(std::string_view tensor) const {
  Tensor values = set_.tensor(tensor);
  runtime::linalg::require_finite(values, tensor, set_.file(tensor).path().string());
  return values;
}

Tensor WeightSource::load(Stream& stream, std::string_view tensor) const {
  return finite(tensor).to(stream, DType::float32);
}

void require_same_tensors(const WeightSource& reference, const WeightSource& other) {
  for (const std::string& tensor : reference.tensors()) require_tensor(reference, other, tensor);
  for (const std::string& tensor : other.tensors()) {
    if (!reference.contains(tensor)) require_tensor(other, reference, tensor);
  }
}

Tensor difference(Stream& stream, const WeightSource& a, const WeightSource& b, std::string_view tensor) {
  return runtime::linalg::difference(stream, a.finite(tensor), b.finite(tensor));
}

int64_t elements(const runtime::Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
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

std::string module_of(std::string_view tensor) {
  if (tensor.starts_with("model.")) tensor.remove_prefix(6);
  const std::string layer = decoder_layer_of(tensor);
  if (!layer.empty()) tensor.remove_prefix(tensor.find(layer) + layer.size() + 1);
  for (const std::string_view suffix : {".weight", ".bias"}) {
    if (tensor.ends_with(suffix)) tensor.remove_suffix(suffix.size());
  }
  const std::string_view last = tensor.substr(tensor.rfind('.') + 1);
  if (last.find("norm") != std::string_view::npos) return "norms";
  return last == "embed_tokens" ? "embeddings" : std::string(tensor);
}

}  // namespace subspect::experiments::subspace
