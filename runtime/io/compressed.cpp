// One decoder per compression behind InputFile: zlib, liblzma and libzstd, all streaming.
#include "runtime/io/compressed.h"

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <utility>

#include "runtime/error.h"

namespace subspect::runtime::io {

namespace fs = std::filesystem;

namespace {

constexpr size_t input_bytes = size_t{1} << 17;

/// The raw bytes of a file in pieces.
class RawFile {
 public:
  explicit RawFile(const fs::path& path) : path_(path), buffer_(input_bytes, '\0') {
    std::error_code code;
    if (fs::is_directory(path, code)) throw Error("cannot read a folder as a file", path.string(), "check the path");
    stream_.open(path, std::ios::binary);
    if (!stream_) throw Error("cannot open", path.string(), "check that the file exists and is readable");
  }

  const fs::path& path() const { return path_; }

  /// The next bytes; empty at the end.
  std::string_view next() {
    stream_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    if (stream_.bad()) throw Error("cannot read", path_.string(), "check the disk");
    return {buffer_.data(), static_cast<size_t>(stream_.gcount())};
  }

  /// The first bytes, without taking them.
  std::string peek(size_t count) {
    std::string bytes(count, '\0');
    stream_.read(bytes.data(), static_cast<std::streamsize>(count));
    bytes.resize(static_cast<size_t>(stream_.gcount()));
    stream_.clear();
    stream_.seekg(0);
    return bytes;
  }

 private:
  fs::path path_;
  std::ifstream stream_;
  std::string buffer_;
};

/// Turns raw bytes into contents.
class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Up to `capacity` bytes; 0 at the end.
  virtual size_t read(RawFile& file, char* buffer, size_t capacity) = 0;
};

[[noreturn]] void throw_damaged(const RawFile& file, std::string_view format, std::string_view detail) {
  throw Error(fmt::format("damaged {} data: {}", format, detail), file.path().string(),
              "fetch or write the file again");
}

[[noreturn]] void throw_truncated(const RawFile& file, std::string_view format) {
  throw_damaged(file, format, "the file ends in the middle");
}

class PlainDecoder final : public Decoder {
 public:
  size_t read(RawFile& file, char* buffer, size_t capacity) override {
    if (rest_.empty()) rest_ = file.next();
    const size_t count = rest_.copy(buffer, capacity);
    rest_.remove_prefix(count);
    return count;
  }

 private:
  std::string_view rest_;
};

/// gzip, several members one after the other included.
class GzipDecoder final : public Decoder {
 public:
  explicit GzipDecoder(const RawFile& file) {
    constexpr int gzip_only = 16 + MAX_WBITS;
    if (inflateInit2(&stream_, gzip_only) != Z_OK)
      throw Error("cannot start zlib", file.path().string(), "free memory");
  }
  ~GzipDecoder() override { inflateEnd(&stream_); }

  size_t read(RawFile& file, char* buffer, size_t capacity) override {
    stream_.next_out = reinterpret_cast<Bytef*>(buffer);
    stream_.avail_out = static_cast<uInt>(std::min(capacity, input_bytes));
    const uInt room = stream_.avail_out;
    while (stream_.avail_out == room) {
      // At the end of the file zlib may still hold output that did not fit before; no progress then means truncation.
      const bool at_end = stream_.avail_in == 0 && !refill(file);
      if (at_end && !in_member_) return 0;
      in_member_ = true;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        in_member_ = false;
        inflateReset(&stream_);
      } else if (at_end && status == Z_BUF_ERROR) {
        throw_truncated(file, "gzip");
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        throw_damaged(file, "gzip", stream_.msg != nullptr ? stream_.msg : "wrong contents");
      }
    }
    return room - stream_.avail_out;
  }

 private:
  bool refill(RawFile& file) {
    const std::string_view bytes = file.next();
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    return !bytes.empty();
  }

