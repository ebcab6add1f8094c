// The bases of many matrices, with the device kept busy: on the CPU one thread for each; on a GPU Gram matrices of one
// size are solved by one call, or by the host while the GPU goes on.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "runtime/linalg/left_basis.h"

namespace subspect::runtime::linalg {

/// What LeftBasis::compute takes.
struct BasisRequest {
  Tensor matrix;
  std::string name;
  BasisOptions options;
};

/// Calls take(i, basis of load(i)) once for every i in [0, count); the basis is empty where nothing is loaded. On the
/// CPU from the threads of the stream's team, as for_each_matrix does; on a GPU from the calling thread, in an order of
/// its own, and all `count` matrices may be held at once. Bases are those of LeftBasis::compute, and so are errors; on
/// a GPU bases that one call finds differ from it by rounding.
void for_each_basis(Stream& stream, size_t count, const std::function<std::optional<BasisRequest>(size_t)>& load,
                    const std::function<void(size_t, LeftBasis)>& take);

}  // namespace subspect::runtime::linalg
