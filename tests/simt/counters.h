// What the warps of a launch ask of the memory and the tensor cores of a GPU, counted while the shim runs a kernel that
// was built for it (cmake/SubspectSimt.cmake: the `count` flags). No times: docs/performance.md says what is modelled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace simt {

/// Requests of warps: one instruction, carried out by the lanes that arrive at it together.
struct Requests {
  int64_t requests = 0;
  int64_t lanes = 0;             ///< that took part, summed over requests
  int64_t sectors = 0;           ///< of 32 bytes of device memory, per request
  int64_t least_sectors = 0;     ///< that could hold the bytes asked for
  int64_t wavefronts = 0;        ///< passes over the 32 banks of shared memory
  int64_t least_wavefronts = 0;  ///< without a bank conflict
  int64_t repeated_atomics = 0;  ///< lanes whose atomic waits for another lane's at the same address

  Requests& operator+=(const Requests& other);
};

enum class Traffic : uint8_t {
  device_read,
  device_copy,  ///< read by cp.async, straight to shared memory
  device_write,
  device_atomic,
  shared_read,
  shared_write,
  shared_atomic
};

const char* name_of(Traffic traffic);

/// The requests of one instruction.
struct SiteCounts {
  const void* site = nullptr;  ///< an address in the code; `places_of` finds the line
  Traffic traffic = Traffic::device_read;
  Requests requests;
};

struct LaunchCounts {
  std::string kernel;              ///< as the launch was named
  const void* function = nullptr;  ///< its code; `functions_of` finds the name
  int64_t blocks = 0;
  int threads = 0;
  size_t shared_bytes = 0;  ///< static and dynamic, of one block
  Requests total;
  int64_t read_bytes = 0;     ///< in sectors of device memory that the launch reads, each counted once; without those
                              ///< that a block wrote before
  int64_t written_bytes = 0;  ///< the same for those that it writes
  int64_t block_bytes = 0;    ///< of both, each counted once for each block: what passes a cache of a block's own
  int64_t ldmatrix = 0;
  int64_t mma = 0;  ///< of m16n8k16, 4096 operations each
  int64_t shuffles = 0;
  int64_t barriers = 0;   ///< of a block
  int64_t functions = 0;  ///< exponentials and the like, lane by lane
  std::vector<SiteCounts> sites;
};

/// Counts the launches that follow; races are not looked for meanwhile. A kernel that was not built for counting, and
/// an access that nvcc would split, end in a Failure.
void start_counting();

/// What was counted since, launch by launch. The same under every seed, unless addresses come from what atomics return:
/// then the same under one seed.
std::vector<LaunchCounts> stop_counting();

/// Lines in the source, "file.cu:12", or "file.cuh:30 in file.cu:12" for what was inlined.
std::vector<std::string> places_of(const std::vector<const void*>& sites);

/// Names of kernels without their namespaces and parameters: "cast_kernel<float, bfloat16>".
std::vector<std::string> functions_of(const std::vector<const void*>& functions);

}  // namespace simt
