// Loops over whole matrices: one thread for each, the products inside then run on that thread. On a GPU's stream one
// matrix after the other: the device is shared by the threads of each.
#pragma once

#include <cstddef>
#include <functional>

#include "runtime/device.h"

namespace subspect::runtime::linalg {

/// Calls `body(i)` for i in [0, count) on the stream's team (a single item: on the caller, whose products may then use
/// the team). When bodies throw, the exception of the smallest i is rethrown after all have ended.
void for_each_matrix(Stream& stream, size_t count, const std::function<void(size_t)>& body);

/// Calls `body(begin, end)` for ranges of consecutive items that cover [0, count): in batches whose `bytes(i)` sum to
/// at most `budget` (a larger item is one of its own), each as one range on a GPU, item by item on the threads of the
/// team on the CPU. `between` is called on the calling thread after each batch.
void for_each_range_within(Stream& stream, size_t count, int64_t budget, const std::function<int64_t(size_t)>& bytes,
                           const std::function<void(size_t, size_t)>& body, const std::function<void()>& between);

/// The same in batches of consecutive items whose `bytes(i)` sum to at most `budget` (a larger item runs alone);
/// `between()` is called after each batch and may throw to end the loop.
void for_each_matrix_within(Stream& stream, size_t count, int64_t budget, const std::function<int64_t(size_t)>& bytes,
                            const std::function<void(size_t)>& body, const std::function<void()>& between);

}  // namespace subspect::runtime::linalg
