// SHA-256 (FIPS 180-4) of bytes, files and streams.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace subspect::runtime::io {

/// A digest over pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::string_view bytes);
  /// The digest in 64 lower-case hexadecimal digits. Ends the object's use.
  std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

/// The digest of `bytes`.
std::string sha256(std::string_view bytes);

/// The digest of a file's contents, read in pieces. Throws Error naming the file when it cannot be read.
std::string sha256_file(const std::filesystem::path& path);

}  // namespace subspect::runtime::io
