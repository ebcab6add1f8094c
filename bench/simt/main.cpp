// What every CUDA kernel asks of a GPU's memory and tensor cores, counted on the CPU (tests/simt/counters.h), against
// the least possible, with a bound of its time on an H200. The table is committed: a change that adds bank conflicts or
// traffic changes it.
#include <fmt/format.h>

#include <filesystem>

#include "bench/arguments.h"
#include "bench/simt/model.h"
#include "experiments/report/csv_table.h"
#include "runtime/error.h"
#include "runtime/io/files.h"
#include "tests/simt/simt.h"

namespace subspect::bench {
namespace {

using experiments::report::CsvTable;

struct Family {
  const char* name;
  std::vector<Case> (*cases)();
};

constexpr Family families[] = {{"norm", norm_cases},
                               {"attention", attention_cases},
                               {"elementwise", elementwise_cases},
                               {"embedding_and_loss", embedding_and_loss_cases},
                               {"optimizer", optimizer_cases},
                               {"generation", generation_cases},
                               {"linalg", linalg_cases}};

struct Options {
  std::string family;
  std::string filter;
  std::string table;
  std::string registers;
  bool sites = false;
  bool check = false;
  bool update = false;
};

std::string ratio(double value, double base) {
  return base > 0 ? fmt::format("{:.3f}", value / base) : "";
}
std::string ratio(int64_t value, int64_t base) {
  return ratio(static_cast<double>(value), static_cast<double>(base));
}
std::string positive(int64_t value) {
  return value > 0 ? std::to_string(value) : "";
}

constexpr const char* columns[] = {"family",
                                   "case",
                                   "type",
                                   "counted",
                                   "declared",
                                   "kernel",
                                   "function",
                                   "launches",
                                   "blocks",
                                   "threads",
                                   "shared_bytes",
                                   "registers_sm_80",
                                   "registers_sm_90a",
                                   "resident_warps",
                                   "requests",
                                   "lanes_per_request",
                                   "sectors",
                                   "sector_efficiency",
                                   "wavefronts",
                                   "wavefronts_over_least",
                                   "waiting_atomics",
                                   "ldmatrix",
                                   "mma",
                                   "mma_over_least",
                                   "shuffles",
                                   "barriers",
                                   "functions",
                                   "l2_bytes",
                                   "dram_bytes",
                                   "least_bytes",
                                   "dram_over_least",
                                   "bound_us",
                                   "limit",
                                   "missed"};
constexpr size_t missed_column = std::size(columns) - 1;

std::vector<std::string> cells_of(const Row& row) {
  const simt::Requests& r = row.requests;
  return {row.family,
          row.name,
          row.type,
          row.counted,
          row.declared,
          row.kernel,
          row.function,
          std::to_string(row.launches),
          std::to_string(row.blocks),
          positive(row.threads),
          positive(static_cast<int64_t>(row.shared_bytes)),
          positive(row.registers.sm_80),
          positive(row.registers.sm_90a),
          positive(row.warps),
          std::to_string(r.requests),
          ratio(r.lanes, r.requests),
          std::to_string(r.sectors),
          ratio(r.least_sectors, r.sectors),
          std::to_string(r.wavefronts),
          ratio(r.wavefronts, r.least_wavefronts),
          std::to_string(r.repeated_atomics),
          std::to_string(row.ldmatrix),
          std::to_string(row.mma),
          ratio(static_cast<double>(row.mma), row.least_mma),
          std::to_string(row.shuffles),
          std::to_string(row.barriers),
          std::to_string(row.functions),
          std::to_string(row.l2_bytes),
          std::to_string(row.dram_bytes),
          row.least_bytes > 0 ? fmt::format("{:.0f}", row.least_bytes) : "",
          ratio(static_cast<double>(row.dram_bytes), row.least_bytes),
          fmt::format("{:.4g}", row.bound_us),
          row.limit,
          missed_goals(row)};
}

/// What tells rows apart: case, type and kernel.
std::string key_of(const std::vector<std::string>& cells) {
  return cells[1] + "|" + cells[2] + "|" + cells[5];
}

std::map<std::string, Registers> read_registers(const std::string& path) {
  const CsvTable table = CsvTable::read(path);
  std::map<std::string, Registers> registers;
  for (int64_t row = 0; row < table.rows(); ++row) {
    registers[table.text(row, "kernel")] = {static_cast<int>(table.number(row, "sm_80")),
                                            static_cast<int>(table.number(row, "sm_90a"))};
  }
  return registers;
}

void print_sites(const std::vector<simt::LaunchCounts>& launches) {
  for (const simt::LaunchCounts& launch : launches) {
    fmt::print("\n{}\n{:14} {:>10} {:>6} {:>10} {:>7} {:>10} {:>7} {:>8}  {}\n", launch.kernel, "traffic", "requests",
               "lanes", "sectors", "least", "wavefronts", "least", "waiting", "line");
    std::vector<const void*> addresses;
    for (const simt::SiteCounts& site : launch.sites) addresses.push_back(site.site);
    const std::vector<std::string> places = simt::places_of(addresses);
    for (size_t i = 0; i < places.size(); ++i) {
      const simt::SiteCounts& site = launch.sites[i];
      const simt::Requests& r = site.requests;
      fmt::print("{:14} {:>10} {:>6.1f} {:>10} {:>7} {:>10} {:>7} {:>8}  {}\n", simt::name_of(site.traffic), r.requests,
                 static_cast<double>(r.lanes) / static_cast<double>(r.requests), r.sectors,
                 ratio(r.sectors, r.least_sectors), r.wavefronts, ratio(r.wavefronts, r.least_wavefronts),
                 r.repeated_atomics, places[i]);
    }
  }
}

/// The cells of all rows that the arguments choose.
std::vector<std::vector<std::string>> count_all(const Options& options) {
  const std::map<std::string, Registers> registers = read_registers(options.registers);
  std::vector<std::vector<std::string>> rows;
  for (const Family& family : families) {
    if (!options.family.empty() && options.family != family.name) continue;
    for (const Case& what : family.cases()) {
      if ((what.name + ", " + what.type).find(options.filter) == std::string::npos) continue;
      simt::set_options({});
      simt::start_counting();
      what.run();
      const std::vector<simt::LaunchCounts> launches = simt::stop_counting();
      if (options.sites) print_sites(launches);
      for (const Row& row : rows_of(family.name, what, launches, registers)) rows.push_back(cells_of(row));
    }
  }
  if (rows.empty())
    throw runtime::UsageError("no case has this family and this text in its name", "--filter",
                              "run bench_simt without it");
  return rows;
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  constexpr size_t shown[] = {1, 2, 5, 12, 13, 17, 19, 23, 30, 31, 32, 33};
  constexpr const char* heads[] = {"case",       "type", "kernel",     "registers", "warps", "sectors",
                                   "wavefronts", "mma",  "DRAM/least", "bound us",  "limit", "missed"};
  std::vector<size_t> widths;
  for (size_t i = 0; i < std::size(shown); ++i) {
    size_t width = std::string(heads[i]).size();
    for (const auto& cells : rows) width = std::max(width, cells[shown[i]].size());
    widths.push_back(width);
  }
  for (size_t i = 0; i < std::size(shown); ++i) fmt::print("{:{}}  ", heads[i], widths[i]);
  fmt::print("\n");
  for (const auto& cells : rows) {
    for (size_t i = 0; i < std::size(shown); ++i) fmt::print("{:{}}  ", cells[shown[i]], widths[i]);
    fmt::print("\n");
  }
}

std::string quoted(const std::string& cell) {
  return cell.find(',') == std::string::npos ? cell : "\"" + cell + "\"";
}

/// The reasons of a committed table, by key.
std::map<std::string, std::string> reasons_of(const CsvTable& table) {
  std::map<std::string, std::string> reasons;
  for (int64_t row = 0; row < table.rows(); ++row) {
    reasons[key_of({"", table.text(row, "case"), table.text(row, "type"), "", "", table.text(row, "kernel")})] =
        table.text(row, "reason");
  }
  return reasons;
}

/// @returns rows that miss a goal without a reason
int update(const Options& options, const std::vector<std::vector<std::string>>& rows) {
  std::map<std::string, std::string> reasons;
  if (std::filesystem::exists(options.table)) reasons = reasons_of(CsvTable::read(options.table));
  std::string text;
  for (const char* column : columns) text += std::string(column) + ",";
  text += "reason\n";
  int unexplained = 0;
  for (const auto& cells : rows) {
    const std::string reason = cells[missed_column].empty() ? "" : reasons[key_of(cells)];
    for (const std::string& cell : cells) text += quoted(cell) + ",";
    text += quoted(reason) + "\n";
    if (cells[missed_column].empty() || !reason.empty()) continue;
    ++unexplained;
    fmt::print("{} misses {}: write the reason into the last column of {}\n", key_of(cells), cells[missed_column],
               options.table);
  }
  runtime::io::write_file_atomically(options.table, text);
  return unexplained;
}

/// @returns differences between the rows and those of the committed table
int check(const Options& options, const std::vector<std::vector<std::string>>& rows) {
  const CsvTable table = CsvTable::read(options.table);
  int differences = 0;
  const auto differ = [&differences](const std::string& what) {
    ++differences;
    fmt::print("{}\n", what);
  };
  std::map<std::string, int64_t> committed;
  for (int64_t row = 0; row < table.rows(); ++row) {
    if (!options.family.empty() && table.text(row, "family") != options.family) continue;
    committed[key_of({"", table.text(row, "case"), table.text(row, "type"), "", "", table.text(row, "kernel")})] = row;
  }
  for (const auto& cells : rows) {
    const std::string key = key_of(cells);
    const auto found = committed.find(key);
    if (found == committed.end()) {
      differ(key + " is not in the table");
      continue;
    }
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string& before = table.text(found->second, columns[i]);
      if (cells[i] != before) differ(fmt::format("{}: {} is {}, was {}", key, columns[i], cells[i], before));
    }
    if (cells[missed_column].empty() == table.text(found->second, "reason").empty()) {
      committed.erase(found);
      continue;
    }
    differ(key + (cells[missed_column].empty() ? " meets its goals: a reason is not needed" : " lacks a reason"));
    committed.erase(found);
  }
  for (const auto& [key, row] : committed) differ(key + " is in the table, but was not counted");
  if (differences > 0) {
    fmt::print("{} differences from {}. If they are meant, renew it: bench_simt --update\n", differences,
               options.table);
  }
  return differences;
}

int run(Arguments& arguments) {
  Options options;
  options.family = arguments.text("family", "");
  options.filter = arguments.text("filter", "");
  options.table = arguments.text("table", "bench/results/simt_counters.csv");
  options.registers = arguments.text("registers", "bench/results/simt_registers.csv");
  options.sites = arguments.flag("sites");
  options.check = arguments.flag("check");
  options.update = arguments.flag("update");
  arguments.finish();
  if (options.update && !(options.family + options.filter).empty()) {
    throw runtime::UsageError("renews the whole table", "--update", "leave --family and --filter out");
  }
  const auto rows = count_all(options);
  if (options.check) return check(options, rows) == 0 ? 0 : 1;
  if (!options.sites) print_table(rows);
  return options.update && update(options, rows) > 0 ? 1 : 0;
}

constexpr const char* usage =
    "bench_simt [--family=NAME] [--filter=TEXT]     prints the table, or a part\n"
    "bench_simt --sites --filter=TEXT               the same by line of the source\n"
    "bench_simt --check [--family=NAME]             compares with the committed table; fails on any difference\n"
    "bench_simt --update                            renews the committed table, and keeps the reasons in it\n"
    "Runs in the project's root. --table=FILE and --registers=FILE name other files.\n";

}  // namespace
}  // namespace subspect::bench

int main(int argc, char** argv) {
  return subspect::bench::run_program("bench_simt", subspect::bench::usage, argc, argv, subspect::bench::run);
}
