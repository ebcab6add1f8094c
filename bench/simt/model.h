// From counts to a row of the table: what a launch moves against the least, which goals it misses, and a lower bound of
// its time on an H200 with what sets it. Modelled, not measured: docs/performance.md.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bench/simt/cases.h"
#include "tests/simt/counters.h"

namespace subspect::bench {

/// Of a kernel, as ptxas reports them (tools/check_ptxas.py).
struct Registers {
  int sm_80 = 0;
  int sm_90a = 0;
};

/// What an H200 does at most in a second. DRAM is what copies reach; the rest follows from data sheets and is assumed.
struct Peaks {
  double dram_bytes = 4.3e12;
  double l2_bytes = 5.5e12;
  double matrix_flops = 613e12;  ///< mma.sync in bfloat16
  double float_flops = 67e12;    ///< float32, outside of tensor cores
  double clock = 1.83e9;
  int multiprocessors = 132;
  double shared_bytes_a_clock = 128;  ///< of a multiprocessor: shared memory and L1 together
  double functions_a_clock = 16;      ///< of a multiprocessor: exponentials and the like
};

/// One kernel of a case, or, with the kernel "(all)", a case of several kernels.
struct Row {
  std::string family;
  std::string name;
  std::string type;
  std::string counted;
  std::string declared;
  std::string kernel;
  std::string function;
  int64_t launches = 0;
  int64_t blocks = 0;
  int threads = 0;
  size_t shared_bytes = 0;
  Registers registers;
  int warps = 0;  ///< that a multiprocessor of compute capability 9.0 holds at once, of 64
  simt::Requests requests;
  int64_t copied_sectors = 0;  ///< of the requests: by cp.async, which goes past L1
  int64_t ldmatrix = 0;
  int64_t mma = 0;
  double least_mma = 0;
  int64_t shuffles = 0;
  int64_t barriers = 0;
  int64_t functions = 0;
  int64_t l2_bytes = 0;
  int64_t dram_bytes = 0;
  double least_bytes = 0;  ///< 0 where another row of the case has them
  bool bound_by_memory = false;
  double bound_us = 0;  ///< of the declared shape
  std::string limit;
};

/// The rows of a case from its launches, in their order.
std::vector<Row> rows_of(const std::string& family, const Case& what, const std::vector<simt::LaunchCounts>& launches,
                         const std::map<std::string, Registers>& registers);

/// The goals that a row misses, by name, separated by blanks; "" for none.
std::string missed_goals(const Row& row);

}  // namespace subspect::bench
