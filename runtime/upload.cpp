// Packing arrays into one copy.
#include "runtime/upload.h"

namespace subspect::runtime {

std::vector<Tensor> upload_together(Stream& stream, std::span<const std::span<const int32_t>> arrays) {
  constexpr size_t alignment = 16;  // elements: each array begins at a multiple of 64 bytes
  std::vector<int32_t> together;
  std::vector<int64_t> begins;
  for (const std::span<const int32_t> array : arrays) {
    begins.push_back(static_cast<int64_t>(together.size()));
    together.insert(together.end(), array.begin(), array.end());
    together.resize((together.size() + alignment - 1) / alignment * alignment, 0);
  }
  const Tensor all = Tensor::from_host<int32_t>(stream, together, {static_cast<int64_t>(together.size())});
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < arrays.size(); ++i) {
    tensors.push_back(all.narrow(0, begins[i], static_cast<int64_t>(arrays[i].size())));
  }
  return tensors;
}

}  // namespace subspect::runtime
