// The CUDA copy between strided views against a loop: slices, transposes, every width of elements.
#include "kernels/strided_copy.h"

#include <numeric>
#include <stdexcept>

#include "tests/simt/support.h"

namespace subspect::kernels::test {
namespace {

template <class T>
class SimtStridedCopy : public SimtCase {};
struct Wide {
  alignas(16) std::array<uint32_t, 4> words;
  bool operator==(const Wide&) const = default;
};
using Elements = ::testing::Types<uint16_t, uint32_t, uint64_t, Wide>;
TYPED_TEST_SUITE(SimtStridedCopy, Elements);

template <class T>
T numbered(size_t i) {
  if constexpr (sizeof(T) == 16) {
    return {{static_cast<uint32_t>(i), static_cast<uint32_t>(i * 7), static_cast<uint32_t>(~i), 5}};
  } else {
    return static_cast<T>(i * 131 + 7);
  }
}

struct Case {
  std::array<int64_t, strided_axes> sizes;
  std::array<int64_t, strided_axes> from_strides;
  std::array<int64_t, strided_axes> to_strides;
};

int64_t extent(const std::array<int64_t, strided_axes>& sizes, const std::array<int64_t, strided_axes>& strides) {
  int64_t last = 0;
  for (size_t axis = 0; axis < strided_axes; ++axis) last += (sizes[axis] - 1) * strides[axis];
  return last + 1;
}

template <class T>
std::vector<T> copied(const Case& c, const std::vector<T>& from, std::vector<T> to) {
  const auto at = [](const std::array<int64_t, strided_axes>& strides, int64_t i, int64_t j, int64_t k, int64_t l) {
    return static_cast<size_t>(i * strides[0] + j * strides[1] + k * strides[2] + l * strides[3]);
  };
  for (int64_t i = 0; i < c.sizes[0]; ++i) {
    for (int64_t j = 0; j < c.sizes[1]; ++j) {
      for (int64_t k = 0; k < c.sizes[2]; ++k) {
        for (int64_t l = 0; l < c.sizes[3]; ++l) {
          to[at(c.to_strides, i, j, k, l)] = from[at(c.from_strides, i, j, k, l)];
        }
      }
    }
  }
  return to;
}

TYPED_TEST(SimtStridedCopy, EqualsALoop) {
  using T = TypeParam;
  const Case cases[] = {{{1, 1, 1, 5}, {0, 0, 0, 3}, {0, 0, 0, 1}},         // every third
                        {{1, 1, 37, 19}, {0, 0, 1, 37}, {0, 0, 19, 1}},     // a transpose
                        {{1, 1, 23, 300}, {0, 0, 512, 1}, {0, 0, 301, 1}},  // columns of a matrix, several blocks
                        {{3, 4, 5, 7}, {7, 21, 84, 1}, {140, 35, 7, 1}},    // axes in another order
                        {{2, 3, 1, 2}, {1, 2, 0, 6}, {40, 10, 3, 1}}};      // into gaps
  for (const Case& c : cases) {
    std::vector<T> from(static_cast<size_t>(extent(c.sizes, c.from_strides)));
    for (size_t i = 0; i < from.size(); ++i) from[i] = numbered<T>(i);
    const std::vector<T> untouched(static_cast<size_t>(extent(c.sizes, c.to_strides)), numbered<T>(99999));
    const std::vector<T> expected = copied(c, from, untouched);
    StridedCopyParams p{.from = from.data(),
                        .element_bytes = sizeof(T),
                        .sizes = c.sizes,
                        .from_strides = c.from_strides,
                        .to_strides = c.to_strides};
    std::vector<T> on_cpu = untouched;
    p.to = on_cpu.data();
    strided_copy<Cpu>(context(), p);
    EXPECT_EQ(on_cpu, expected);
    this->for_each_schedule([&] {
      const DeviceBuffer<T> dfrom(from), dto(untouched);
      p.from = dfrom.data();
      p.to = dto.data();
      strided_copy<Cuda>(gpu, p);
      EXPECT_EQ(dto.values(), expected);
    });
  }
}

TYPED_TEST(SimtStridedCopy, NothingToDoLaunchesNothing) {
  const StridedCopyParams p{.element_bytes = sizeof(TypeParam), .sizes = {1, 1, 0, 5}};
  EXPECT_NO_THROW(strided_copy<Cuda>(gpu, p));
  EXPECT_NO_THROW(strided_copy<Cpu>(context(), p));
}

TEST(SimtStridedCopyWidths, RefusesOtherWidths) {
  const StridedCopyParams p{.element_bytes = 3};
  EXPECT_THROW(strided_copy<Cuda>(gpu, p), std::invalid_argument);
  EXPECT_THROW(strided_copy<Cpu>(context(), p), std::invalid_argument);
}

}  // namespace
}  // namespace subspect::kernels::test
