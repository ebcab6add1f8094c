// Atomic files, mappings, appended files and locks on POSIX system calls.
#include "runtime/io/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "runtime/error.h"

namespace subspect::runtime::io {

namespace fs = std::filesystem;

namespace {

constexpr size_t buffer_bytes = size_t{1} << 20;
constexpr std::string_view temporary_end = ".tmp";

std::string advice_for(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "free some space on that disk or choose another folder, then run the same command again";
    case EACCES:
    case EPERM:
    case EROFS:
      return "check the permissions of the file and its folder, or choose another folder";
    case ENOENT:
      return "check the path";
    case ENOTDIR:
      return "part of the path is a file, not a folder; choose another path";
    case EISDIR:
      return "a folder stands where a file is expected; check the path";
    case EMFILE:
    case ENFILE:
      return "too many files are open; raise the limit (ulimit -n)";
    case ENAMETOOLONG:
      return "use a shorter path";
    default:
      return "check the disk and the path";
  }
}

/// Owns a descriptor until it is released.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

/// Opens an existing regular file for reading and gives its size.
int open_for_reading(const fs::path& path, int64_t& size) {
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor.get() < 0) throw_file_error("cannot open", path, errno);
  struct stat status = {};
  if (::fstat(descriptor.get(), &status) != 0) throw_file_error("cannot read", path, errno);
  if (S_ISDIR(status.st_mode)) throw_file_error("cannot read", path, EISDIR);
  size = status.st_size;
  return descriptor.release();
}

void check_size(const fs::path& path, int64_t size, int64_t max_bytes) {
  if (size > max_bytes) {
    throw Error(fmt::format("file of {} bytes, at most {} are expected", size, max_bytes), path.string(),
                "check that it is the right file");
  }
}

void create_parent(const fs::path& path) {
  if (!path.has_parent_path()) return;
  std::error_code code;
  fs::create_directories(path.parent_path(), code);
  if (code) throw_file_error("cannot create the folder of", path, code.value());
}

/// Writes everything, or returns the error number.
int write_all(int descriptor, const char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor, data, bytes);
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    data += written;
    bytes -= static_cast<size_t>(written);
  }
  return 0;
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

void throw_file_error(std::string_view action, const fs::path& path, int error_number) {
  throw Error(fmt::format("{}: {}", action, std::strerror(error_number)), path.string(), advice_for(error_number));
}

fs::path temporary_path(const fs::path& path) {
  static std::atomic<uint64_t> number = 0;
  return folder_of(path) / fmt::format(".{}.{}.{}{}", path.filename().string(), ::getpid(), number++, temporary_end);
}

bool is_temporary(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with('.') && name.ends_with(temporary_end);
}

void remove_abandoned(const fs::path& directory) {
  std::vector<fs::path> abandoned;
  for (auto entry = fs::recursive_directory_iterator(directory); entry != fs::recursive_directory_iterator(); ++entry) {
    if (!is_temporary(entry->path())) continue;
    abandoned.push_back(entry->path());
    entry.disable_recursion_pending();
  }
  for (const fs::path& path : abandoned) fs::remove_all(path);
}

// ---------------------------------------------------------------------------------------------------- AtomicFile

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)), temporary_(temporary_path(path_)) {
  create_parent(path_);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw_file_error("cannot write", path_, errno);
}

AtomicFile::~AtomicFile() {
  discard();
}

void AtomicFile::discard() noexcept {
  if (descriptor_ < 0) return;
  ::close(std::exchange(descriptor_, -1));
  ::unlink(temporary_.c_str());
}

void AtomicFile::fail(std::string_view action, int error_number) {
  discard();
  throw_file_error(action, path_, error_number);
}

void AtomicFile::write_through(const char* data, size_t bytes) {
  if (const int error_number = write_all(descriptor_, data, bytes)) fail("cannot write", error_number);
}

