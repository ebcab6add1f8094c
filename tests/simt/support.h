// What the tests of the CUDA kernels share: device buffers, the orders of threads that a case runs under, comparisons
// with the CPU kernels.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/kernels/support.h"
#include "tests/simt/simt.h"

namespace subspect::kernels::test {

using simt::DeviceBuffer;

/// The context of the kernels under test.
inline constexpr Context<Cuda> gpu{};

/// The order of blocks and threads in the launches that follow; with a period, threads also give way inside of
/// accesses.
inline void set_schedule(uint64_t seed, int yield_period = 0) {
  simt::set_options({seed, yield_period});
}

class SimtCase : public ::testing::Test {
 protected:
  /// Runs the body under every order of threads that a case is tested with.
  template <class Body>
  static void for_each_schedule(const Body& body) {
    for (const simt::Options options : {simt::Options{1, 0}, {2, 0}, {3, 0}, {4, 61}, {5, 509}}) {
      SCOPED_TRACE("seed " + std::to_string(options.seed));
      simt::set_options(options);
      body();
    }
  }
};

template <class T>
std::vector<T> zeros(int64_t count) {
  return std::vector<T>(static_cast<size_t>(count));
}

template <class T>
void expect_same(const DeviceBuffer<T>& actual, const std::vector<T>& expected) {
  EXPECT_TRUE(same_bits(actual.values(), expected));
}

template <class T>
void expect_near(const DeviceBuffer<T>& actual, const std::vector<T>& expected, double growth = 32) {
  expect_close(actual.values(), widen(expected), growth);
}

/// A suite whose cases run once for each storage type.
#define SIMT_SUITE(name)           \
  template <class T>               \
  class name : public SimtCase {}; \
  TYPED_TEST_SUITE(name, StorageTypes, StorageNames)

}  // namespace subspect::kernels::test
