// Writing of TensorBoard event files into a folder.
#include "runtime/io/tensorboard.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "runtime/io/files.h"

namespace subspect::runtime::io {

namespace {

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// A name that sorts after every earlier one and that no file has: viewers read event files in this order.
std::filesystem::path new_event_file(const std::filesystem::path& folder) {
  char host[256] = "localhost";
  ::gethostname(host, sizeof(host) - 1);
  const auto time = static_cast<int64_t>(seconds_since_1970());
  for (int number = 0;; ++number) {
    auto path = folder / fmt::format("events.out.tfevents.{:010d}.{}.{}.{}", time, host, ::getpid(), number);
    if (!std::filesystem::exists(path)) return path;
  }
}

}  // namespace

TensorBoardWriter::TensorBoardWriter(std::filesystem::path folder) : folder_(std::move(folder)) {}
TensorBoardWriter::~TensorBoardWriter() = default;

void TensorBoardWriter::append(const std::string& event) {
  if (!file_) {
    file_ = std::make_unique<AppendFile>(new_event_file(folder_), AppendFile::Contents::bytes);
    file_->append(tfrecord(file_version_event(seconds_since_1970())));
  }
  file_->append(tfrecord(event));
}

void TensorBoardWriter::write(int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
  append(scalars_event(seconds_since_1970(), step, scalars));
}

void TensorBoardWriter::resume_after(int64_t step) {
  file_.reset();
  append(session_start_event(seconds_since_1970(), step + 1));
}

}  // namespace subspect::runtime::io
