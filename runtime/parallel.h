// A loop on threads of its own, for work that is not a kernel: tokenizing, requests to a server.
#pragma once

#include <cstddef>
#include <functional>

namespace subspect::runtime {

/// Calls `body(i)` for i in [0, count) on `threads` threads, the caller's among them (0: one per core). When a body
/// throws, no further call begins, and the exception of the smallest i that threw is rethrown after all have ended.
void parallel_for(size_t count, int threads, const std::function<void(size_t)>& body);

}  // namespace subspect::runtime
