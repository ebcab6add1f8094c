// Plain and compressed files read back as what went in; truncated and damaged ones are named.
#include "runtime/io/compressed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lzma.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <fstream>
#include <memory>
#include <vector>

#include "runtime/error.h"

namespace subspect::runtime::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string gzip(const std::string& text) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string xz(const std::string& text) {
  std::string out(lzma_stream_buffer_bound(text.size()), '\0');
  size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const uint8_t*>(text.data()),
                                    text.size(), reinterpret_cast<uint8_t*>(out.data()), &size, out.size()),
            LZMA_OK);
  out.resize(size);
  return out;
}

/// With a checksum, as the zstd program writes.
std::string zstd(const std::string& text) {
  const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), &ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const size_t size = ZSTD_compress2(context.get(), out.data(), out.size(), text.data(), text.size());
  EXPECT_FALSE(ZSTD_isError(size));
  out.resize(size);
  return out;
}

std::string unchanged(const std::string& text) {
  return text;
}

struct Format {
  std::string suffix;
  Compression compression;
  std::string (*compress)(const std::string&);
};

std::string name_of_format(const testing::TestParamInfo<Format>& tested) {
  return std::string(compression_name(tested.param.compression));
}

/// Text that compresses well here and badly there, so that buffers end everywhere.
std::string mixed_text(size_t size) {
  std::string text;
  uint32_t state = 7;
  while (text.size() < size) {
    state = state * 1664525U + 1013904223U;
    text += (state >> 28) == 0 ? std::string(5000, 'z') : std::to_string(state);
    text += (state >> 20) % 5 == 0 ? "\n" : " ";
  }
  return text;
}

class ScratchFiles : public testing::Test {
 protected:
  fs::path put(const std::string& name, const std::string& bytes) {
    const fs::path file = fs::path(testing::TempDir()) / ("subspect-" + std::to_string(::getpid()) + "-" + name);
    std::ofstream(file, std::ios::binary) << bytes;
    files_.push_back(file);
    return file;
  }
  void TearDown() override {
    for (const auto& file : files_) fs::remove(file);
  }

  std::vector<fs::path> files_;
};

class CompressedTest : public ScratchFiles, public testing::WithParamInterface<Format> {};

