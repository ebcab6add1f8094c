// Inputs of the cases, on the emulated device.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "bench/simt/cases.h"
#include "kernels/context.h"
#include "kernels/philox.h"
#include "kernels/types.h"
#include "tests/simt/simt.h"

namespace subspect::bench {

using kernels::bfloat16;
using kernels::CostSizes;
using kernels::KernelCost;
using simt::DeviceBuffer;

inline constexpr kernels::Context<kernels::Cuda> gpu{};

/// Normal numbers.
template <class T>
DeviceBuffer<T> normal(int64_t count, uint64_t seed, float scale = 1.0F) {
  std::vector<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = kernels::from_float<T>(scale * kernels::philox_normal_at(seed, 0, i));
  }
  return DeviceBuffer<T>(values);
}

template <class T>
DeviceBuffer<T> zeros(int64_t count) {
  return DeviceBuffer<T>(std::vector<T>(static_cast<size_t>(count)));
}

template <class T>
DeviceBuffer<T> unwritten(int64_t count) {
  return DeviceBuffer<T>(static_cast<size_t>(count));
}

/// first, first + step, ...
template <class T>
DeviceBuffer<T> counting(int64_t count, T first = 0, T step = 1) {
  std::vector<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(first + static_cast<T>(i) * step);
  return DeviceBuffer<T>(values);
}

/// Numbers in [0, bound).
inline DeviceBuffer<int32_t> random_ids(int64_t count, int64_t bound, uint64_t seed) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i) {
    const uint64_t word = kernels::philox_block(seed, 2, i).word[0];
    ids[i] = static_cast<int32_t>(word % static_cast<uint64_t>(bound));
  }
  return DeviceBuffer<int32_t>(ids);
}

template <class T>
std::string type_name() {
  return sizeof(T) == 2 ? "bfloat16" : "float32";
}

/// A case whose cost the registry knows.
inline Case registered(const std::string& kernel, const std::string& variant, const std::string& type,
                       const CostSizes& counted, const CostSizes& declared, std::function<void()> run) {
  Case c;
  c.name = variant.empty() ? kernel : kernel + ", " + variant;
  c.type = type;
  c.counted = counted;
  c.declared = declared;
  c.cost = kernels::find_kernel(kernel)->cost;
  c.run = std::move(run);
  return c;
}

/// A case of a function that the registry does not list.
inline Case unregistered(const std::string& name, const std::string& type, const CostSizes& counted,
                         const CostSizes& declared, KernelCost (*cost)(const CostSizes&), std::function<void()> run) {
  Case c;
  c.name = name;
  c.type = type;
  c.counted = counted;
  c.declared = declared;
  c.cost = cost;
  c.run = std::move(run);
  return c;
}

inline double real(int64_t value) {
  return static_cast<double>(value);
}

}  // namespace subspect::bench
