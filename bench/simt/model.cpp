// Counts to rows: ratios, occupancy, and the roofline.
#include "bench/simt/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace subspect::bench {
namespace {

using kernels::CostSizes;

constexpr Peaks peaks;
constexpr double sector_bytes = 32;
constexpr double flops_of_mma = 2 * 16 * 8 * 16;

std::string text_of(const CostSizes& s) {
  std::string text;
  const std::pair<const char*, double> letters[] = {{"R", s.rows},     {"C", s.cols},     {"O", s.out},  {"H", s.heads},
                                                    {"G", s.kv_heads}, {"d", s.head_dim}, {"P", s.pairs}};
  for (const auto& [letter, value] : letters) {
    if (value != 0) text += fmt::format("{}{}={:.0f}", text.empty() ? "" : " ", letter, value);
  }
  return text;
}

/// How much more the declared shape is than the counted one.
double scale_of(const Case& what) {
  const kernels::KernelCost counted = what.cost(what.counted);
  const kernels::KernelCost declared = what.cost(what.declared);
  if (!what.bound_by_memory && counted.flops > 0) return declared.flops / counted.flops;
  return counted.bytes > 0 ? declared.bytes / counted.bytes : 1;
}

/// Warps that one multiprocessor of compute capability 9.0 holds, limited by its registers, shared memory, threads and
/// places for blocks.
int resident_warps(int threads, int registers, size_t shared_bytes) {
  if (registers == 0) return 0;
  const int block_warps = (threads + 31) / 32;
  const int warp_registers = (registers + 7) / 8 * 8 * 32;
  const int by_registers = 65536 / 4 / warp_registers * 4 / block_warps;  // each quarter holds whole warps
  const auto by_shared = static_cast<int>((228 << 10) / (shared_bytes + 1024));
  return std::min({by_registers, by_shared, 2048 / (32 * block_warps), 32}) * block_warps;
}

/// The slowest part of one multiprocessor's or the memory's work, all of them busy at once.
void find_bound(Row& row, double scale) {
  const double chip_clock = peaks.clock * peaks.multiprocessors;
  const double l1_bytes = 128.0 * static_cast<double>(row.requests.wavefronts) +
                          sector_bytes * static_cast<double>(row.requests.sectors - row.copied_sectors);
  const std::pair<const char*, double> seconds[] = {
      {"DRAM", static_cast<double>(row.dram_bytes) / peaks.dram_bytes},
      {"L2", static_cast<double>(row.l2_bytes) / peaks.l2_bytes},
      {"shared memory", l1_bytes / (peaks.shared_bytes_a_clock * chip_clock)},
      {"mma", static_cast<double>(row.mma) * flops_of_mma / peaks.matrix_flops},
      {"functions", static_cast<double>(row.functions) / (peaks.functions_a_clock * chip_clock)}};
  for (const auto& [name, value] : seconds) {
    if (value * scale * 1e6 <= row.bound_us) continue;
    row.bound_us = value * scale * 1e6;
    row.limit = name;
  }
}

void add_launch(Row& row, const simt::LaunchCounts& launch) {
  ++row.launches;
  row.blocks += launch.blocks;
  row.threads = launch.threads;
  row.shared_bytes = std::max(row.shared_bytes, launch.shared_bytes);
  row.requests += launch.total;
  for (const simt::SiteCounts& site : launch.sites) {
    if (site.traffic == simt::Traffic::device_copy) row.copied_sectors += site.requests.sectors;
  }
  row.ldmatrix += launch.ldmatrix;
  row.mma += launch.mma;
  row.shuffles += launch.shuffles;
  row.barriers += launch.barriers;
  row.functions += launch.functions;
  row.l2_bytes += launch.block_bytes;
  row.dram_bytes += launch.read_bytes + launch.written_bytes;
}

/// The case as a whole.
Row sum_of(const std::vector<Row>& rows) {
  Row sum = rows.front();
  sum.kernel = "(all)";
  sum.function.clear();
  sum.threads = sum.warps = 0;
  sum.shared_bytes = 0;
  sum.registers = {};
  const Row* longest = &rows.front();
  for (const Row& row : rows) {
    if (row.bound_us > longest->bound_us) longest = &row;
    if (&row == &rows.front()) continue;
    sum.launches += row.launches;
    sum.blocks += row.blocks;
    sum.requests += row.requests;
    sum.ldmatrix += row.ldmatrix;
    sum.mma += row.mma;
    sum.shuffles += row.shuffles;
    sum.barriers += row.barriers;
    sum.functions += row.functions;
    sum.l2_bytes += row.l2_bytes;
    sum.dram_bytes += row.dram_bytes;
    sum.bound_us += row.bound_us;
  }
  sum.least_mma = 0;
  sum.limit = longest->limit + " of " + longest->kernel;
  return sum;
}

}  // namespace

std::vector<Row> rows_of(const std::string& family, const Case& what, const std::vector<simt::LaunchCounts>& launches,
                         const std::map<std::string, Registers>& registers) {
  std::vector<const void*> functions;
  for (const simt::LaunchCounts& launch : launches) functions.push_back(launch.function);
  const std::vector<std::string> names = simt::functions_of(functions);
  std::vector<Row> rows;
  for (size_t i = 0; i < launches.size(); ++i) {
    auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) {
      return row.kernel == launches[i].kernel && row.function == names[i];
    });
    if (found == rows.end()) {
      Row row;
      row.family = family;
      row.name = what.name;
      row.type = what.type;
      row.counted = text_of(what.counted);
      row.declared = text_of(what.declared);
      row.kernel = launches[i].kernel;
      row.function = names[i];
      found = rows.insert(rows.end(), std::move(row));
    }
    add_launch(*found, launches[i]);
  }
  const double scale = scale_of(what);
  for (Row& row : rows) {
    if (const auto known = registers.find(row.function); known != registers.end()) row.registers = known->second;
    row.warps = resident_warps(row.threads, row.registers.sm_90a, row.shared_bytes);
    if (const auto flops = what.matrix_flops.find(row.kernel); flops != what.matrix_flops.end()) {
      row.least_mma = flops->second / flops_of_mma;
    }
    find_bound(row, scale);
  }
  if (rows.size() > 1) rows.push_back(sum_of(rows));
  Row& whole = rows.back();
  const kernels::KernelCost cost = what.cost(what.counted);
  whole.least_bytes = cost.bytes;
  whole.bound_by_memory = what.bound_by_memory;
  const double arithmetic_us = cost.flops * scale / peaks.float_flops * 1e6;
  if (whole.mma == 0 && arithmetic_us > whole.bound_us) {
    whole.bound_us = arithmetic_us;
    whole.limit = "float32";
  }
  return rows;
}

std::string missed_goals(const Row& row) {
  std::string missed;
  const auto miss = [&missed](const char* goal) { missed += (missed.empty() ? "" : " ") + std::string(goal); };
  const bool is_sum = row.kernel == "(all)";
  const simt::Requests& r = row.requests;
  const auto real = [](int64_t value) { return static_cast<double>(value); };
  if (!is_sum && real(r.least_sectors) < 0.95 * real(r.sectors)) miss("sectors");
  if (!is_sum && real(r.wavefronts) > 1.1 * real(r.least_wavefronts)) miss("wavefronts");
  if (row.least_mma > 0 && real(row.mma) > 1.05 * row.least_mma) miss("mma");
  if (row.bound_by_memory && real(row.dram_bytes) > 1.05 * row.least_bytes) miss("bytes");
  return missed;
}

}  // namespace subspect::bench
