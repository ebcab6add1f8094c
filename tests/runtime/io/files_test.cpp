// Atomic files, mappings, appended files, locks: what is there after success, failure and a kill.
#include "runtime/io/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "runtime/error.h"

namespace subspect::runtime::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class FilesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "subspect-files-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void put(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

template <class Function>
std::string error_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(FilesTest, WritesWholeFilesAndCreatesFolders) {
  const fs::path file = folder_ / "a" / "b" / "file.txt";
  write_file_atomically(file, "one");
  EXPECT_EQ(read_file(file), "one");
  write_file_atomically(file, std::string(3'000'000, 'x'));
  EXPECT_EQ(read_file(file), std::string(3'000'000, 'x'));
  EXPECT_EQ(std::distance(fs::directory_iterator(file.parent_path()), fs::directory_iterator()), 1);
}

TEST_F(FilesTest, PiecesOfEverySizeArriveInOrder) {
  std::string expected;
  const fs::path file = folder_ / "pieces";
  write_file_atomically(file, [&](AtomicFile& out) {
    for (const size_t size :
         {size_t{1}, size_t{1} << 20, size_t{7}, (size_t{1} << 20) + 1, size_t{0}, size_t{999'999}}) {
      const std::string piece(size, static_cast<char>('a' + size % 23));
      out.write(piece.data(), piece.size());
      expected += piece;
      EXPECT_EQ(out.size(), static_cast<int64_t>(expected.size()));
    }
  });
  EXPECT_EQ(read_file(file), expected);
}

TEST_F(FilesTest, NothingIsLeftOfAFileThatWasNotCommitted) {
  put("kept", "old");
  EXPECT_THROW(write_file_atomically(folder_ / "kept",
                                     [](AtomicFile& out) {
                                       out.write("new");
                                       throw std::runtime_error("stopped");
                                     }),
               std::runtime_error);
  EXPECT_EQ(read_file(folder_ / "kept"), "old");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(FilesTest, CommitOnlyOnce) {
  AtomicFile file(folder_ / "once");
  file.commit();
  EXPECT_THROW(file.commit(), Error);
  EXPECT_THROW(file.write("more"), Error);
  EXPECT_EQ(read_file(folder_ / "once"), "");
}

/// A file-size limit stands for a full disk: write fails half-way.
TEST_F(FilesTest, AFailedWriteNamesTheFileAndRemovesTheTemporary) {
  const fs::path file = folder_ / "big";
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string error = error_of([&] { write_file_atomically(file, std::string(5000, 'x')); });
    _exit(error.find("cannot write") == 0 && error.find(file.string()) != std::string::npos ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(entries(), 0U);
}

TEST_F(FilesTest, AFullDiskIsSaidSo) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "needs /dev/full";
  AppendFile full("/dev/full", AppendFile::Contents::bytes);
  EXPECT_THAT(error_of([&] { full.append("x"); }),
              AllOf(HasSubstr("No space left on device"), HasSubstr("/dev/full"), HasSubstr("free some space")));
}

TEST_F(FilesTest, AFileInTheWayOfAFolderIsNamed) {
  put("file", "x");
  EXPECT_THAT(error_of([&] { write_file_atomically(folder_ / "file" / "below", "x"); }), HasSubstr("file/below"));
  EXPECT_THAT(error_of([&] { AppendFile file(folder_); }), HasSubstr(folder_.string()));
  EXPECT_THAT(error_of([&] { write_file_atomically(folder_, "x"); }), HasSubstr(folder_.string()));
}

TEST_F(FilesTest, ReadingReportsWhatIsWrong) {
  EXPECT_THAT(error_of([&] { read_file(folder_ / "missing"); }),
              AllOf(HasSubstr("cannot open: No such file"), HasSubstr("missing")));
  EXPECT_THAT(error_of([&] { read_file(folder_); }), HasSubstr("Is a directory"));
  put("five", "12345");
  EXPECT_EQ(read_file(folder_ / "five", 5), "12345");
  EXPECT_THAT(error_of([&] { read_file(folder_ / "five", 4); }), HasSubstr("5 bytes, at most 4"));
}

TEST_F(FilesTest, MapsAFile) {
  put("mapped", std::string("a\0b", 3));
  MappedFile first(folder_ / "mapped");
  EXPECT_EQ(first.text(), std::string_view("a\0b", 3));
  MappedFile second = std::move(first);
  EXPECT_EQ(second.bytes().size(), 3U);
  EXPECT_EQ(second.path(), folder_ / "mapped");
  EXPECT_EQ(first.size(), 0);  // NOLINT(bugprone-use-after-move): moved-from is empty
  put("other", "xyz!");
  second = MappedFile(folder_ / "other");
  EXPECT_EQ(second.text(), "xyz!");
}

TEST_F(FilesTest, MappingReportsWhatIsWrong) {
  put("empty", "");
  put("large", "12345");
  EXPECT_THAT(error_of([&] { MappedFile m(folder_ / "empty"); }), HasSubstr("file is empty"));
  EXPECT_THAT(error_of([&] { MappedFile m(folder_ / "large", 3); }), HasSubstr("at most 3"));
  EXPECT_THAT(error_of([&] { MappedFile m(folder_ / "missing"); }), HasSubstr("missing"));
  EXPECT_THAT(error_of([&] { MappedFile m(folder_); }), HasSubstr("Is a directory"));
}

TEST_F(FilesTest, AppendsLinesAcrossOpenings) {
  const fs::path file = folder_ / "deep" / "log.jsonl";
  AppendFile(file).append_line("one");
  AppendFile second(file);
  EXPECT_EQ(second.repaired_bytes(), 0);
  second.append_line("two");
  AppendFile third = std::move(second);
  third.append_line("");
  third.sync();
  EXPECT_EQ(read_file(file), "one\ntwo\n\n");
  EXPECT_THROW(third.append_line("a\nb"), Error);
}

TEST_F(FilesTest, CutsOffATornLastLine) {
  const std::string long_tail(200'000, 't');
  struct Case {
    std::string before, after;
  };
  for (const auto& [before, after] : {Case{"one\ntw", "one\n"}, Case{"torn", ""}, Case{"", ""}, Case{"one\n", "one\n"},
                                      Case{"one\n" + long_tail, "one\n"}, Case{long_tail, ""}}) {
    put("torn", before);
    AppendFile file(folder_ / "torn");
    EXPECT_EQ(file.repaired_bytes(), static_cast<int64_t>(before.size() - after.size()));
    file.append_line("next");
    EXPECT_EQ(read_file(folder_ / "torn"), after + "next\n");
  }
}

TEST_F(FilesTest, BytesAreLeftAsTheyAre) {
  put("events", "no line end");
  AppendFile file(folder_ / "events", AppendFile::Contents::bytes);
  file.append("!");
  EXPECT_EQ(read_file(folder_ / "events"), "no line end!");
}

TEST_F(FilesTest, OneProcessHoldsAFolder) {
  const fs::path run = folder_ / "run";
  {
    const FileLock lock(run);
    EXPECT_THAT(error_of([&] { FileLock second(run); }),
                AllOf(HasSubstr(fmt::format("in use by process {}", getpid())), HasSubstr(run.string())));
  }
  const FileLock again(run);
}

TEST_F(FilesTest, AKilledProcessHoldsNothing) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const FileLock lock(folder_);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_THAT(error_of([&] { FileLock lock(folder_); }), HasSubstr(fmt::format("process {}", child)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  const FileLock lock(folder_);
}

TEST_F(FilesTest, AsksForFreeSpace) {
  EXPECT_GT(free_bytes(folder_ / "not" / "yet" / "there"), 0);
  require_free_space(folder_, 1);
  EXPECT_THAT(error_of([&] { require_free_space(folder_, int64_t{1} << 62); }),
              AllOf(HasSubstr("GB are needed"), HasSubstr(folder_.string()), HasSubstr("free some space")));
}

}  // namespace
}  // namespace subspect::runtime::io