  z_stream stream_ = {};
  bool in_member_ = true;  // an empty file is truncated
};

class XzDecoder final : public Decoder {
 public:
  explicit XzDecoder(const RawFile& file) {
    if (lzma_stream_decoder(&stream_, UINT64_MAX, LZMA_CONCATENATED) != LZMA_OK) {
      throw Error("cannot start liblzma", file.path().string(), "free memory");
    }
  }
  ~XzDecoder() override { lzma_end(&stream_); }

  size_t read(RawFile& file, char* buffer, size_t capacity) override {
    if (ended_) return 0;
    stream_.next_out = reinterpret_cast<uint8_t*>(buffer);
    stream_.avail_out = capacity;
    while (stream_.avail_out == capacity) {
      if (stream_.avail_in == 0 && !at_end_) refill(file);
      const lzma_ret status = lzma_code(&stream_, at_end_ ? LZMA_FINISH : LZMA_RUN);
      if (status == LZMA_STREAM_END) {
        ended_ = true;
        break;
      }
      if (status == LZMA_BUF_ERROR) throw_truncated(file, "xz");
      if (status != LZMA_OK) throw_damaged(file, "xz", fmt::format("liblzma error {}", static_cast<int>(status)));
    }
    return capacity - stream_.avail_out;
  }

 private:
  void refill(RawFile& file) {
    const std::string_view bytes = file.next();
    stream_.next_in = reinterpret_cast<const uint8_t*>(bytes.data());
    stream_.avail_in = bytes.size();
    at_end_ = bytes.empty();
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool at_end_ = false;
  bool ended_ = false;
};

/// Zstandard, several frames one after the other included.
class ZstdDecoder final : public Decoder {
 public:
  explicit ZstdDecoder(const RawFile& file) {
    if (stream_ == nullptr) throw Error("cannot start libzstd", file.path().string(), "free memory");
  }

  size_t read(RawFile& file, char* buffer, size_t capacity) override {
    ZSTD_outBuffer output = {buffer, capacity, 0};
    while (output.pos == 0) {
      if (input_.pos == input_.size && !refill(file) && !flushing_) {
        if (in_frame_) throw_truncated(file, "zstd");
        return 0;
      }
      const size_t status = ZSTD_decompressStream(stream_.get(), &output, &input_);
      if (ZSTD_isError(status) != 0) throw_damaged(file, "zstd", ZSTD_getErrorName(status));
      in_frame_ = status != 0;
      flushing_ = output.pos == output.size && in_frame_;
      if (output.pos == 0 && input_.size == 0 && in_frame_) throw_truncated(file, "zstd");
    }
    return output.pos;
  }

 private:
  bool refill(RawFile& file) {
    const std::string_view bytes = file.next();
    input_ = {bytes.data(), bytes.size(), 0};
    return !bytes.empty();
  }

  std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream_{ZSTD_createDStream(), &ZSTD_freeDStream};
  ZSTD_inBuffer input_ = {nullptr, 0, 0};
  bool in_frame_ = true;   // an empty file is truncated
  bool flushing_ = false;  // the last call filled its output: more may come without further input
};

Compression compression_of_name(const fs::path& path) {
  const std::string suffix = path.extension().string();
  if (suffix == ".gz") return Compression::gzip;
  if (suffix == ".xz") return Compression::xz;
  if (suffix == ".zst") return Compression::zstd;
  return Compression::none;
}

Compression compression_of_bytes(std::string_view bytes) {
  using std::string_view_literals::operator""sv;
  if (bytes.starts_with("\x1f\x8b"sv)) return Compression::gzip;
  if (bytes.starts_with("\xfd\x37\x7a\x58\x5a\x00"sv)) return Compression::xz;
  if (bytes.starts_with("\x28\xb5\x2f\xfd"sv)) return Compression::zstd;
  return Compression::none;
}

std::unique_ptr<Decoder> make_decoder(Compression compression, const RawFile& file) {
  switch (compression) {
    case Compression::gzip:
      return std::make_unique<GzipDecoder>(file);
    case Compression::xz:
      return std::make_unique<XzDecoder>(file);
    case Compression::zstd:
      return std::make_unique<ZstdDecoder>(file);
    case Compression::none:
      break;
  }
  return std::make_unique<PlainDecoder>();
}

}  // namespace

