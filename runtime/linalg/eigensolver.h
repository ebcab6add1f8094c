// Where a GPU's stream has the eigenproblem of a Gram matrix solved: by cuSOLVER, or by LAPACK on the host where the
// GPU is slow in float64. The host works on one matrix while the GPU forms the Gram matrix of the next (bases.h).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/tensor.h"

namespace subspect::runtime::linalg {

enum class Eigensolver : uint8_t {
  automatic,  ///< the device, or the host where Hardware::fast_float64 is false
  device,
  host,
};

/// "auto", "device", "host".
std::string_view name(Eigensolver solver);
/// Reads `name(solver)`; throws UsageError for anything else.
Eigensolver parse_eigensolver(std::string_view text);

/// `device` or `host`: what `asked` means on this stream. Always `device` on the CPU, which is the host.
Eigensolver choose_eigensolver(const Stream& stream, Eigensolver asked);

/// A symmetric matrix on its way through the host.
class HostEigenproblem {
 public:
  /// Copies `matrix` [n, n] from the device when the work queued so far is done; the lower triangle counts. The `count`
  /// largest eigenvalues are wanted.
  HostEigenproblem(Stream& stream, const Tensor& matrix, int64_t count);

  /// Bytes of host memory that a problem of this size takes while it is solved.
  static int64_t host_bytes(int64_t n) { return 3 * n * n * static_cast<int64_t>(sizeof(double)); }

  /// On the calling thread, which may be any.
  void solve();
  /// After solve(): false when it did not converge. Else `values` and the first rows of `matrix` [n, n], on the device,
  /// become what Backend::eigen leaves.
  bool result(Stream& stream, const Tensor& matrix, std::vector<double>& values) const;

 private:
  int64_t size_;
  std::vector<double> matrix_;
  std::vector<double> values_;
  bool converged_ = false;
};

}  // namespace subspect::runtime::linalg
