// Element types of tensors, named as safetensors names them on disk and PyTorch names them in text.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/types.h"

namespace subspect::runtime {

using kernels::bfloat16;
using kernels::float16;

enum class DType : uint8_t { float32, bfloat16, float16, float64, int64, int32, int16, int8, uint8, boolean };

/// Bytes of one element.
int64_t element_size(DType dtype);

/// "float32", "bfloat16", ...
std::string_view name(DType dtype);

/// Reads `name(dtype)`, and "bf16", "fp16", "fp32"; throws UsageError for anything else.
DType parse_dtype(std::string_view text);

bool is_floating_point(DType dtype);

namespace detail {
template <class T>
struct DTypeOf;  // no such element type
template <DType Value>
struct Is {
  static constexpr DType value = Value;
};
template <>
struct DTypeOf<float> : Is<DType::float32> {};
template <>
struct DTypeOf<bfloat16> : Is<DType::bfloat16> {};
template <>
struct DTypeOf<float16> : Is<DType::float16> {};
template <>
struct DTypeOf<double> : Is<DType::float64> {};
template <>
struct DTypeOf<int64_t> : Is<DType::int64> {};
template <>
struct DTypeOf<int32_t> : Is<DType::int32> {};
template <>
struct DTypeOf<int16_t> : Is<DType::int16> {};
template <>
struct DTypeOf<int8_t> : Is<DType::int8> {};
template <>
struct DTypeOf<uint8_t> : Is<DType::uint8> {};
template <>
struct DTypeOf<bool> : Is<DType::boolean> {};
}  // namespace detail

/// DType of a C++ element type: `dtype_of<float>`. Does not compile for a type that tensors cannot hold.
template <class T>
inline constexpr DType dtype_of = detail::DTypeOf<T>::value;

}  // namespace subspect::runtime
