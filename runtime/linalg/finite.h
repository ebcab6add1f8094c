// Finding NaN and infinity before they reach a factorisation: LAPACK's eigensolvers return without an error on them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "runtime/tensor.h"

namespace subspect::runtime::linalg {

/// The flat (row-major) index of the first NaN or infinity in a contiguous CPU tensor; nothing for integer dtypes.
std::optional<int64_t> find_non_finite(const Tensor& tensor);
std::optional<int64_t> find_non_finite(std::span<const float> values);
std::optional<int64_t> find_non_finite(std::span<const double> values);

/// Throws Error "tensor NAME has a NaN/Inf at [i, j] (WHERE)" when the contiguous CPU tensor has one.
void require_finite(const Tensor& tensor, std::string_view name, std::string_view where);
/// The same for a tensor on the stream's device, which is copied to the host.
void require_finite(Stream& stream, const Tensor& tensor, std::string_view name, std::string_view where);

}  // namespace subspect::runtime::linalg
