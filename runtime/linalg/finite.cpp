// Scans for NaN and infinity.
#include "runtime/linalg/finite.h"

#include <string>

#include "runtime/error.h"

namespace subspect::runtime::linalg {

namespace {

/// The first i whose exponent bits are all ones. Blocks are tested without a branch, so that the loop vectorises.
template <class Bits>
std::optional<int64_t> find_full_exponent(const Bits* bits, int64_t count, Bits exponent) {
  constexpr int64_t gram_block = 1024;
  for (int64_t begin = 0; begin < count; begin += gram_block) {
    const int64_t end = begin + gram_block < count ? begin + gram_block : count;
    Bits any = 0;
    for (int64_t i = begin; i < end; ++i) any |= static_cast<Bits>((bits[i] & exponent) == exponent ? 1 : 0);
    if (any == 0) continue;
    for (int64_t i = begin; i < end; ++i) {
      if ((bits[i] & exponent) == exponent) return i;
    }
  }
  return std::nullopt;
}

std::optional<int64_t> find_raw(const void* values, int64_t count, DType dtype) {
  switch (dtype) {
    case DType::float32:
      return find_full_exponent<uint32_t>(static_cast<const uint32_t*>(values), count, 0x7f800000U);
    case DType::bfloat16:
      return find_full_exponent<uint16_t>(static_cast<const uint16_t*>(values), count, 0x7f80U);
    case DType::float16:
      return find_full_exponent<uint16_t>(static_cast<const uint16_t*>(values), count, 0x7c00U);
    case DType::float64:
      return find_full_exponent<uint64_t>(static_cast<const uint64_t*>(values), count, 0x7ff0000000000000ULL);
    default:
      return std::nullopt;
  }
}

std::string position(const Shape& shape, int64_t flat) {
  Shape index(shape.size(), 0);
  for (size_t axis = shape.size(); axis-- > 0;) {
    index[axis] = flat % shape[axis];
    flat /= shape[axis];
  }
  return to_string(index);
}

}  // namespace

std::optional<int64_t> find_non_finite(std::span<const float> values) {
  return find_raw(values.data(), static_cast<int64_t>(values.size()), DType::float32);
}

std::optional<int64_t> find_non_finite(std::span<const double> values) {
  return find_raw(values.data(), static_cast<int64_t>(values.size()), DType::float64);
}

std::optional<int64_t> find_non_finite(const Tensor& tensor) {
  require(tensor.is_contiguous() && tensor.device().type == DeviceType::cpu, "find_non_finite",
          "a contiguous CPU tensor is required. Received {} on {}", to_string(tensor.shape()),
          tensor.device().to_string());
  return find_raw(tensor.raw(), tensor.numel(), tensor.dtype());
}

void require_finite(const Tensor& tensor, std::string_view name, std::string_view where) {
  if (const std::optional<int64_t> flat = find_non_finite(tensor)) {
    throw Error(fmt::format("tensor {} has a NaN or infinity at {}", name, position(tensor.shape(), *flat)),
                std::string(where), "the checkpoint is damaged or its training diverged; use another one");
  }
}

void require_finite(Stream& stream, const Tensor& tensor, std::string_view name, std::string_view where) {
  if (tensor.device().type == DeviceType::cpu) return require_finite(tensor, name, where);
  const std::vector<float> values = tensor.to_host<float>(stream);
  require_finite(Tensor::wrap(values.data(), tensor.shape(), DType::float32, {}, nullptr), name, where);
}

}  // namespace subspect::runtime::linalg
