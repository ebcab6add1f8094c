// Checkpoints of a training run.
#include "experiments/training/train_state.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "runtime/error.h"
#include "runtime/io/safetensors.h"

namespace subspect::experiments {

namespace fs = std::filesystem;
using runtime::optim::NamedTensor;
using runtime::optim::StateTensor;

namespace {

constexpr std::string_view prefix = "step-";
constexpr std::string_view suffix = ".safetensors";
constexpr std::string_view weight_prefix = "weights/";
constexpr std::string_view optimizer_prefix = "optimizer/";

struct Checkpoint {
  int64_t step = 0;
  fs::path path;
};

std::vector<Checkpoint> checkpoints(const fs::path& directory) {
  std::vector<Checkpoint> found;
  if (!fs::exists(directory)) return found;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(suffix)) continue;
    const char* begin = name.data() + prefix.size();
    const char* end = name.data() + name.size() - suffix.size();
    Checkpoint checkpoint{0, entry.path()};
    const auto [parsed, error] = std::from_chars(begin, end, checkpoint.step);
    if (error == std::errc() && parsed == end) found.push_back(checkpoint);
  }
  std::sort(found.begin(), found.end(), [](const Checkpoint& a, const Checkpoint& b) { return a.step < b.step; });
  return found;
}

// What a checkpoint holds, under names that tell weights and optimizer state apart: whole parameters (fused ones
// unsplit), which every rank has, and the optimizer's tensors, of which each rank has a part.
std::vector<StateTensor> tensors_of(const model::Decoder& decoder, const runtime::optim::Optimizer& optimizer) {
  std::vector<StateTensor> tensors;
  for (const runtime::Parameter* parameter : decoder.parameters()) {
    tensors.push_back(
        {std::string(weight_prefix) + parameter->parts.front().name, parameter->value, parameter->value.shape(), {}});
  }
  for (StateTensor& state : optimizer.state()) {
    state.name.insert(0, optimizer_prefix);
    tensors.push_back(std::move(state));
  }
  return tensors;
}

template <class T>
T number(const runtime::io::SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  T value{};
  if (found != file.metadata().end()) {
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return value;
  }
  throw runtime::Error(fmt::format("the checkpoint lacks the number '{}'", key), file.path().string(),
                       "remove the file to start the run anew");
}

}  // namespace

void save_train_state(runtime::Stream& stream, const fs::path& directory, const model::Decoder& decoder,
                      const runtime::optim::Optimizer& optimizer, const TrainPosition& position) {
  const runtime::optim::Sharding& sharding = optimizer.sharding();
  const std::vector<StateTensor> tensors = tensors_of(decoder, optimizer);
  const auto whole = [&](size_t index) {
    const StateTensor& state = tensors[index];
    return runtime::optim::gather_whole(stream, state, state.begins.empty() ? runtime::optim::Sharding{} : sharding);
  };
  std::vector<runtime::io::TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const StateTensor& state : tensors) specs.push_back({state.name, state.dtype(), state.shape});
  if (sharding.rank() != 0) {
    for (const size_t index : runtime::io::order_in_file(specs)) {
      if (!tensors[index].begins.empty()) whole(index);
    }
    return;
  }
  const std::vector<Checkpoint> older = checkpoints(directory);
  const runtime::io::Metadata metadata = {{"step", fmt::format("{}", position.step)},
                                          {"tokens", fmt::format("{}", position.tokens)},
                                          {"seconds", fmt::format("{}", position.seconds)},
                                          {"data", fmt::format("{}", position.data)}};
  const fs::path path = directory / fmt::format("{}{}{}", prefix, position.step, suffix);
  runtime::io::write_safetensors(path, specs, whole, metadata);
  for (const Checkpoint& checkpoint : older) {
    if (checkpoint.path != path) fs::remove(checkpoint.path);
  }
}

std::optional<TrainPosition> load_train_state(runtime::Stream& stream, const fs::path& directory,
                                              model::Decoder& decoder, runtime::optim::Optimizer& optimizer,
                                              uint64_t data) {
  const std::vector<Checkpoint> found = checkpoints(directory);
  if (found.empty()) return std::nullopt;
  const auto file = runtime::io::SafetensorsFile::open(found.back().path);
  const std::string where = file.path().string();
  const TrainPosition position{.step = number<int64_t>(file, "step"),
                               .tokens = number<int64_t>(file, "tokens"),
                               .seconds = number<double>(file, "seconds"),
                               .data = number<uint64_t>(file, "data")};
  if (position.data != data) {
    throw runtime::Error("the training data changed since this run was interrupted", where,
                         "restore the data, or start anew with --overwrite");
  }
  std::vector<NamedTensor> state;
  for (const std::string& name : file.names()) {
    if (name.starts_with(optimizer_prefix)) state.emplace_back(name.substr(optimizer_prefix.size()), file.tensor(name));
  }
  for (const runtime::Parameter* parameter : decoder.parameters()) {
    const std::string name = std::string(weight_prefix) + parameter->parts.front().name;
    const bool fits = file.contains(name) && file.info(name).shape == parameter->value.shape() &&
                      file.info(name).dtype == parameter->value.dtype();
    if (!fits) {
      throw runtime::Error(fmt::format("the checkpoint's '{}' is missing or of another shape or type", name), where,
                           "start anew with --overwrite");
    }
    parameter->value.copy_from(stream, file.tensor(name));
  }
  optimizer.load_state(state, position.step, where);
  return position;
}

void remove_train_state(const fs::path& directory) {
  for (const Checkpoint& checkpoint : checkpoints(directory)) fs::remove(checkpoint.path);
}

}  // namespace subspect::experiments
