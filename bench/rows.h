// Rows of bench/results: one for each measurement, with where, when and of what it was made. bench/rows.py writes and
// checks the same columns for the peers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/dtype.h"
#include "runtime/io/files.h"

namespace subspect::bench {

/// Where and of what a row was measured: its first columns.
struct Origin {
  std::string device;  ///< "NVIDIA H200"; processor, cores and threads for the CPU
  std::string date;    ///< UTC, "2026-11-21"
  std::string version;
  std::string commit;
};

Origin origin_of(const runtime::Stream& stream);

/// One measurement. A zero stands for what does not apply and leaves its cell empty.
struct Row {
  std::string bench = {};  ///< "kernels", "step", "generate", "linalg"
  std::string name = {};   ///< of the kernel or the work
  runtime::DType dtype = runtime::DType::float32;
  std::string shape = {};  ///< sizes as "rows=8192 cols=896": what a peer needs to do the same work

  int64_t runs = 0;           ///< that were timed
  double median_seconds = 0;  ///< of one run
  double spread_percent = 0;  ///< between the quartiles, of the median

  double bytes = 0;  ///< declared for one run: the least traffic with memory
  double flops = 0;  ///< declared for one run
  double tokens = 0;

  double copy_percent = 0;  ///< of the bytes per second of copying measured in the same run
  double gemm_percent = 0;  ///< of the flops per second of a large matrix product measured in the same run
  double peak_percent = 0;  ///< of the flops per second that the GPU's maker states for dense bfloat16

  int64_t memory_bytes = 0;   ///< the allocator's peak
  int64_t planned_bytes = 0;  ///< what model/inspect.h foretold
};

/// The header, without line end.
std::string header();
/// A row as text, without line end. Its result was compared with a reference before it was timed.
std::string to_csv(const Origin& origin, const Row& row);

/// A file to which rows are added: it gets the header when it is new.
class RowFile {
 public:
  /// Throws Error where the file exists with another header.
  explicit RowFile(const std::string& path);
  void append(const std::string& line) { file_.append_line(line); }

 private:
  runtime::io::AppendFile file_;
};

}  // namespace subspect::bench
