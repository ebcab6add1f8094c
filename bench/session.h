// Session: one run of a benchmark program on one device. It times work whose result was compared with a reference,
// relates it to the speed of copying and of matrix products measured in the same run, and writes the rows.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bench/arguments.h"
#include "bench/rows.h"
#include "runtime/device.h"

namespace subspect::bench {

/// The arguments that all programs share, for their --help.
inline constexpr std::string_view common_usage =
    "  --device=cpu|cuda  where to run; cpu unless given\n"
    "  --quick            tiny sizes and few runs, to see that everything works\n"
    "  --filter=TEXT      only what has TEXT in its name\n"
    "  --csv=FILE         adds the rows to FILE\n"
    "  --seconds=N        of timing for each row\n"
    "  --threads=N        of the CPU; all cores unless given\n"
    "  --processor-time   of one thread instead of the clock's: where others use the machine too\n";

/// Measured once for each element type.
struct Peaks {
  double copy_bytes = 0;  ///< per second, read and written
  double gemm_flops = 0;  ///< per second
};

class Session {
 public:
  /// Takes the common arguments and opens the stream. @param bench the column of that name
  Session(std::string bench, Arguments& arguments);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  runtime::Stream& stream() const { return *stream_; }
  bool on_gpu() const { return stream_->device().type == runtime::DeviceType::cuda; }
  bool quick() const { return quick_; }
  /// Whether --filter lets rows of this name through.
  bool wants(std::string_view name) const { return name.find(filter_) != std::string_view::npos; }
  bool filtered() const { return !filter_.empty(); }
  bool measured(std::string_view name) const { return names_.contains(name); }

  const Peaks& peaks(runtime::DType dtype);

  /// Calls `run` once and `correct` after it; then times `run` and writes the row, whose measured fields are filled in
  /// here. A wrong result is reported, not timed, and makes `exit_code` 1.
  void measure(Row row, const std::function<void()>& run, const std::function<bool()>& correct);

  int exit_code() const { return wrong_ ? 1 : 0; }

 private:
  struct Timing {
    int64_t runs = 0;
    double median = 0;
    double spread_percent = 0;
  };

  double seconds_of(const std::function<void()>& run, int64_t calls) const;
  Timing time(const std::function<void()>& run) const;
  Peaks measure_peaks(runtime::DType dtype);
  void write(Row row, const Timing& timing);

  std::string bench_;
  std::shared_ptr<runtime::Stream> stream_;
  Origin origin_;
  bool quick_ = false;
  double seconds_ = 0;
  bool processor_time_ = false;
  std::string filter_;
  std::optional<RowFile> file_;
  double stated_flops_ = 0;  // of the GPU's maker; 0 where unknown
  std::map<runtime::DType, Peaks> peaks_;
  std::set<std::string, std::less<>> names_;
  bool wrong_ = false;
};

}  // namespace subspect::bench
