// What the kernel tests share: teams, random data, tolerances from the element type's epsilon, finite differences.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "kernels/context.h"
#include "kernels/philox.h"
#include "kernels/thread_team.h"
#include "kernels/types.h"

namespace subspect::kernels::test {

inline Context<Cpu> context(int threads = 2) {
  static std::map<int, std::unique_ptr<ThreadTeam>> teams;
  std::unique_ptr<ThreadTeam>& team = teams[threads];
  if (team == nullptr) team = std::make_unique<ThreadTeam>(threads);
  return {team.get()};
}

/// Distance from 1 to the next number of T.
template <class T>
inline constexpr double epsilon = 0x1p-23;
template <>
inline constexpr double epsilon<bfloat16> = 0x1p-7;
template <>
inline constexpr double epsilon<float16> = 0x1p-10;

using Doubles = std::vector<double>;

/// Normal numbers rounded to T: the same for the same seed.
template <class T>
std::vector<T> random_values(int64_t count, uint64_t seed, float scale = 1.0F) {
  std::vector<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = from_float<T>(scale * philox_normal_at(seed, 1, i));
  return values;
}

inline std::vector<int32_t> random_ids(int64_t count, int64_t bound, uint64_t seed) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(philox_block(seed, 2, i).word[0] % static_cast<uint64_t>(bound));
  }
  return ids;
}

template <class T>
Doubles widen(const std::vector<T>& values) {
  Doubles result(values.size());
  for (size_t i = 0; i < values.size(); ++i) result[i] = static_cast<double>(to_float(values[i]));
  return result;
}

/// Rounding errors of a result of T computed in float32: half an epsilon of T for the last rounding, and some float32
/// epsilons of the largest entry for the sums before it (`growth` of them).
template <class T>
void expect_close(const std::vector<T>& actual, const Doubles& expected, double growth = 32) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = 0;
  for (const double e : expected) largest = std::max(largest, std::abs(e));
  int failures = 0;
  for (size_t i = 0; i < actual.size() && failures < 3; ++i) {
    const double value = static_cast<double>(to_float(actual[i]));
    const double tolerance = epsilon<T> * std::abs(expected[i]) + growth * epsilon<float> * largest + 1e-30;
    if (!(std::abs(value - expected[i]) <= tolerance)) {
      ADD_FAILURE() << "element " << i << ": " << value << " instead of " << expected[i] << ", tolerance " << tolerance;
      ++failures;
    }
  }
}

/// |actual - expected| <= relative * |expected| in the Euclidean norm, for results that pass through several roundings
/// to T.
template <class A>
void expect_norm_close(const std::vector<A>& actual, const Doubles& expected, double relative) {
  ASSERT_EQ(actual.size(), expected.size());
  double error = 0;
  double norm = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double difference = static_cast<double>(to_float(actual[i])) - expected[i];
    error += difference * difference;
    norm += expected[i] * expected[i];
  }
  EXPECT_LE(std::sqrt(error), relative * std::sqrt(norm) + 1e-12);
}

using ScalarFunction = std::function<double(const Doubles&)>;

/// Central differences in double.
inline Doubles numeric_gradient(const ScalarFunction& f, Doubles x, double h = 1e-5) {
  Doubles gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + h;
    const double up = f(x);
    x[i] = at - h;
    gradient[i] = (up - f(x)) / (2 * h);
    x[i] = at;
  }
  return gradient;
}

/// The derivative of f along `direction`, for inputs too large for every partial derivative.
inline double numeric_slope(const ScalarFunction& f, const Doubles& x, const Doubles& direction, double h = 1e-5) {
  Doubles up = x;
  Doubles down = x;
  for (size_t i = 0; i < x.size(); ++i) {
    up[i] += h * direction[i];
    down[i] -= h * direction[i];
  }
  return (f(up) - f(down)) / (2 * h);
}

template <class A, class B>
double inner(const std::vector<A>& a, const std::vector<B>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto as_double = [](auto x) {
      if constexpr (std::is_same_v<decltype(x), double>) {
        return x;
      } else {
        return static_cast<double>(to_float(x));
      }
    };
    sum += as_double(a[i]) * as_double(b[i]);
  }
  return sum;
}

/// Workspace of exactly the size asked for, full of NaN, so that reading what was not written shows.
class Workspace {
 public:
  explicit Workspace(int64_t bytes)
      : data_(static_cast<std::byte*>(
            ::operator new (static_cast<size_t>(std::max<int64_t>(bytes, 1)), std::align_val_t{64}))) {
    std::memset(data_, 0xff, static_cast<size_t>(bytes));
  }
  ~Workspace() { ::operator delete (data_, std::align_val_t{64}); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* get() const { return data_; }

 private:
  std::byte* data_;
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// `run(context)` returns a vector; its bits must not depend on the number of threads.
template <class Run>
void expect_same_for_all_teams(const Run& run) {
  const auto expected = run(context(1));
  for (const int threads : {2, 3, 5}) {
    EXPECT_TRUE(same_bits(run(context(threads)), expected)) << threads << " threads";
  }
}

/// Several results as one vector of floats.
template <class... Vectors>
std::vector<float> joined(const Vectors&... vectors) {
  std::vector<float> all;
  const auto append = [&all](const auto& values) {
    for (const auto& value : values) all.push_back(to_float(value));
  };
  (append(vectors), ...);
  return all;
}

using StorageTypes = ::testing::Types<float, bfloat16>;

struct StorageNames {
  template <class T>
  static std::string GetName(int) {  // NOLINT(readability-identifier-naming): GoogleTest's name
    return std::is_same_v<T, float> ? "float32" : "bfloat16";
  }
};

}  // namespace subspect::kernels::test
