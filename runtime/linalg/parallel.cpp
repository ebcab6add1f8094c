// Parallel loops that carry exceptions out.
#include "runtime/linalg/parallel.h"

#include <exception>
#include <vector>

#include "kernels/thread_team.h"

namespace subspect::runtime::linalg {

void for_each_matrix(Stream& stream, size_t count, const std::function<void(size_t)>& body) {
  if (count == 1 || stream.device().type != DeviceType::cpu) {
    for (size_t i = 0; i < count; ++i) body(i);
    return;
  }
  std::vector<std::exception_ptr> errors(count);
  stream.context<kernels::Cpu>().team->for_each_chunk(static_cast<int64_t>(count), [&](int64_t chunk) {
    const auto index = static_cast<size_t>(chunk);
    try {
      body(index);
    } catch (...) {
      errors[index] = std::current_exception();
    }
  });
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

void for_each_range_within(Stream& stream, size_t count, int64_t budget, const std::function<int64_t(size_t)>& bytes,
                           const std::function<void(size_t, size_t)>& body, const std::function<void()>& between) {
  const bool by_item = stream.device().type == DeviceType::cpu;
  size_t begin = 0;
  while (begin < count) {
    size_t end = begin;
    int64_t used = 0;
    while (end < count && (end == begin || used + bytes(end) <= budget)) used += bytes(end++);
    if (by_item) {
      for_each_matrix(stream, end - begin, [&](size_t i) { body(begin + i, begin + i + 1); });
    } else {
      body(begin, end);
    }
    if (between) between();
    begin = end;
  }
}

void for_each_matrix_within(Stream& stream, size_t count, int64_t budget, const std::function<int64_t(size_t)>& bytes,
                            const std::function<void(size_t)>& body, const std::function<void()>& between) {
  for_each_range_within(
      stream, count, budget, bytes,
      [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) body(i);
      },
      between);
}

}  // namespace subspect::runtime::linalg
