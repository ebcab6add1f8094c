// safetensors files and Hugging Face sets of them (one model.safetensors, or shards with an index): read by mmap,
// written in shards. Format: https://huggingface.co/docs/safetensors (header length, JSON header, one gapless byte
// buffer).
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/tensor.h"

namespace subspect::runtime::io {

class MappedFile;

using Metadata = std::map<std::string, std::string>;

/// What a file says of one tensor.
struct TensorInfo {
  DType dtype = DType::float32;
  Shape shape;
};

/// One memory-mapped safetensors file. Copies share the mapping; tensors keep it alive.
///
/// Opening validates the whole header: its length (at most 100 MB and inside the file), that it is a JSON object
/// without duplicate keys, known dtypes, shapes times element size equal to the byte ranges, ranges that cover the
/// buffer without gaps or overlaps. Every violation is an Error that names the file and, where there is one, the
/// tensor.
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const Metadata& metadata() const { return metadata_; }
  /// In the order of their bytes.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const;

  /// dtype and shape. Throws Error for a name that is not there, and for a tensor in a known format that this program
  /// does not compute with (F8_E4M3, U16, ...).
  TensorInfo info(std::string_view name) const;

  /// A read-only view on the mapping (a copy where the file places the tensor misaligned for its dtype). Do not write
  /// to it: the pages are not writable. Errors as `info`.
  Tensor tensor(std::string_view name) const;

 private:
  struct Entry;
  struct Header;

  const Entry& entry(std::string_view name) const;

  std::filesystem::path path_;
  Metadata metadata_;
  std::vector<std::string> names_;
  std::shared_ptr<const MappedFile> mapping_;
  std::shared_ptr<const Header> header_;
};

/// All tensors of a Hugging Face directory: model.safetensors, or else the shards of model.safetensors.index.json.
class SafetensorsSet {
 public:
  /// Throws Error naming the file for: neither of the two there, a broken index, an index that names a path outside the
  /// directory, a missing shard, a tensor that its shard lacks, a tensor that two shards hold.
  static SafetensorsSet open(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }
  const std::vector<SafetensorsFile>& files() const { return files_; }
  /// Shards in order, each in the order of its bytes.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const;
  TensorInfo info(std::string_view name) const { return file(name).info(name); }
  Tensor tensor(std::string_view name) const { return file(name).tensor(name); }
  /// The file that holds `name`; throws Error for a name that no file holds.
  const SafetensorsFile& file(std::string_view name) const;

 private:
  std::filesystem::path directory_;
  std::vector<SafetensorsFile> files_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, size_t> file_of_;
};

/// A tensor to be written; its values are asked for later.
struct TensorSpec {
  std::string name;
  DType dtype = DType::float32;
  Shape shape;
};

/// Gives the values of `specs[index]`: a contiguous CPU tensor of that dtype and shape. Called once for each tensor;
/// the result is dropped as soon as it is written, so that a model larger than memory can be streamed.
using TensorProvider = std::function<Tensor(size_t index)>;

/// The order in which `write_safetensors` asks for the tensors: by falling element size, else as given.
std::vector<size_t> order_in_file(const std::vector<TensorSpec>& specs);

struct SafetensorsWriteOptions {
  int64_t max_shard_bytes = 5'000'000'000;  ///< as Transformers; a tensor larger than this gets a shard of its own
  Metadata metadata = {{"format", "pt"}};
};

/// Writes one file, atomically, in the order of `order_in_file`; the header is padded with spaces so that the buffer
/// starts at a multiple of 64 bytes.
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorSpec>& specs,
                       const TensorProvider& provider, const Metadata& metadata = {});

/// Writes model.safetensors, or model-00001-of-0000N.safetensors and so on with model.safetensors.index.json when the
/// tensors exceed `max_shard_bytes`. Files of an earlier set in the directory are removed once the new set is complete.
/// Throws Error for duplicate names, and for a provider whose tensor is not what its spec says.
void write_safetensors_set(const std::filesystem::path& directory, const std::vector<TensorSpec>& specs,
                           const TensorProvider& provider, const SafetensorsWriteOptions& options = {});

}  // namespace subspect::runtime::io
