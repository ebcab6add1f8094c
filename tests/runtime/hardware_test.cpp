// Peak speeds by the name of the GPU.
#include "runtime/hardware.h"

#include <gtest/gtest.h>

#include <utility>

namespace subspect::runtime {
namespace {

TEST(HardwareTest, PeaksOfKnownGpus) {
  EXPECT_EQ(dense_bfloat16_flops("NVIDIA H200"), 989e12);
  EXPECT_EQ(dense_bfloat16_flops("NVIDIA H200 NVL"), 835e12);
  EXPECT_EQ(dense_bfloat16_flops("NVIDIA H100 80GB HBM3"), 989e12);
  EXPECT_EQ(dense_bfloat16_flops("NVIDIA H100 PCIe"), 756e12);
  EXPECT_EQ(dense_bfloat16_flops("NVIDIA A100-SXM4-80GB"), 312e12);
  EXPECT_EQ(dense_bfloat16_flops("NVIDIA A100 80GB PCIe"), 312e12);
  EXPECT_EQ(dense_bfloat16_flops("NVIDIA A10"), 125e12);
  EXPECT_EQ(dense_bfloat16_flops("NVIDIA L40S"), 362e12);
}

TEST(HardwareTest, NothingIsClaimedOfOthers) {
  // An A10G is not an A10, and a slice of a GPU has no figure of its own.
  for (const char* name : {"", "NVIDIA A10G", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GeForce RTX 4090", "100"}) {
    EXPECT_EQ(dense_bfloat16_flops(name), 0) << name;
  }
}

TEST(HardwareTest, Float64IsFastOnDataCentreGpusAlone) {
  for (const auto& [major, minor] : {std::pair{8, 0}, {9, 0}, {10, 0}}) EXPECT_TRUE(has_fast_float64(major, minor));
  for (const auto& [major, minor] : {std::pair{8, 6}, {8, 7}, {8, 9}, {10, 3}, {11, 0}, {12, 0}, {12, 1}}) {
    EXPECT_FALSE(has_fast_float64(major, minor)) << major << "." << minor;
  }
}

TEST(HardwareTest, TheProcessorIsMeasuredInstead) {
  const Hardware hardware = hardware_of({});
  EXPECT_TRUE(hardware.name.empty());
  EXPECT_EQ(hardware.memory_bytes, 0);
  EXPECT_EQ(hardware.bfloat16_flops, 0);
}

}  // namespace
}  // namespace subspect::runtime
