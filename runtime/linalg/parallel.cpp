// Parallel loops that carry exceptions out.
#include "runtime/linalg/parallel.h"

#include <exception>
#include <vector>

#include "kernels/thread_team.h"

namespace subspect::runtime::linalg {

namespace {

void run_range(Stream& stream, size_t begin, size_t end, const std::function<void(size_t)>& body) {
  if (end - begin == 1 || stream.device().type != DeviceType::cpu) {
    for (size_t i = begin; i < end; ++i) body(i);
    return;
  }
  std::vector<std::exception_ptr> errors(end - begin);
  stream.context<kernels::Cpu>().team->for_each_chunk(static_cast<int64_t>(end - begin), [&](int64_t chunk) {
    const auto index = static_cast<size_t>(chunk);
    try {
      body(begin + index);
    } catch (...) {
      errors[index] = std::current_exception();
    }
  });
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace

void for_each_matrix(Stream& stream, size_t count, const std::function<void(size_t)>& body) {
  if (count > 0) run_range(stream, 0, count, body);
}

void for_each_matrix_within(Stream& stream, size_t count, int64_t budget, const std::function<int64_t(size_t)>& bytes,
                            const std::function<void(size_t)>& body, const std::function<void()>& between) {
  size_t begin = 0;
  while (begin < count) {
    size_t end = begin;
    int64_t used = 0;
    while (end < count && (end == begin || used + bytes(end) <= budget)) used += bytes(end++);
    run_range(stream, begin, end, body);
    if (between) between();
    begin = end;
  }
}

}  // namespace subspect::runtime::linalg
