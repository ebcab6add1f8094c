// Products of a weight with few rows, where reading the weight is all the time: y = x W^T + bias.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/linear.h"

namespace subspect::kernels::gpu {

/// `linear_forward` takes `matvec` up to this many rows, and cuBLASLt from there on. An estimate, not yet measured on a
/// GPU: so many rows reuse a weight in registers without becoming bound by arithmetic.
inline constexpr int64_t matvec_most_rows = 8;

/// As `linear_forward`, for any number of rows, `matvec_most_rows` of which share one reading of the weight. The bits
/// of a row depend neither on the other rows nor on their number.
template <class T, class Y>
void matvec(CUstream_st* stream, const LinearForwardParams<T, Y>& p);

}  // namespace subspect::kernels::gpu
