// The choice of the solver, and the way through the host.
#include "runtime/linalg/eigensolver.h"

#include "runtime/error.h"
#include "runtime/hardware.h"
#include "runtime/linalg/lapack.h"

namespace subspect::runtime::linalg {

std::string_view name(Eigensolver solver) {
  switch (solver) {
    case Eigensolver::device:
      return "device";
    case Eigensolver::host:
      return "host";
    case Eigensolver::automatic:
      break;
  }
  return "auto";
}

Eigensolver parse_eigensolver(std::string_view text) {
  for (const Eigensolver solver : {Eigensolver::automatic, Eigensolver::device, Eigensolver::host}) {
    if (text == name(solver)) return solver;
  }
  throw UsageError(fmt::format("unknown eigensolver '{}'", text), "eigensolver", "use auto, device or host");
}

Eigensolver choose_eigensolver(const Stream& stream, Eigensolver asked) {
  if (stream.device().type == DeviceType::cpu) return Eigensolver::device;
  if (asked != Eigensolver::automatic) return asked;
  return hardware_of(stream.device()).fast_float64 ? Eigensolver::device : Eigensolver::host;
}

HostEigenproblem::HostEigenproblem(Stream& stream, const Tensor& matrix, int64_t count)
    : size_(matrix.size(0)), matrix_(matrix.to_host<double>(stream)), values_(static_cast<size_t>(count)) {}

void HostEigenproblem::solve() {
  converged_ = symmetric_eigen(matrix_.data(), size_, static_cast<int64_t>(values_.size()), values_.data());
}

bool HostEigenproblem::result(Stream& stream, const Tensor& matrix, std::vector<double>& values) const {
  if (!converged_) return false;
  const auto rows = static_cast<int64_t>(values_.size());
  stream.copy_from_host(matrix.raw(), matrix_.data(), rows * size_ * static_cast<int64_t>(sizeof(double)));
  values = values_;
  return true;
}

}  // namespace subspect::runtime::linalg
