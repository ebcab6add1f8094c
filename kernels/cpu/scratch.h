// Temporary memory of one thread, reused from call to call: kernels allocate from it as from a stack.
#pragma once

#include <cstddef>
#include <cstdint>

namespace subspect::kernels::cpu {

/// Marks the calling thread's scratch stack, and frees back to the mark when it goes out of scope. Memory stays with
/// the thread for the next kernel.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// `count` elements, uninitialised, aligned to 64 bytes, valid until this Scratch ends.
  template <class T>
  T* allocate(int64_t count) {
    return static_cast<T*>(allocate_bytes(static_cast<size_t>(count) * sizeof(T)));
  }

 private:
  static void* allocate_bytes(size_t bytes);

  size_t block_;
  size_t used_;
};

}  // namespace subspect::kernels::cpu
