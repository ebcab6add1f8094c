// Metrics: JSON lines, TensorBoard event files byte for byte, and resuming after a step.
#include "runtime/io/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "runtime/io/files.h"
#include "runtime/io/tensorboard.h"

namespace subspect::runtime::io {
namespace {

namespace fs = std::filesystem;

class Metrics : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("subspect-metrics-" + std::to_string(::getpid()) + "-" +
                                           ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST(TensorBoard, Crc32cOfKnownText) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);  // the check value of CRC-32C
  EXPECT_EQ(crc32c(""), 0U);
}

TEST(TensorBoard, EventsAreThoseOfTensorBoardsOwnWriter) {
  const std::string golden = read_file(fs::path(SUBSPECT_SOURCE_DIR) / "tests/fixtures/tensorboard/golden.tfevents");
  const std::string ours = tfrecord(file_version_event(1000.5)) + tfrecord(scalars_event(1001.25, 0, {{"loss", 2.5}})) +
                           tfrecord(scalars_event(1002.0, 300, {{"loss", 0.1}, {"lr", 1e-5}})) +
                           tfrecord(session_start_event(1003.0, 129));
  EXPECT_EQ(ours, golden);
}

TEST_F(Metrics, OneLinePerStep) {
  MetricsWriter writer(folder_ / "metrics.jsonl");
  EXPECT_FALSE(fs::exists(folder_ / "metrics.jsonl"));
  writer.write(1, {{"loss", 0.1}, {"tokens", 8192}, {"lr", 1e-5}, {"grad_norm", std::nan("")}});
  writer.write(2, {{"loss", std::numeric_limits<double>::infinity()}});
  EXPECT_EQ(read_file(folder_ / "metrics.jsonl"),
            "{\"step\": 1, \"loss\": 0.1, \"tokens\": 8192, \"lr\": 1e-05, \"grad_norm\": null}\n"
            "{\"step\": 2, \"loss\": null}\n");
}

TEST_F(Metrics, ResumingDropsLaterStepsAndATornLine) {
  const fs::path file = folder_ / "metrics.jsonl";
  {
    MetricsWriter writer(file, folder_ / "tensorboard");
    for (int step = 1; step <= 4; ++step) writer.write(step, {{"loss", 5.0 - step}});
  }
  std::ofstream(file, std::ios::app) << "{\"step\": 5, \"lo";
  {
    MetricsWriter writer(file, folder_ / "tensorboard");
    writer.resume_after(2);
    writer.write(3, {{"loss", 1.5}});
  }
  EXPECT_EQ(read_file(file), "{\"step\": 1, \"loss\": 4}\n{\"step\": 2, \"loss\": 3}\n{\"step\": 3, \"loss\": 1.5}\n");
  std::vector<std::string> events;
  for (const auto& entry : fs::directory_iterator(folder_ / "tensorboard")) events.push_back(entry.path().string());
  EXPECT_EQ(events.size(), 2U);
}

TEST_F(Metrics, ResumingWithoutAFileWritesFromTheStart) {
  MetricsWriter writer(folder_ / "metrics.jsonl");
  writer.resume_after(0);
  writer.write(1, {});
  EXPECT_EQ(read_file(folder_ / "metrics.jsonl"), "{\"step\": 1}\n");
}

}  // namespace
}  // namespace subspect::runtime::io