void AtomicFile::flush() {
  write_through(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void AtomicFile::write(std::string_view bytes) {
  require(descriptor_ >= 0, "AtomicFile::write", "an open file is required; {} was committed or failed",
          path_.string());
  size_ += static_cast<int64_t>(bytes.size());
  if (buffer_.size() + bytes.size() <= buffer_bytes) {
    buffer_.append(bytes);
    return;
  }
  flush();
  if (bytes.size() < buffer_bytes) {
    buffer_.append(bytes);
  } else {
    write_through(bytes.data(), bytes.size());
  }
}

void AtomicFile::commit() {
  require(descriptor_ >= 0, "AtomicFile::commit", "an open file is required; {} was committed or failed",
          path_.string());
  flush();
  if (::fsync(descriptor_) != 0) fail("cannot write", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot replace", errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) throw_file_error("cannot write", path_, errno);
  sync_directory(folder_of(path_));
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void write_file_atomically(const fs::path& path, const std::function<void(AtomicFile&)>& write) {
  AtomicFile file(path);
  write(file);
  file.commit();
}

void sync_directory(const fs::path& directory) {
  const Descriptor descriptor(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() < 0) throw_file_error("cannot open the folder", directory, errno);
  // Some network and overlay file systems cannot sync folders; the rename itself has then been handed to them.
  if (::fsync(descriptor.get()) != 0 && errno != EINVAL && errno != ENOTSUP) {
    throw_file_error("cannot sync the folder", directory, errno);
  }
}

// ------------------------------------------------------------------------------------------------------- reading

std::string read_file(const fs::path& path, int64_t max_bytes) {
  int64_t size = 0;
  const Descriptor descriptor(open_for_reading(path, size));
  check_size(path, size, max_bytes);
  std::string contents;
  contents.reserve(static_cast<size_t>(size));
  std::string piece(buffer_bytes, '\0');
  for (;;) {
    const ssize_t count = ::read(descriptor.get(), piece.data(), piece.size());
    if (count == 0) return contents;
    if (count < 0) {
      if (errno == EINTR) continue;
      throw_file_error("cannot read", path, errno);
    }
    contents.append(piece.data(), static_cast<size_t>(count));
    check_size(path, static_cast<int64_t>(contents.size()), max_bytes);
  }
}

MappedFile::MappedFile(fs::path path, int64_t max_bytes) : path_(std::move(path)) {
  const Descriptor descriptor(open_for_reading(path_, size_));
  check_size(path_, size_, max_bytes);
  if (size_ == 0) throw Error("file is empty", path_.string(), "fetch or write it again");
  void* mapping = ::mmap(nullptr, static_cast<size_t>(size_), PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
  if (mapping == MAP_FAILED) throw_file_error("cannot map into memory", path_, errno);
  data_ = static_cast<const std::byte*>(mapping);
}

MappedFile::~MappedFile() {
  unmap();
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    unmap();
    path_ = std::move(other.path_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void MappedFile::unmap() noexcept {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), static_cast<size_t>(size_));
  data_ = nullptr;
}

// ---------------------------------------------------------------------------------------------------- AppendFile

namespace {

/// The size of `descriptor`'s contents up to and including the last line end.
int64_t size_of_whole_lines(int descriptor, int64_t size, const fs::path& path) {
  std::string piece(size_t{1} << 16, '\0');
  while (size > 0) {
    const int64_t begin = std::max<int64_t>(0, size - static_cast<int64_t>(piece.size()));
    const ssize_t count = ::pread(descriptor, piece.data(), static_cast<size_t>(size - begin), begin);
    if (count != size - begin) throw_file_error("cannot read", path, count < 0 ? errno : EIO);
    const size_t found = std::string_view(piece.data(), static_cast<size_t>(count)).rfind('\n');
    if (found != std::string_view::npos) return begin + static_cast<int64_t>(found) + 1;
    size = begin;
  }
  return 0;
}

}  // namespace

AppendFile::AppendFile(fs::path path, Contents contents) : path_(std::move(path)) {
  create_parent(path_);
  Descriptor descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (descriptor.get() < 0) throw_file_error("cannot write", path_, errno);
  struct stat status = {};
  if (::fstat(descriptor.get(), &status) != 0) throw_file_error("cannot read", path_, errno);
  if (contents == Contents::lines && S_ISREG(status.st_mode)) {
    const int64_t whole = size_of_whole_lines(descriptor.get(), status.st_size, path_);
    repaired_bytes_ = status.st_size - whole;
    if (repaired_bytes_ > 0 && ::ftruncate(descriptor.get(), whole) != 0)
      throw_file_error("cannot repair", path_, errno);
  }
  descriptor_ = descriptor.release();
}

AppendFile::~AppendFile() {
  close();
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)),
      repaired_bytes_(other.repaired_bytes_),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  if (this != &other) {
    close();
    path_ = std::move(other.path_);
    repaired_bytes_ = other.repaired_bytes_;
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

void AppendFile::close() noexcept {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

void AppendFile::append_line(std::string_view line) {
  require(line.find('\n') == std::string_view::npos, "append_line", "a line without line ends is required for {}",
          path_.string());
  std::string bytes;
  bytes.reserve(line.size() + 1);
  bytes.append(line).push_back('\n');
  append(bytes);
}

void AppendFile::append(std::string_view bytes) {
  if (const int error_number = write_all(descriptor_, bytes.data(), bytes.size())) {
    throw_file_error("cannot write", path_, error_number);
  }
}

void AppendFile::sync() {
  if (::fdatasync(descriptor_) != 0) throw_file_error("cannot write", path_, errno);
}

// ------------------------------------------------------------------------------------------------------ FileLock

namespace {

/// "process 123" if the holder left its number in the lock file.
std::string holder_of(int descriptor) {
  char text[32] = {};
  const ssize_t count = ::pread(descriptor, text, sizeof(text) - 1, 0);
  const long process = count > 0 ? std::strtol(text, nullptr, 10) : 0;
  return process > 0 ? fmt::format("process {}", process) : "another process";
}

}  // namespace

/// False when another holder has the file; the descriptor stays open for a look at who that is.
bool FileLock::take(const fs::path& file) {
  std::error_code code;
  fs::create_directories(file.parent_path(), code);
  if (code) throw_file_error("cannot create the folder", file.parent_path(), code.value());
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw_file_error("cannot write", file, errno);
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) throw_file_error("cannot lock", file, errno);
  }
  const std::string process = fmt::format("{}\n", ::getpid());
  if (::ftruncate(descriptor_, 0) != 0) throw_file_error("cannot write", file, errno);
  if (const int error_number = write_all(descriptor_, process.data(), process.size())) {
    throw_file_error("cannot write", file, error_number);
  }
  return true;
}

// Delegates, so that the descriptor is closed when the body throws.
// NOLINTNEXTLINE(performance-unnecessary-value-param): a sink in the header
FileLock::FileLock(fs::path directory) : FileLock() {
  if (take(directory / ".lock")) return;
  throw Error(fmt::format("folder is in use by {}", holder_of(descriptor_)), directory.string(),
              "wait until that run ends, stop it, or choose another folder with --out");
}

std::unique_ptr<FileLock> FileLock::try_file(const fs::path& file) {
  std::unique_ptr<FileLock> lock(new FileLock());
  return lock->take(file) ? std::move(lock) : nullptr;
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);  // releases the lock; the file stays, for removing it would race
}

// ---------------------------------------------------------------------------------------------------- free space

int64_t free_bytes(const fs::path& path) {
  std::error_code code;
  fs::path existing = fs::absolute(path, code);
  while (!existing.empty() && !fs::exists(existing, code) && existing != existing.root_path()) {
    existing = existing.parent_path();
  }
  const fs::space_info space = fs::space(existing, code);
  if (code) throw_file_error("cannot ask for free space", existing, code.value());
  return static_cast<int64_t>(std::min<uintmax_t>(space.available, std::numeric_limits<int64_t>::max()));
}

void require_free_space(const fs::path& path, int64_t bytes) {
  const int64_t available = free_bytes(path);
  if (available >= bytes) return;
  constexpr double gigabyte = 1e9;
  throw Error(fmt::format("{:.2f} GB are needed, {:.2f} GB are free", static_cast<double>(bytes) / gigabyte,
                          static_cast<double>(available) / gigabyte),
              path.string(), advice_for(ENOSPC));
}

}  // namespace subspect::runtime::io