struct InputFile::State {
  RawFile file;
  Compression compression = Compression::none;
  std::unique_ptr<Decoder> decoder;
};

std::string_view compression_name(Compression compression) {
  switch (compression) {
    case Compression::gzip:
      return "gzip";
    case Compression::xz:
      return "xz";
    case Compression::zstd:
      return "zstd";
    case Compression::none:
      break;
  }
  return "plain";
}

fs::path without_compression_suffix(const fs::path& path) {
  return compression_of_name(path) == Compression::none ? path : path.parent_path() / path.stem();
}

InputFile::InputFile(const fs::path& path) : state_(new State{RawFile(path), Compression::none, nullptr}) {
  constexpr size_t longest_magic = 6;
  const Compression promised = compression_of_name(path);
  state_->compression = compression_of_bytes(state_->file.peek(longest_magic));
  if (promised != Compression::none && promised != state_->compression) {
    throw Error(fmt::format("file is not {} data, as its name says", compression_name(promised)), path.string(),
                "fetch it again, or give it the name of what it is");
  }
  state_->decoder = make_decoder(state_->compression, state_->file);
}

InputFile::~InputFile() = default;
InputFile::InputFile(InputFile&&) noexcept = default;
InputFile& InputFile::operator=(InputFile&&) noexcept = default;

const fs::path& InputFile::path() const {
  return state_->file.path();
}

Compression InputFile::compression() const {
  return state_->compression;
}

size_t InputFile::read(char* buffer, size_t capacity) {
  return capacity == 0 ? 0 : state_->decoder->read(state_->file, buffer, capacity);
}

std::string read_compressed_file(const fs::path& path, int64_t max_bytes) {
  InputFile file(path);
  std::string contents;
  std::string piece(input_bytes, '\0');
  while (const size_t count = file.read(piece.data(), piece.size())) {
    contents.append(piece.data(), count);
    if (static_cast<int64_t>(contents.size()) > max_bytes) {
      throw Error(fmt::format("contents exceed {} bytes", max_bytes), path.string(), "check that it is the right file");
    }
  }
  return contents;
}

LineReader::LineReader(const fs::path& path, int64_t max_line_bytes) : file_(path), max_line_bytes_(max_line_bytes) {}

bool LineReader::fill() {
  const size_t begin = buffer_.size();
  buffer_.resize(begin + input_bytes);
  const size_t count = file_.read(buffer_.data() + begin, input_bytes);
  buffer_.resize(begin + count);
  return count > 0;
}

bool LineReader::next(std::string& line) {
  size_t end = buffer_.find('\n', position_);
  while (end == std::string::npos) {
    buffer_.erase(0, std::exchange(position_, 0));
    const size_t searched = buffer_.size();
    if (static_cast<int64_t>(searched) > max_line_bytes_) {
      throw Error(fmt::format("line longer than {} bytes", max_line_bytes_),
                  fmt::format("{}:{}", path().string(), line_number_ + 1), "check that it is a file of lines");
    }
    if (!fill()) break;
    end = buffer_.find('\n', searched);
  }
  if (end == std::string::npos && position_ == buffer_.size()) return false;
  const size_t length = std::min(end, buffer_.size()) - position_;
  line.assign(buffer_, position_, length);
  position_ += std::min(length + 1, buffer_.size() - position_);
  if (std::exchange(at_start_, false) && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
  if (line.ends_with('\r')) line.pop_back();
  ++line_number_;
  return true;
}

}  // namespace subspect::runtime::io
