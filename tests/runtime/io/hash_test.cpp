// SHA-256 against the vectors of FIPS 180-4.
#include "runtime/io/hash.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "runtime/error.h"

namespace subspect::runtime::io {
namespace {

TEST(HashTest, MatchesPublishedVectors) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(HashTest, PiecesAndFilesGiveTheSame) {
  const auto file =
      std::filesystem::path(testing::TempDir()) / ("subspect-hash-" + std::to_string(::getpid()) + ".bin");
  const std::string text(2'500'000, 'q');
  std::ofstream(file, std::ios::binary) << text;
  Sha256 pieces;
  pieces.update(std::string_view(text).substr(0, 17));
  pieces.update("");
  pieces.update(std::string_view(text).substr(17));
  const std::string expected = sha256(text);
  EXPECT_EQ(pieces.hex(), expected);
  EXPECT_EQ(sha256_file(file), expected);
  std::filesystem::remove(file);
  EXPECT_THROW(sha256_file(file), Error);
  EXPECT_THROW(sha256_file(testing::TempDir()), Error);
}

}  // namespace
}  // namespace subspect::runtime::io
