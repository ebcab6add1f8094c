// The fields, and the choice of the eigensolver.
#include "experiments/subspace/decomposition.h"

#include "runtime/hardware.h"

namespace subspect::experiments::subspace {

namespace {

namespace linalg = runtime::linalg;

/// Where a GPU's eigenproblems are solved, as the log says it.
std::string describe(const runtime::Stream& stream, linalg::Eigensolver asked, linalg::Eigensolver chosen) {
  const std::string place = chosen == linalg::Eigensolver::host ? "on the host, by LAPACK" : "on the GPU, by cuSOLVER";
  if (asked != linalg::Eigensolver::automatic) return fmt::format("eigenproblems are solved {}, as asked for", place);
  return fmt::format("eigenproblems are solved {}: {} is {} in float64 (the key eigensolver decides otherwise)", place,
                     runtime::hardware_of(stream.device()).name, chosen == linalg::Eigensolver::host ? "slow" : "fast");
}

}  // namespace

void DecompositionFields::visit(Fields& f) {
  f.field("method", method,
          "of the decomposition: gram (eigenvectors of the Gram matrix), exact (a singular value decomposition), "
          "randomized (leading vectors by block Krylov iteration); auto chooses by size and by how many are needed",
          Rule().one_of({"auto", "gram", "exact", "randomized"}));
  f.field("tolerance", tolerance,
          "of randomized: it iterates until ||V V^T u - s^2 u|| / s^2 of every vector is at most this",
          Rule().above(0));
  f.field(
      "eigensolver", eigensolver,
      "of gram on a GPU: device (cuSOLVER) or host (LAPACK, while the GPU goes on); auto: host where the GPU is slow "
      "in float64",
      Rule().one_of({"auto", "device", "host"}));
}

linalg::BasisOptions DecompositionFields::options(RunContext& context) const {
  const linalg::Eigensolver asked = linalg::parse_eigensolver(eigensolver);
  const linalg::Eigensolver chosen = linalg::choose_eigensolver(context.stream, asked);
  if (context.stream.device().type != runtime::DeviceType::cpu) {
    context.log.info("{}", describe(context.stream, asked, chosen));
  }
  return {.method = linalg::parse_basis_method(method), .tolerance = tolerance, .eigensolver = chosen};
}

}  // namespace subspect::experiments::subspace
