// The tests' side of the stand-in for the CUDA libraries: the emulated device's options, planned failures, and what
// went wrong. The product's side are NVIDIA's own headers; docs/kernels.md tells what the stand-in does and checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace emulated {

struct Options {
  uint64_t seed = 1;                        ///< of the order in which the work of different streams runs
  size_t memory_bytes = size_t{256} << 20;  ///< of the device
  int compute_major = 8;                    ///< its compute capability
  int compute_minor = 0;
};

/// Drops queued work, errors, planned failures and counts. Streams, events and memory stay.
void reset(const Options& options = {});

/// The nth call from now (1 is the next) of an entry point returns the status and does nothing else. A kernel launch is
/// "cudaLaunchKernelExC". Fails tests that misspell: throws std::invalid_argument when the stand-in has no such
/// function.
void fail_call(std::string_view function, int nth, int status);
/// The nth matrix from now that an eigensolver of cuSOLVER works on does not converge: its info is 1, its results NaN.
void fail_convergence(std::string_view function, int nth);
/// The nth allocation from now, of device or pinned memory, finds no memory.
void fail_allocation(int nth);

/// Calls of an entry point since the last reset.
int64_t calls(std::string_view function);

/// What went wrong in queued work, where a GPU would answer later calls with an error; empty if nothing did.
std::string fault();
/// Why the last refused call was refused, in more words than its status.
std::string refusal();

/// Blocks of device and pinned memory that nobody freed, and operations that wait in queues.
int64_t live_allocations();
int64_t queued_operations();

}  // namespace emulated
