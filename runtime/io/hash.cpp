// SHA-256 by OpenSSL's EVP interface.
#include "runtime/io/hash.h"

#include <openssl/evp.h>

#include <array>
#include <fstream>

#include "runtime/error.h"

namespace subspect::runtime::io {

struct Sha256::Context {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
};

namespace {

void check(int ok) {
  if (ok != 1) throw Error("SHA-256 is not available in OpenSSL", "", "check the OpenSSL installation and its policy");
}

}  // namespace

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  check(context_->digest != nullptr ? 1 : 0);
  check(EVP_DigestInit_ex(context_->digest.get(), EVP_sha256(), nullptr));
}

Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) {
  check(EVP_DigestUpdate(context_->digest.get(), bytes.data(), bytes.size()));
}

std::string Sha256::hex() {
  std::array<unsigned char, 32> digest = {};
  unsigned int length = 0;
  check(EVP_DigestFinal_ex(context_->digest.get(), digest.data(), &length));
  std::string text;
  for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

std::string sha256_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    throw Error("cannot read for hashing", path.string(), "check that the file exists and is readable");
  }
  Sha256 hash;
  std::string piece(size_t{1} << 20, '\0');
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0) {
    hash.update({piece.data(), static_cast<size_t>(file.gcount())});
  }
  if (file.bad()) throw Error("cannot read for hashing", path.string(), "check the disk");
  return hash.hex();
}

}  // namespace subspect::runtime::io
