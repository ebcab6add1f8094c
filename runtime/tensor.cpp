// Tensors: views, copies and conversions between element types.
#include "runtime/tensor.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "runtime/error.h"
#include "runtime/storage.h"

namespace subspect::runtime {

namespace {

int64_t product(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::vector<int64_t> contiguous_strides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= std::max<int64_t>(shape[axis], 1);
  }
  return strides;
}

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<From, bfloat16> || std::is_same_v<From, float16>) {
    return convert<To>(kernels::to_float(value));
  } else if constexpr (std::is_same_v<To, bfloat16> || std::is_same_v<To, float16>) {
    return kernels::from_float<To>(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

// Calls body.operator()<T>() for the C++ type of a dtype.
template <class Body>
decltype(auto) with_type(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::bfloat16:
      return body.template operator()<bfloat16>();
    case DType::float16:
      return body.template operator()<float16>();
    case DType::float64:
      return body.template operator()<double>();
    case DType::int64:
      return body.template operator()<int64_t>();
    case DType::int32:
      return body.template operator()<int32_t>();
    case DType::int16:
      return body.template operator()<int16_t>();
    case DType::int8:
      return body.template operator()<int8_t>();
    case DType::uint8:
      return body.template operator()<uint8_t>();
    case DType::boolean:
      return body.template operator()<bool>();
    case DType::float32:
      break;
  }
  return body.template operator()<float>();
}

struct Layout {
  const Shape& shape;
  const std::vector<int64_t>& strides;
};

// Calls body(offset, stride, length, index) for each row along the last axis, in row-major order.
template <class Body>
void for_each_row(const Layout& layout, Body&& body) {
  const size_t axes = layout.shape.size();
  if (product(layout.shape) == 0) return;
  if (axes == 0) return body(int64_t{0}, int64_t{1}, int64_t{1}, int64_t{0});
  std::vector<int64_t> index(axes, 0);
  const int64_t length = layout.shape[axes - 1];
  const int64_t rows = product(layout.shape) / length;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t offset = 0;
    for (size_t axis = 0; axis + 1 < axes; ++axis) offset += index[axis] * layout.strides[axis];
    body(offset, layout.strides[axes - 1], length, row * length);
    for (size_t axis = axes - 1; axis-- > 0;) {
      if (++index[axis] < layout.shape[axis]) break;
      index[axis] = 0;
    }
  }
}

// Gathers a strided tensor to a contiguous one, or scatters back, converting.
template <class From, class To>
void gather(const From* source, const Layout& layout, To* target) {
  for_each_row(layout, [&](int64_t offset, int64_t stride, int64_t length, int64_t position) {
    for (int64_t i = 0; i < length; ++i) target[position + i] = convert<To>(source[offset + i * stride]);
  });
}

template <class From, class To>
void scatter(const From* source, const Layout& layout, To* target) {
  for_each_row(layout, [&](int64_t offset, int64_t stride, int64_t length, int64_t position) {
    for (int64_t i = 0; i < length; ++i) target[offset + i * stride] = convert<To>(source[position + i]);
  });
}

size_t checked_axis(int64_t axis, int64_t dim, const char* op) {
  require(axis >= -dim && axis < dim, op, "the axis must be in [-{}, {}). Received {}.", dim, dim, axis);
  return static_cast<size_t>(axis < 0 ? axis + dim : axis);
}

void require_on_host(const Tensor& tensor, const char* op) {
  require(tensor.defined() && tensor.device().type == DeviceType::cpu, op, "the tensor must be in host memory.");
}

}  // namespace

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Tensor Tensor::empty(Stream& stream, Shape shape, DType dtype) {
  for (const int64_t size : shape) require(size >= 0, "Tensor", "sizes must not be negative. Received {}.", size);
  Tensor tensor;
  tensor.storage_ = std::make_shared<Storage>(stream.allocator(), product(shape) * element_size(dtype));
  tensor.strides_ = contiguous_strides(shape);
  tensor.shape_ = std::move(shape);
  tensor.dtype_ = dtype;
  tensor.device_ = stream.device();
  return tensor;
}

