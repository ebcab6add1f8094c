// Embedding lookup and row selection.
#pragma once

#include "runtime/tape.h"

namespace subspect::runtime::ops {

/// Rows of an embedding table: y[t] = table[ids[t]].
///
/// @param table [V, D], float32 or bfloat16. The backward pass adds to `table.grad` when the table is trained.
/// @param ids   [T] int32 on the stream's device; each in [0, V), which the caller guarantees (`check_token_ids`).
/// @return      [T, D] in the table's dtype; wants a gradient when recorded and the table is trained.
Variable embedding(const Execution& on, Parameter& table, const Tensor& ids);

/// Selected rows of x [T, D]: y[i] = x[rows[i]], rows [N] int32. Inference only: no gradient flows.
Tensor take_rows(const Execution& on, const Tensor& x, const Tensor& rows);

/// Throws Error naming the first id outside [0, vocabulary); `where` says where the ids come from.
void check_token_ids(std::span<const int32_t> ids, int64_t vocabulary, std::string_view where);

}  // namespace subspect::runtime::ops
