// Reading safetensors: everything a header says is checked before any byte of a tensor is touched.
#include "runtime/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::runtime::io {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t max_header_bytes = 100'000'000;  // the limit of the reference implementation
constexpr const char* damaged_advice = "the file is damaged or was not downloaded completely; fetch it again";

/// A format that the specification knows: its width, and our dtype where this program computes with it.
struct Format {
  int64_t bits = 0;
  std::optional<DType> dtype;
};

std::optional<Format> find_format(const std::string& name) {
  static const std::map<std::string, Format> formats = {{"F64", {64, DType::float64}},
                                                        {"F32", {32, DType::float32}},
                                                        {"F16", {16, DType::float16}},
                                                        {"BF16", {16, DType::bfloat16}},
                                                        {"I64", {64, DType::int64}},
                                                        {"I32", {32, DType::int32}},
                                                        {"I16", {16, DType::int16}},
                                                        {"I8", {8, DType::int8}},
                                                        {"U8", {8, DType::uint8}},
                                                        {"BOOL", {8, DType::boolean}},
                                                        {"U16", {16, {}}},
                                                        {"U32", {32, {}}},
                                                        {"U64", {64, {}}},
                                                        {"F8_E4M3", {8, {}}},
                                                        {"F8_E5M2", {8, {}}},
                                                        {"F8_E8M0", {8, {}}},
                                                        {"F8_E4M3FNUZ", {8, {}}},
                                                        {"F8_E5M2FNUZ", {8, {}}},
                                                        {"F6_E2M3", {6, {}}},
                                                        {"F6_E3M2", {6, {}}},
                                                        {"F4", {4, {}}},
                                                        {"C64", {64, {}}}};
  const auto found = formats.find(name);
  if (found == formats.end()) return std::nullopt;
  return found->second;
}

[[noreturn]] void damaged(const fs::path& path, const std::string& what) {
  throw Error(what, path.string(), damaged_advice);
}

/// Parses JSON; duplicate keys of any object are an error, which JSON leaves open and safetensors forbids.
json parse_strict(const fs::path& path, const char* begin, const char* end, std::string_view part) {
  std::vector<std::set<std::string>> keys;
  std::optional<std::string> duplicate;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.empty()) {
      const std::string key = parsed.get<std::string>();
      if (!keys.back().insert(key).second && !duplicate) duplicate = key;
    }
    return true;
  };
  json value;
  try {
    value = json::parse(begin, end, watch);
  } catch (const json::exception& error) {
    damaged(path, fmt::format("the {} is not valid JSON: {}", part, error.what()));
  }
  if (duplicate) damaged(path, fmt::format("the {} names {} twice", part, *duplicate));
  if (!value.is_object()) damaged(path, fmt::format("the {} is not a JSON object", part));
  return value;
}

int64_t read_count(const json& value, const fs::path& path, const std::string& tensor, std::string_view what) {
  constexpr uint64_t largest = std::numeric_limits<int64_t>::max();
  if (!value.is_number_unsigned() || value.get<uint64_t>() > largest) {
    damaged(path, fmt::format("tensor {}: {} must be a list of non-negative integers, not {}", tensor, what,
                              value.dump().substr(0, 40)));
  }
  return static_cast<int64_t>(value.get<uint64_t>());
}

/// Bytes of a tensor; nothing when the product overflows or is not a whole number of bytes.
std::optional<int64_t> byte_size(const Shape& shape, int64_t bits) {
  int64_t total = bits;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(total, size, &total)) return std::nullopt;
  }
  if (total % 8 != 0) return std::nullopt;
  return total / 8;
}

}  // namespace

struct SafetensorsFile::Entry {
  std::string name;
  std::string format;
  std::optional<DType> dtype;
  Shape shape;
  int64_t begin = 0;  // bytes from the start of the buffer
  int64_t end = 0;
};

struct SafetensorsFile::Header {
  std::vector<Entry> entries;  // by begin
  std::unordered_map<std::string, size_t> index;
  int64_t buffer_begin = 0;  // bytes from the start of the file
};