std::string error_of(const fs::path& file) {
  try {
    read_compressed_file(file);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_P(CompressedTest, RoundTrip) {
  const auto& [suffix, compression, compress] = GetParam();
  for (const size_t size : {size_t{0}, size_t{1}, size_t{131'072}, size_t{3'000'000}}) {
    const std::string text = mixed_text(size);
    const fs::path file = put("trip.txt" + suffix, compress(text));
    EXPECT_EQ(read_compressed_file(file), text);
    EXPECT_EQ(InputFile(file).compression(), compression);
  }
}

TEST_P(CompressedTest, SmallReadsGiveTheSame) {
  const auto& format = GetParam();
  const std::string text = mixed_text(20'000);
  InputFile file(put("small.txt" + format.suffix, format.compress(text)));
  std::string read;
  char buffer[3];
  while (const size_t count = file.read(buffer, sizeof buffer)) read.append(buffer, count);
  EXPECT_EQ(read, text);
  EXPECT_EQ(file.read(buffer, sizeof buffer), 0U);
}

TEST_P(CompressedTest, SeveralMembersAreOneText) {
  const auto& format = GetParam();
  EXPECT_EQ(read_compressed_file(put("two.txt" + format.suffix, format.compress("first ") + format.compress("second"))),
            "first second");
}

TEST_P(CompressedTest, ItsBytesDecideWithoutASuffix) {
  const auto& format = GetParam();
  EXPECT_EQ(read_compressed_file(put("bare.txt", format.compress("hidden"))), "hidden");
}

TEST_P(CompressedTest, TruncatedAtEveryTenthIsAnError) {
  const auto& format = GetParam();
  const std::string whole = format.compress(mixed_text(400'000));
  for (size_t tenth = 1; tenth < 10; ++tenth) {
    const fs::path file = put("cut.txt" + format.suffix, whole.substr(0, whole.size() * tenth / 10));
    EXPECT_THAT(error_of(file), AllOf(HasSubstr("ends in the middle"), HasSubstr("cut.txt"))) << tenth;
  }
  EXPECT_THAT(error_of(put("last.txt" + format.suffix, whole.substr(0, whole.size() - 1))), HasSubstr("damaged"));
}

TEST_P(CompressedTest, DamagedDataIsAnError) {
  const auto& format = GetParam();
  std::string bytes = format.compress(mixed_text(400'000));
  for (size_t i = 0; i < 16; ++i) bytes[bytes.size() / 2 + i] ^= static_cast<char>(0x5a);
  EXPECT_THAT(error_of(put("bad.txt" + format.suffix, bytes)), AllOf(HasSubstr("damaged"), HasSubstr("bad.txt")));
}

TEST_P(CompressedTest, ANameThatPromisesAnotherFormatIsAnError) {
  const auto& format = GetParam();
  EXPECT_THAT(error_of(put("plain.txt" + format.suffix, "just text")), HasSubstr("as its name says"));
  EXPECT_THAT(error_of(put("empty.txt" + format.suffix, "")), HasSubstr("as its name says"));
}

INSTANTIATE_TEST_SUITE_P(Formats, CompressedTest,
                         testing::Values(Format{".gz", Compression::gzip, gzip}, Format{".xz", Compression::xz, xz},
                                         Format{".zst", Compression::zstd, zstd}),
                         name_of_format);

class LineReaderTest : public CompressedTest {};

std::vector<std::string> lines_of(const fs::path& file) {
  LineReader reader(file);
  std::vector<std::string> lines;
  std::string line;
  while (reader.next(line)) {
    lines.push_back(line);
    EXPECT_EQ(reader.line_number(), static_cast<int64_t>(lines.size()));
  }
  return lines;
}

TEST_P(LineReaderTest, SplitsLinesAsAnIndependentLoopDoes) {
  const auto& format = GetParam();
  const std::string text = mixed_text(1'000'000);
  std::vector<std::string> expected(1);
  for (const char c : text) {
    if (c == '\n') {
      expected.emplace_back();
    } else {
      expected.back() += c;
    }
  }
  if (expected.back().empty()) expected.pop_back();
  EXPECT_EQ(lines_of(put("lines.txt" + format.suffix, format.compress(text))), expected);
}

INSTANTIATE_TEST_SUITE_P(Formats, LineReaderTest,
                         testing::Values(Format{".txt", Compression::none, unchanged},
                                         Format{".gz", Compression::gzip, gzip}),
                         name_of_format);

class PlainLinesTest : public ScratchFiles {};

TEST_F(PlainLinesTest, LineEndsAndByteOrderMark) {
  EXPECT_THAT(lines_of(put("a", "one\r\ntwo\n\n four\r")), ElementsAre("one", "two", "", " four"));
  EXPECT_THAT(lines_of(put("b", "\xef\xbb\xbfone\n\xef\xbb\xbftwo")), ElementsAre("one", "\xef\xbb\xbftwo"));
  EXPECT_THAT(lines_of(put("c", "")), ElementsAre());
  EXPECT_THAT(lines_of(put("d", "\n")), ElementsAre(""));
}

TEST_F(PlainLinesTest, ALineThatIsTooLongIsAnErrorWithItsNumber) {
  LineReader reader(put("long", "short\n" + std::string(1'000'000, 'x')), 1000);
  std::string line;
  ASSERT_TRUE(reader.next(line));
  try {
    reader.next(line);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("longer than 1000 bytes"), HasSubstr("long:2")));
  }
}

TEST_F(PlainLinesTest, MissingFilesFoldersAndLimits) {
  EXPECT_THAT(error_of("/nowhere/x.jsonl.gz"), HasSubstr("/nowhere/x.jsonl.gz"));
  EXPECT_THAT(error_of(testing::TempDir()), HasSubstr("folder"));
  EXPECT_THROW(read_compressed_file(put("limit", "12345"), 4), Error);
  EXPECT_EQ(without_compression_suffix("a/b.jsonl.gz"), "a/b.jsonl");
  EXPECT_EQ(without_compression_suffix("a/b.jsonl"), "a/b.jsonl");
}

}  // namespace
}  // namespace subspect::runtime::io
