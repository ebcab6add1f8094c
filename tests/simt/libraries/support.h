// What the tests of the products share: an emulated device with a stream, a workspace and the handles of its libraries.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/libraries.h"
#include "tests/kernels/support.h"
#include "tests/simt/cuda/support.h"

namespace subspect::kernels::test {

using emulated::test::DeviceArray;

/// A clean device for every case.
class LibrariesCase : public emulated::test::EmulatedCase {
 protected:
  static constexpr size_t workspace_bytes = size_t{1} << 20;

  void SetUp() override {
    EmulatedCase::SetUp();
    stream_ = std::make_unique<emulated::test::TestStream>();
    workspace_ = std::make_unique<DeviceArray<std::byte>>(workspace_bytes);
    open({});
  }
  void TearDown() override {
    libraries_.reset();
    workspace_.reset();
    stream_.reset();
    EXPECT_EQ(emulated::live_allocations(), 0);
    EmulatedCase::TearDown();
  }

  /// Makes the handles anew, with this stream's workspace.
  void open(gpu::LibrariesConfig config) {
    if (config.gpu.empty()) config.gpu = "emulated";
    config.workspace = workspace_->data();
    if (config.workspace_bytes == 0) config.workspace_bytes = workspace_bytes;
    libraries_ = std::make_unique<gpu::Libraries>(config);
  }

  Context<Cuda> on() const { return {stream_->get(), libraries_.get()}; }
  gpu::Libraries& libraries() { return *libraries_; }
  cudaStream_t stream() const { return stream_->get(); }

 private:
  std::unique_ptr<emulated::test::TestStream> stream_;
  std::unique_ptr<DeviceArray<std::byte>> workspace_;
  std::unique_ptr<gpu::Libraries> libraries_;
};

/// A folder of this test process, removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder()
      : path_(std::filesystem::temp_directory_path() /
              ("subspect-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace subspect::kernels::test
