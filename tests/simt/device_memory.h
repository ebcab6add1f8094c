// Memory of the emulated device, piece by piece: address space, and whether kernels may touch it. For the stand-in for
// CUDA's queues (tests/simt/cuda), which orders the work that touches it; everyone else uses simt::allocate_device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/simt/internal.h"

namespace simt {

/// The whole address space of the emulated device.
std::byte* device_memory();
size_t device_memory_bytes();

/// Address space for `bytes` bytes with red zones around it, aligned to 256; nullptr when there is none. Kernels may
/// touch it once it is active. Spaces given back are reused as late as possible.
void* reserve_device(size_t bytes);
void release_device(void* memory);

struct DeviceBlock {
  void* begin = nullptr;
  size_t bytes = 0;
};
/// The reserved block that the address lies in; a null one when it lies in none.
DeviceBlock device_block(const void* address);

/// Fills the bytes with NaN and lets kernels touch them; the reverse.
void activate_device(void* memory, size_t bytes);
void retire_device(void* memory, size_t bytes);

/// The accesses that follow belong to the work of this number (0: to none), and conflict with those of other work
/// unless `is_ordered(number)` says that it came before.
void begin_work(uint32_t work);
void set_work_order(bool (*is_ordered)(uint32_t work));

/// Whether a kernel that touches memory which is neither the device's nor its own fails.
void forbid_host_memory(bool forbidden);

/// Prepares for accesses that are not a kernel's, by a library or a copy, which errors then name.
void begin_library_call(const char* name);
/// One such access: checks bounds and races. Throws Failure.
void access_device(const void* address, size_t bytes, Access access);

}  // namespace simt
