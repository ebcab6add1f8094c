// The functions that the compiler calls before every memory access of code built with -fsanitize=thread. The program is
// linked without libtsan: these take its place.
#include "tests/simt/internal.h"

namespace {

void access(const void* address, size_t bytes, size_t alignment, simt::Access kind, const void* site) {
  if (!simt::running) return;
  simt::maybe_yield();
  simt::check_alignment(address, alignment, kind, site, simt::block.current);
  simt::check_access(address, bytes, kind, site, simt::block.current);
  if (!simt::counting) return;
  if (alignment < bytes) simt::forbid_split(address, bytes, site);
  simt::count_access(address, bytes, kind, site);
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,cppcoreguidelines-macro-usage)
#define SIMT_ACCESS(name, bytes, alignment, kind)                                       \
  void name(void* address);                                                             \
  void name(void* address) {                                                            \
    access(address, bytes, alignment, simt::Access::kind, __builtin_return_address(0)); \
  }
#define SIMT_ACCESSES(bytes)                                  \
  SIMT_ACCESS(__tsan_read##bytes, bytes, bytes, read)         \
  SIMT_ACCESS(__tsan_write##bytes, bytes, bytes, write)       \
  SIMT_ACCESS(__tsan_unaligned_read##bytes, bytes, 1, read)   \
  SIMT_ACCESS(__tsan_unaligned_write##bytes, bytes, 1, write) \
  SIMT_ACCESS(__tsan_read_write##bytes, bytes, bytes, write)  \
  SIMT_ACCESS(__tsan_unaligned_read_write##bytes, bytes, 1, write)

extern "C" {
SIMT_ACCESSES(1)
SIMT_ACCESSES(2)
SIMT_ACCESSES(4)
SIMT_ACCESSES(8)
SIMT_ACCESSES(16)

void __tsan_init();
void __tsan_init() {}
void __tsan_func_entry(void* /*caller*/);
void __tsan_func_entry(void* /*caller*/) {
  simt::enter_function();
}
void __tsan_func_exit();
void __tsan_func_exit() {
  simt::leave_function();
}
void __tsan_vptr_update(void** /*pointer*/, void* /*value*/);
void __tsan_vptr_update(void** /*pointer*/, void* /*value*/) {}
void __tsan_vptr_read(void** /*pointer*/);
void __tsan_vptr_read(void** /*pointer*/) {}
void __tsan_read_range(void* address, size_t bytes);
void __tsan_read_range(void* address, size_t bytes) {
  access(address, bytes, 1, simt::Access::read, __builtin_return_address(0));
}
void __tsan_write_range(void* address, size_t bytes);
void __tsan_write_range(void* address, size_t bytes) {
  access(address, bytes, 1, simt::Access::write, __builtin_return_address(0));
}
/// Guards of static variables.
char __tsan_atomic8_load(const volatile char* address, int /*order*/);
char __tsan_atomic8_load(const volatile char* address, int /*order*/) {
  return *address;
}
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,cppcoreguidelines-macro-usage)
