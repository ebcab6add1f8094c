// How much memory work may still take.
#pragma once

#include <cstdint>

#include "runtime/device.h"

namespace subspect::runtime {

/// Bytes that can still be used on the stream's device. On the CPU as the kernel estimates it, within the limit of the
/// control group; on a GPU what nobody holds and what the stream's allocator keeps for reuse.
int64_t available_memory(const Stream& stream);

/// The same of the host, whatever the stream.
int64_t available_host_memory();

/// Bytes of a device's memory in all; of the CPU what the machine or the control group has. Throws Error when the GPU
/// cannot be used.
int64_t total_memory(Device device);

}  // namespace subspect::runtime
