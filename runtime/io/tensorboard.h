// TensorBoard event files: scalars over steps, written without TensorFlow. An event file is a TFRecord stream (lengths
// and data with masked CRC-32C) of `Event` protobufs, encoded by hand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace subspect::runtime::io {

class AppendFile;

/// CRC-32C (Castagnoli) of bytes.
uint32_t crc32c(std::string_view bytes);

/// One TFRecord: length, masked CRC of the length, data, masked CRC of the data; little-endian.
std::string tfrecord(std::string_view data);

/// Event protobufs (tensorflow/core/util/event.proto). @param wall_time seconds since 1970.
std::string file_version_event(double wall_time);
std::string scalars_event(double wall_time, int64_t step, const std::vector<std::pair<std::string, double>>& scalars);
/// A session start: viewers forget steps >= `step` of earlier event files in the folder.
std::string session_start_event(double wall_time, int64_t step);

/// Appends scalars to a new event file in a folder.
class TensorBoardWriter {
 public:
  explicit TensorBoardWriter(std::filesystem::path folder);
  ~TensorBoardWriter();

  void write(int64_t step, const std::vector<std::pair<std::string, double>>& scalars);
  /// What earlier files say about steps after `step` is void.
  void resume_after(int64_t step);

 private:
  void append(const std::string& event);

  std::filesystem::path folder_;
  std::unique_ptr<AppendFile> file_;  // opened with the first event
};

}  // namespace subspect::runtime::io