Tensor Tensor::zeros(Stream& stream, Shape shape, DType dtype) {
  Tensor tensor = empty(stream, std::move(shape), dtype);
  stream.zero(tensor.raw(), tensor.bytes());
  return tensor;
}

template <class T>
// NOLINTNEXTLINE(performance-unnecessary-value-param): it is moved into the tensor
Tensor Tensor::from_host(Stream& stream, std::span<const T> values, Shape shape) {
  require(product(shape) == static_cast<int64_t>(values.size()), "Tensor::from_host",
          "the number of values must be that of shape {}. Received {}.", runtime::to_string(shape), values.size());
  Tensor tensor = empty(stream, std::move(shape), dtype_of<T>);
  stream.copy_from_host(tensor.raw(), values.data(), tensor.bytes());
  return tensor;
}

Tensor Tensor::wrap(const void* data, Shape shape, DType dtype, Device device, std::shared_ptr<const void> owner) {
  Tensor tensor;
  const int64_t bytes = product(shape) * element_size(dtype);
  tensor.storage_ = std::make_shared<Storage>(const_cast<void*>(data), bytes, std::move(owner));
  tensor.strides_ = contiguous_strides(shape);
  tensor.shape_ = std::move(shape);
  tensor.dtype_ = dtype;
  tensor.device_ = device;
  return tensor;
}

int64_t Tensor::size(int64_t axis) const {
  return shape_[checked_axis(axis, dim(), "Tensor::size")];
}

int64_t Tensor::numel() const {
  return defined() ? product(shape_) : 0;
}

bool Tensor::is_contiguous() const {
  int64_t expected = 1;
  for (size_t axis = shape_.size(); axis-- > 0;) {
    if (shape_[axis] == 0) return true;
    if (shape_[axis] != 1 && strides_[axis] != expected) return false;
    expected *= shape_[axis];
  }
  return true;
}

void* Tensor::raw() const {
  if (!defined()) return nullptr;
  return static_cast<char*>(storage_->data()) + offset_ * element_size(dtype_);
}

void* Tensor::checked_data(DType expected) const {
  require(defined(), "Tensor::data", "the tensor must be defined.");
  require(expected == dtype_, "Tensor::data", "the tensor must hold {}. Received {} {}.", name(expected), name(dtype_),
          runtime::to_string(shape_));
  return raw();
}

template <class T>
std::span<T> Tensor::values() const {
  require_on_host(*this, "Tensor::values");
  require(is_contiguous(), "Tensor::values", "the tensor must be contiguous. Received strides [{}].",
          fmt::join(strides_, ", "));
  return {data<T>(), static_cast<size_t>(numel())};
}

Tensor Tensor::view(Shape shape) const {
  require(defined() && is_contiguous(), "Tensor::view", "the tensor must be contiguous. Received {}, strides [{}].",
          runtime::to_string(shape_), fmt::join(strides_, ", "));
  const auto unknown = std::find(shape.begin(), shape.end(), -1);
  if (unknown != shape.end()) {
    *unknown = 1;
    const int64_t known = product(shape);
    require(known > 0, "Tensor::view", "the size -1 needs other sizes that are positive.");
    *unknown = numel() / known;
  }
  require(product(shape) == numel(), "Tensor::view", "{} must have as many elements as {}.", runtime::to_string(shape),
          runtime::to_string(shape_));
  Tensor result = *this;
  result.strides_ = contiguous_strides(shape);
  result.shape_ = std::move(shape);
  return result;
}

Tensor Tensor::narrow(int64_t axis, int64_t begin, int64_t length) const {
  const size_t position = checked_axis(axis, dim(), "Tensor::narrow");
  require(begin >= 0 && length >= 0 && begin + length <= shape_[position], "Tensor::narrow",
          "[{}, {}) must lie in axis {} of {}.", begin, begin + length, axis, runtime::to_string(shape_));
  Tensor result = *this;
  result.offset_ += begin * strides_[position];
  result.shape_[position] = length;
  return result;
}

