// Rows of the tokens that count, gathered from all tokens and scattered back to them. A token counts when its target is
// not negative.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels::gpu {

/// indices[i] = the i-th token that counts, in their order, -1 where fewer count than `wanted`; those beyond `wanted`
/// are left out. targets [tokens], indices [wanted].
void index_counted(CUstream_st* stream, const int32_t* targets, int64_t tokens, int32_t* indices, int64_t wanted);

/// rows[i] = all[indices[i]], zeros where the index is -1. rows [count, cols]. T: float, bfloat16.
template <class T>
void gather_rows(CUstream_st* stream, const T* all, const int32_t* indices, T* rows, int64_t count, int64_t cols);

/// gathered[i] = targets[indices[i]], -1 where the index is.
void gather_targets(CUstream_st* stream, const int32_t* targets, const int32_t* indices, int32_t* gathered,
                    int64_t count);

/// all[indices[i]] = rows[i], but for indices of -1. rows [count, cols]. T: float, bfloat16.
template <class T>
void scatter_rows(CUstream_st* stream, const T* rows, const int32_t* indices, T* all, int64_t count, int64_t cols);

/// all[t] = 0 for the tokens that do not count. all [tokens, cols]. T: float, bfloat16.
template <class T>
void clear_ignored_rows(CUstream_st* stream, const int32_t* targets, T* all, int64_t tokens, int64_t cols);

}  // namespace subspect::kernels::gpu
