// The functions that code built with -fsanitize=bounds,shift,integer-divide-by-zero calls when it is about to do what
// the language leaves undefined. The program is linked without libubsan: these take its place. They see what the race
// detector cannot: indices of arrays that would be registers on a GPU.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/simt/internal.h"

namespace {

/// How the compiler describes a place to the handlers; every handler's data begins with one.
struct SourcePlace {
  const char* file;
  uint32_t line;
  uint32_t column;
};

[[noreturn]] void report(const void* data, const std::string& what) {
  const auto* place = static_cast<const SourcePlace*>(data);
  const std::string text = what + " at " + simt::describe(simt::Place{place->file, static_cast<int>(place->line)});
  if (simt::running) simt::fail(text + ", by " + simt::describe(simt::block.current));
  std::fprintf(stderr, "simt: %s, in host code\n", text.c_str());
  std::abort();
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" {
[[noreturn]] void __ubsan_handle_out_of_bounds_abort(void* data, uintptr_t index);
void __ubsan_handle_out_of_bounds_abort(void* data, uintptr_t index) {
  report(data, "out of bounds: element " + std::to_string(static_cast<intptr_t>(index)) + " of an array");
}
[[noreturn]] void __ubsan_handle_shift_out_of_bounds_abort(void* data, uintptr_t value, uintptr_t bits);
void __ubsan_handle_shift_out_of_bounds_abort(void* data, uintptr_t /*value*/, uintptr_t bits) {
  report(data, "shift by " + std::to_string(static_cast<intptr_t>(bits)) + " bits");
}
[[noreturn]] void __ubsan_handle_divrem_overflow_abort(void* data, uintptr_t value, uintptr_t divisor);
void __ubsan_handle_divrem_overflow_abort(void* data, uintptr_t /*value*/, uintptr_t /*divisor*/) {
  report(data, "integer division that has no result");
}
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
