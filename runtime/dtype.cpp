// Element types: sizes and names.
#include "runtime/dtype.h"

#include <array>

#include "runtime/error.h"

namespace subspect::runtime {

namespace {

struct Description {
  DType dtype;
  std::string_view name;
  int64_t size;
  bool floating_point;
};

constexpr std::array<Description, 10> descriptions = {{
    {DType::float32, "float32", 4, true},
    {DType::bfloat16, "bfloat16", 2, true},
    {DType::float16, "float16", 2, true},
    {DType::float64, "float64", 8, true},
    {DType::int64, "int64", 8, false},
    {DType::int32, "int32", 4, false},
    {DType::int16, "int16", 2, false},
    {DType::int8, "int8", 1, false},
    {DType::uint8, "uint8", 1, false},
    {DType::boolean, "bool", 1, false},
}};

const Description& describe(DType dtype) {
  return descriptions[static_cast<size_t>(dtype)];
}

}  // namespace

int64_t element_size(DType dtype) {
  return describe(dtype).size;
}

std::string_view name(DType dtype) {
  return describe(dtype).name;
}

bool is_floating_point(DType dtype) {
  return describe(dtype).floating_point;
}

DType parse_dtype(std::string_view text) {
  for (const Description& description : descriptions) {
    if (description.name == text) return description.dtype;
  }
  if (text == "bf16") return DType::bfloat16;
  if (text == "fp16") return DType::float16;
  if (text == "fp32") return DType::float32;
  throw UsageError(fmt::format("unknown element type '{}'", text), "", "use float32, bfloat16 or float16");
}

}  // namespace subspect::runtime
