// Arrays that are copied to the device together.
#include "runtime/upload.h"

#include <gtest/gtest.h>

#include <array>

namespace subspect::runtime {
namespace {

TEST(UploadTest, ArraysAreCopiedTogether) {
  const auto stream = Stream::open({}, 1);
  const std::vector<int32_t> first = {1, 2, 3};
  const std::vector<int32_t> none;
  const std::vector<int32_t> last(17, 9);
  const std::array<std::span<const int32_t>, 3> arrays = {first, none, last};
  const std::vector<Tensor> tensors = upload_together(*stream, arrays);
  ASSERT_EQ(tensors.size(), 3U);
  for (size_t i = 0; i < arrays.size(); ++i) {
    EXPECT_EQ(tensors[i].to_host<int32_t>(*stream), std::vector<int32_t>(arrays[i].begin(), arrays[i].end()));
    EXPECT_TRUE(tensors[i].is_contiguous() && tensors[i].shares_storage_with(tensors[0]));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensors[i].raw()) % 64, 0U);
  }
}

}  // namespace
}  // namespace subspect::runtime