Tensor Tensor::transpose() const {
  require(dim() == 2, "Tensor::transpose", "the tensor must have two axes. Received {}.", runtime::to_string(shape_));
  Tensor result = *this;
  std::swap(result.shape_[0], result.shape_[1]);
  std::swap(result.strides_[0], result.strides_[1]);
  return result;
}

Tensor Tensor::to(Stream& stream, DType dtype) const {
  require(defined(), "Tensor::to", "the tensor must be defined.");
  Tensor result = empty(stream, shape_, dtype);
  result.copy_from(stream, *this);
  return result;
}

void Tensor::copy_from(Stream& stream, const Tensor& source) const {
  require(defined() && source.defined(), "Tensor::copy_from", "both tensors must be defined.");
  require(shape_ == source.shape_, "Tensor::copy_from", "shapes must be equal. Received {} and {}.",
          runtime::to_string(shape_), runtime::to_string(source.shape_));
  if (dtype_ == source.dtype_ && is_contiguous() && source.is_contiguous()) {
    stream.copy_from_host(raw(), source.raw(), bytes());
    return;
  }
  require_on_host(*this, "Tensor::copy_from");
  require_on_host(source, "Tensor::copy_from");
  with_type(source.dtype_, [&]<class From>() {
    const From* from = source.data<From>();
    with_type(dtype_, [&]<class To>() {
      if (source.is_contiguous()) return scatter(from, Layout{shape_, strides_}, data<To>());
      if (is_contiguous()) return gather(from, Layout{source.shape_, source.strides_}, data<To>());
      std::vector<To> packed(static_cast<size_t>(numel()));  // neither is contiguous: through a packed copy
      if constexpr (std::is_same_v<To, bool>) {
        require(false, "Tensor::copy_from", "one of two boolean tensors must be contiguous.");
      } else {
        gather(from, Layout{source.shape_, source.strides_}, packed.data());
        scatter(packed.data(), Layout{shape_, strides_}, data<To>());
      }
    });
  });
}

void Tensor::fill_zero(Stream& stream) const {
  require(defined() && is_contiguous(), "Tensor::fill_zero", "the tensor must be contiguous. Received {}.",
          runtime::to_string(shape_));
  stream.zero(raw(), bytes());
}

template <class T>
std::vector<T> Tensor::to_host(Stream& stream) const {
  require(defined(), "Tensor::to_host", "the tensor must be defined.");
  std::vector<T> values(static_cast<size_t>(numel()));
  if (dtype_ == dtype_of<T> && is_contiguous()) {
    stream.copy_to_host(values.data(), raw(), bytes());
    return values;
  }
  require_on_host(*this, "Tensor::to_host");
  with_type(dtype_, [&]<class From>() { gather(data<From>(), Layout{shape_, strides_}, values.data()); });
  return values;
}

#define SUBSPECT_INSTANTIATE(T)                                                                  \
  template Tensor Tensor::from_host<T>(Stream & stream, std::span<const T> values, Shape shape); \
  template std::span<T> Tensor::values<T>() const;                                               \
  template std::vector<T> Tensor::to_host<T>(Stream & stream) const;

SUBSPECT_INSTANTIATE(float)
SUBSPECT_INSTANTIATE(double)
SUBSPECT_INSTANTIATE(bfloat16)
SUBSPECT_INSTANTIATE(float16)
SUBSPECT_INSTANTIATE(int64_t)
SUBSPECT_INSTANTIATE(int32_t)
SUBSPECT_INSTANTIATE(int16_t)
SUBSPECT_INSTANTIATE(int8_t)
SUBSPECT_INSTANTIATE(uint8_t)
#undef SUBSPECT_INSTANTIATE

}  // namespace subspect::runtime
