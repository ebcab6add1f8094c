// The matrix products of a GPU, on cuBLASLt: its handle, a workspace, and for each shape the descriptors and the
// algorithm, which are made once. Includes no header of CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels::gpu {

/// C [rows, cols] = A B + bias, or C += A B. A is [rows, depth], B is [depth, cols]; either may be stored transposed.
template <class T, class Y>
struct MatrixProduct {
  const T* a = nullptr;
  const T* b = nullptr;
  Y* c = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t depth = 0;
  bool a_transposed = false;  ///< a is stored as [depth, rows]
  bool b_transposed = false;  ///< b is stored as [cols, depth]
  bool accumulate = false;    ///< C += A B; without bias
  int64_t a_stride = 0;       ///< elements from one stored row to the next; 0 for contiguous rows
  int64_t b_stride = 0;
  int64_t c_stride = 0;
  const Y* bias = nullptr;  ///< [cols], aligned to 16 bytes, or nullptr
};

struct LibrariesConfig {
  std::string gpu = {};       ///< name of the GPU model, which tuned choices belong to
  void* workspace = nullptr;  ///< device memory, aligned to 256 bytes, for one product at a time; outlives the handles
  size_t workspace_bytes = 0;
  bool tune = false;             ///< time the candidates of every new shape, which waits for the GPU
  std::string tuning_file = {};  ///< choices are read from here, and written here when tuning; empty for no file
};

/// The handles of one stream: products queued on two streams at once need two of these. Not thread-safe.
///
/// An algorithm is chosen the first time that a shape comes: the one in the tuning file, else, when tuning, the fastest
/// of cuBLASLt's candidates, else its first proposal. A shape that comes first in the capture of a graph is tuned when
/// it next comes outside of one. Sums are float32 throughout: TF32 is never used, and neither are reductions in the
/// type of the result.
struct Libraries {
 public:
  /// Throws std::runtime_error when cuBLASLt cannot be initialised. A tuning file that is damaged, or of another GPU
  /// or version of cuBLASLt, is a warning.
  explicit Libraries(const LibrariesConfig& config);
  ~Libraries();
  Libraries(const Libraries&) = delete;
  Libraries& operator=(const Libraries&) = delete;

  /// Queues a product. <T, Y>: <float, float>, <bfloat16, bfloat16>, <bfloat16, float>. Throws std::runtime_error with
  /// the call, the shape and cuBLASLt's status.
  template <class T, class Y>
  void multiply(CUstream_st* stream, const MatrixProduct<T, Y>& product);

  /// What went wrong with the tuning file and with tuning since the last call; nothing of it changes results.
  std::vector<std::string> take_warnings();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The libraries of a context; throws std::logic_error naming `kernel` when there are none.
Libraries& libraries_of(const Context<Cuda>& on, const char* kernel);

}  // namespace subspect::kernels::gpu
