// Rows as comma-separated text.
#include "bench/rows.h"

#include <fmt/format.h>

#include <ctime>
#include <filesystem>

#include "experiments/build_info.h"
#include "runtime/error.h"
#include "runtime/hardware.h"

namespace subspect::bench {
namespace {

std::string number(double value) {
  return value == 0 ? "" : fmt::format("{:.5g}", value);
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char date[16];
  std::strftime(date, sizeof(date), "%Y-%m-%d", std::gmtime(&now));
  return date;
}

/// A file without a name cannot be opened, and one with other columns would mix two kinds of rows.
std::string checked(const std::string& path) {
  if (std::filesystem::exists(path) && std::filesystem::file_size(path) > 0) {
    const std::string text = runtime::io::read_file(path);
    if (text.substr(0, text.find('\n')) != header()) {
      throw runtime::Error("the file has other columns", path, "name another file");
    }
  }
  return path;
}

}  // namespace

Origin origin_of(const runtime::Stream& stream) {
  const bool gpu = stream.device().type == runtime::DeviceType::cuda;
  return {gpu ? runtime::hardware_of(stream.device()).name
              : fmt::format("{}, {} threads", experiments::processor(), stream.threads()),
          today(), experiments::version(), experiments::git_hash()};
}

std::string header() {
  return "device,date,version,commit,bench,implementation,name,dtype,shape,runs,median_seconds,spread_percent,bytes,"
         "flops,tokens_per_second,copy_percent,gemm_percent,peak_percent,memory_bytes,planned_bytes,checked";
}

std::string to_csv(const Origin& origin, const Row& row) {
  return fmt::format("\"{}\",{},{},{},{},subspect,{},{},{},{},{:.6g},{:.2f},{},{},{},{},{},{},{},{},yes", origin.device,
                     origin.date, origin.version, origin.commit, row.bench, row.name, name(row.dtype), row.shape,
                     row.runs, row.median_seconds, row.spread_percent, number(row.bytes), number(row.flops),
                     number(row.tokens / row.median_seconds), number(row.copy_percent), number(row.gemm_percent),
                     number(row.peak_percent), number(static_cast<double>(row.memory_bytes)),
                     number(static_cast<double>(row.planned_bytes)));
}

RowFile::RowFile(const std::string& path) : file_(checked(path)) {
  if (std::filesystem::file_size(path) == 0) file_.append_line(header());
}

}  // namespace subspect::bench
