// Writing safetensors: one tensor in memory at a time, files that appear only when they are whole.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include "runtime/error.h"
#include "runtime/io/files.h"
#include "runtime/io/safetensors.h"

namespace subspect::runtime::io {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int64_t alignment = 64;
constexpr const char* index_name = "model.safetensors.index.json";
constexpr const char* single_name = "model.safetensors";

std::string_view format_name(DType dtype) {
  switch (dtype) {
    case DType::float64:
      return "F64";
    case DType::float32:
      return "F32";
    case DType::float16:
      return "F16";
    case DType::bfloat16:
      return "BF16";
    case DType::int64:
      return "I64";
    case DType::int32:
      return "I32";
    case DType::int16:
      return "I16";
    case DType::int8:
      return "I8";
    case DType::uint8:
      return "U8";
    case DType::boolean:
      break;
  }
  return "BOOL";
}

int64_t byte_count(const TensorSpec& spec) {
  return std::accumulate(spec.shape.begin(), spec.shape.end(), element_size(spec.dtype), std::multiplies<>());
}

void check_specs(const fs::path& path, const std::vector<TensorSpec>& specs) {
  std::set<std::string_view> names;
  for (const TensorSpec& spec : specs) {
    if (!names.insert(spec.name).second || spec.name == "__metadata__") {
      throw Error(fmt::format("tensor {} would be written twice or has a reserved name", spec.name), path.string(),
                  "this is a mistake in the calling code");
    }
  }
}

/// Little-endian length, JSON, and spaces up to the alignment.
std::string header_bytes(const std::vector<TensorSpec>& specs, const std::vector<size_t>& order,
                         const Metadata& metadata) {
  ordered_json header = ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (const size_t index : order) {
    const TensorSpec& spec = specs[index];
    const int64_t end = offset + byte_count(spec);
    header[spec.name] = {{"dtype", format_name(spec.dtype)}, {"shape", spec.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  const auto used = static_cast<int64_t>(text.size()) + 8;
  text.append(static_cast<size_t>((alignment - used % alignment) % alignment), ' ');
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  return bytes + text;
}

// Wide elements first: every tensor is then aligned to its element.
void sort_by_element(const std::vector<TensorSpec>& specs, std::vector<size_t>& members) {
  std::stable_sort(members.begin(), members.end(),
                   [&](size_t a, size_t b) { return element_size(specs[a].dtype) > element_size(specs[b].dtype); });
}

std::vector<size_t> indices_of(const std::vector<TensorSpec>& specs) {
  std::vector<size_t> all(specs.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return all;
}

/// Writes the tensors `members` of `specs` as one file.
void write_file(const fs::path& path, const std::vector<TensorSpec>& specs, std::vector<size_t> members,
                const TensorProvider& provider, const Metadata& metadata) {
  sort_by_element(specs, members);
  write_file_atomically(path, [&](AtomicFile& file) {
    file.write(header_bytes(specs, members, metadata));
    for (const size_t index : members) {
      const TensorSpec& spec = specs[index];
      const Tensor tensor = provider(index);
      if (!tensor.defined() || tensor.dtype() != spec.dtype || tensor.shape() != spec.shape ||
          !tensor.is_contiguous() || tensor.device().type != DeviceType::cpu) {
        throw Error(fmt::format("tensor {} is not the contiguous {} {} on the CPU that was announced", spec.name,
                                name(spec.dtype), to_string(spec.shape)),
                    path.string(), "this is a mistake in the calling code");
      }
      file.write(tensor.raw(), static_cast<size_t>(tensor.bytes()));
    }
  });
}

/// Consecutive tensors until a shard is full, as Transformers does.
std::vector<std::vector<size_t>> plan_shards(const std::vector<TensorSpec>& specs, int64_t max_shard_bytes) {
  std::vector<std::vector<size_t>> shards(1);
  int64_t bytes = 0;
  for (size_t i = 0; i < specs.size(); ++i) {
    const int64_t more = byte_count(specs[i]);
    if (!shards.back().empty() && bytes + more > max_shard_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(i);
    bytes += more;
  }
  return shards;
}

/// Removes model*.safetensors and the index, except the names just written.
void remove_other_files(const fs::path& directory, const std::set<std::string>& written) {
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string file = entry.path().filename().string();
    const bool shard = file.starts_with("model-") && file.ends_with(".safetensors");
    if ((shard || file == single_name || file == index_name) && !written.contains(file)) fs::remove(entry.path());
  }
}

}  // namespace

std::vector<size_t> order_in_file(const std::vector<TensorSpec>& specs) {
  std::vector<size_t> order = indices_of(specs);
  sort_by_element(specs, order);
  return order;
}

void write_safetensors(const fs::path& path, const std::vector<TensorSpec>& specs, const TensorProvider& provider,
                       const Metadata& metadata) {
  check_specs(path, specs);
  write_file(path, specs, indices_of(specs), provider, metadata);
}

void write_safetensors_set(const fs::path& directory, const std::vector<TensorSpec>& specs,
                           const TensorProvider& provider, const SafetensorsWriteOptions& options) {
  check_specs(directory, specs);
  const std::vector<std::vector<size_t>> shards = plan_shards(specs, options.max_shard_bytes);
  if (shards.size() == 1) {
    write_file(directory / single_name, specs, shards[0], provider, options.metadata);
    remove_other_files(directory, {single_name});
    return;
  }
  ordered_json weight_map = ordered_json::object();
  std::set<std::string> written = {index_name};
  int64_t total = 0;
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    const std::string file = fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards.size());
    write_file(directory / file, specs, shards[shard], provider, options.metadata);
    written.insert(file);
    for (const size_t index : shards[shard]) {
      weight_map[specs[index].name] = file;
      total += byte_count(specs[index]);
    }
  }
  const ordered_json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(weight_map)}};
  write_file_atomically(directory / index_name, index.dump(2) + "\n");
  remove_other_files(directory, written);
}

}  // namespace subspect::runtime::io
