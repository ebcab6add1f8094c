// A hostile model.safetensors: opened, and every byte of every tensor read.
#include "runtime/io/safetensors.h"
#include "tests/fuzz/fuzz.h"

namespace subspect::fuzz {

namespace {

/// A sum over the bytes, so that reading outside the mapping is seen.
uint64_t sum_bytes(const runtime::Tensor& tensor) {
  const auto* bytes = static_cast<const unsigned char*>(tensor.raw());
  uint64_t sum = 0;
  for (int64_t i = 0; i < tensor.bytes(); ++i) sum += bytes[i];
  return sum;
}

}  // namespace

void fuzz_one(std::string_view input) {
  const auto file = runtime::io::SafetensorsFile::open(input_file("model.safetensors", input));
  uint64_t sum = 0;
  int64_t bytes = 0;
  for (const std::string& name : file.names()) {
    const runtime::io::TensorInfo info = file.info(name);
    const runtime::Tensor tensor = file.tensor(name);
    FUZZ_CHECK(tensor.shape() == info.shape);
    bytes += tensor.bytes();
    sum += sum_bytes(tensor);
  }
  FUZZ_CHECK(bytes <= static_cast<int64_t>(input.size()));
  FUZZ_CHECK(sum <= 255U * input.size());
}

}  // namespace subspect::fuzz