namespace {

struct RawHeader {
  json object;
  int64_t buffer_begin = 0;
  int64_t buffer_bytes = 0;
};

RawHeader read_raw_header(const MappedFile& file) {
  const fs::path& path = file.path();
  const char* data = file.text().data();
  const size_t bytes = file.text().size();
  if (bytes < 8) damaged(path, fmt::format("a safetensors file begins with 8 bytes of length; this one has {}", bytes));
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(data[i]);
  if (length > static_cast<uint64_t>(max_header_bytes)) {
    damaged(path, fmt::format("the header claims {} bytes; at most {} are allowed", length, max_header_bytes));
  }
  if (length > bytes - 8) {
    damaged(path, fmt::format("the header claims {} bytes and the file has only {} after it", length, bytes - 8));
  }
  if (length == 0 || data[8] != '{') damaged(path, "the header does not begin with '{'");
  RawHeader raw;
  raw.object = parse_strict(path, data + 8, data + 8 + length, "header");
  raw.buffer_begin = static_cast<int64_t>(8 + length);
  raw.buffer_bytes = static_cast<int64_t>(bytes) - raw.buffer_begin;
  return raw;
}

Metadata read_metadata(const fs::path& path, const json& object) {
  Metadata metadata;
  if (!object.contains("__metadata__")) return metadata;
  const json& entries = object.at("__metadata__");
  if (!entries.is_object()) damaged(path, "__metadata__ is not a JSON object");
  for (const auto& item : entries.items()) {
    if (!item.value().is_string()) damaged(path, fmt::format("__metadata__ key {} is not a string", item.key()));
    metadata[item.key()] = item.value().get<std::string>();
  }
  return metadata;
}

struct RawEntry {
  std::string format;
  std::optional<DType> dtype;
  Shape shape;
  int64_t begin = 0;
  int64_t end = 0;
};

RawEntry read_entry(const fs::path& path, const std::string& name, const json& value) {
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!value.is_object() || !value.contains(key)) {
      damaged(path, fmt::format("tensor {} has no {} in the header", name, key));
    }
  }
  RawEntry entry;
  const json& dtype = value.at("dtype");
  const std::optional<Format> format = dtype.is_string() ? find_format(dtype.get<std::string>()) : std::nullopt;
  if (!format) damaged(path, fmt::format("tensor {} has the unknown dtype {}", name, dtype.dump().substr(0, 40)));
  entry.format = dtype.get<std::string>();
  entry.dtype = format->dtype;
  const json& shape = value.at("shape");
  const json& offsets = value.at("data_offsets");
  if (!shape.is_array()) damaged(path, fmt::format("tensor {}: shape is not a list", name));
  if (!offsets.is_array() || offsets.size() != 2) {
    damaged(path, fmt::format("tensor {}: data_offsets is not a list of two", name));
  }
  for (const json& size : shape) entry.shape.push_back(read_count(size, path, name, "shape"));
  entry.begin = read_count(offsets[0], path, name, "data_offsets");
  entry.end = read_count(offsets[1], path, name, "data_offsets");
  const std::optional<int64_t> bytes = byte_size(entry.shape, format->bits);
  if (!bytes) damaged(path, fmt::format("tensor {} has the impossible shape {}", name, to_string(entry.shape)));
  if (entry.end < entry.begin || entry.end - entry.begin != *bytes) {
    damaged(path, fmt::format("tensor {}: {} {} needs {} bytes, but data_offsets are [{}, {}]", name, entry.format,
                              to_string(entry.shape), *bytes, entry.begin, entry.end));
  }
  return entry;
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const fs::path& path) {
  SafetensorsFile file;
  file.path_ = path;
  file.mapping_ = std::make_shared<const MappedFile>(path);
  const RawHeader raw = read_raw_header(*file.mapping_);
  file.metadata_ = read_metadata(path, raw.object);

  auto header = std::make_shared<Header>();
  header->buffer_begin = raw.buffer_begin;
  for (const auto& item : raw.object.items()) {
    if (item.key() == "__metadata__") continue;
    RawEntry entry = read_entry(path, item.key(), item.value());
    header->entries.push_back(
        {item.key(), std::move(entry.format), entry.dtype, std::move(entry.shape), entry.begin, entry.end});
  }
  std::stable_sort(header->entries.begin(), header->entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t covered = 0;
  for (const Entry& entry : header->entries) {
    if (entry.end > raw.buffer_bytes) {
      damaged(path,
              fmt::format("tensor {} ends at byte {} of a buffer of {}", entry.name, entry.end, raw.buffer_bytes));
    }
    if (entry.begin != covered) {
      damaged(path, fmt::format("tensor {} begins at byte {}, {} the byte {} where the one before it ends", entry.name,
                                entry.begin, entry.begin < covered ? "overlapping" : "leaving a gap after", covered));
    }
    covered = entry.end;
    header->index[entry.name] = file.names_.size();
    file.names_.push_back(entry.name);
  }
  if (covered != raw.buffer_bytes) {
    damaged(path, fmt::format("{} bytes at the end belong to no tensor", raw.buffer_bytes - covered));
  }
  file.header_ = std::move(header);
  return file;
}

bool SafetensorsFile::contains(std::string_view name) const {
  return header_->index.contains(std::string(name));
}

const SafetensorsFile::Entry& SafetensorsFile::entry(std::string_view name) const {
  const auto found = header_->index.find(std::string(name));
  if (found == header_->index.end()) {
    throw Error(fmt::format("there is no tensor {}", name), path_.string(),
                "the checkpoint is incomplete or of another architecture");
  }
  const Entry& entry = header_->entries[found->second];
  if (!entry.dtype) {
    throw Error(fmt::format("tensor {} has the dtype {}, which is not supported", name, entry.format), path_.string(),
                "convert the checkpoint to float32, bfloat16 or float16");
  }
  return entry;
}

TensorInfo SafetensorsFile::info(std::string_view name) const {
  const Entry& found = entry(name);
  return {*found.dtype, found.shape};
}

Tensor SafetensorsFile::tensor(std::string_view name) const {
  const Entry& found = entry(name);
  const char* data = mapping_->text().data() + header_->buffer_begin + found.begin;
  const auto width = static_cast<size_t>(element_size(*found.dtype));
  if (reinterpret_cast<uintptr_t>(data) % width == 0) {
    return Tensor::wrap(data, found.shape, *found.dtype, Device{}, mapping_);
  }
  const auto bytes = static_cast<size_t>(found.end - found.begin);
  auto copy = std::make_shared<std::vector<uint64_t>>(bytes / sizeof(uint64_t) + 1);
  std::memcpy(copy->data(), data, bytes);
  return Tensor::wrap(copy->data(), found.shape, *found.dtype, Device{}, copy);
}

namespace {

/// tensor name -> shard file name, checked. The order of the index is lost in JSON; shards are opened by name.
std::map<std::string, std::string> read_weight_map(const fs::path& path) {
  const std::string text = read_file(path, max_header_bytes);
  const json index = parse_strict(path, text.data(), text.data() + text.size(), "index");
  if (!index.contains("weight_map") || !index.at("weight_map").is_object()) {
    damaged(path, "the index has no weight_map object");
  }
  std::map<std::string, std::string> weight_map;
  for (const auto& item : index.at("weight_map").items()) {
    if (!item.value().is_string()) damaged(path, fmt::format("the file of tensor {} is not a string", item.key()));
    const auto file = item.value().get<std::string>();
    const fs::path relative = fs::path(file).lexically_normal();
    if (file.empty() || file.find('\0') != std::string::npos || relative.is_absolute() || *relative.begin() == "..") {
      throw Error(fmt::format("the index puts tensor {} into '{}', outside the directory", item.key(), file),
                  path.string(), "do not trust this checkpoint; fetch it from its publisher");
    }
    weight_map[item.key()] = file;
  }
  return weight_map;
}

}  // namespace

SafetensorsSet SafetensorsSet::open(const fs::path& directory) {
  SafetensorsSet set;
  set.directory_ = directory;
  const fs::path single = directory / "model.safetensors";
  const fs::path index = directory / "model.safetensors.index.json";
  std::map<std::string, std::string> weight_map;
  if (fs::exists(single)) {
    set.files_.push_back(SafetensorsFile::open(single));
  } else if (fs::exists(index)) {
    weight_map = read_weight_map(index);
    std::set<std::string> shards;
    for (const auto& item : weight_map) shards.insert(item.second);
    for (const std::string& shard : shards) {
      if (!fs::exists(directory / shard)) {
        throw Error(fmt::format("the shard {} named by the index is missing", shard), index.string(),
                    "fetch the missing file, or the whole checkpoint again");
      }
      set.files_.push_back(SafetensorsFile::open(directory / shard));
    }
  } else {
    throw Error("there is neither model.safetensors nor model.safetensors.index.json", directory.string(),
                fs::exists(directory / "pytorch_model.bin") ? "convert pytorch_model.bin to safetensors first"
                                                            : "give a Hugging Face model directory");
  }
  for (size_t i = 0; i < set.files_.size(); ++i) {
    for (const std::string& name : set.files_[i].names()) {
      const auto [place, inserted] = set.file_of_.emplace(name, i);
      if (!inserted) {
        damaged(set.files_[i].path(),
                fmt::format("tensor {} is also in {}", name, set.files_[place->second].path().filename().string()));
      }
      set.names_.push_back(name);
    }
  }
  for (const auto& item : weight_map) {
    const auto found = set.file_of_.find(item.first);
    if (found == set.file_of_.end() || set.files_[found->second].path() != directory / item.second) {
      damaged(directory / item.second, fmt::format("tensor {}, which the index puts here, is missing", item.first));
    }
  }
  return set;
}

bool SafetensorsSet::contains(std::string_view name) const {
  return file_of_.contains(std::string(name));
}

const SafetensorsFile& SafetensorsSet::file(std::string_view name) const {
  const auto found = file_of_.find(std::string(name));
  if (found == file_of_.end()) {
    throw Error(fmt::format("there is no tensor {}", name), directory_.string(),
                "the checkpoint is incomplete or of another architecture");
  }
  return files_[found->second];
}

}  // namespace subspect::runtime::io
