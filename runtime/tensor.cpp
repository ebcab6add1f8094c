// Tensors: views, copies and conversions between element types.
#include "runtime/tensor.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "kernels/elementwise.h"
#include "kernels/strided_copy.h"
#include "runtime/dispatch.h"
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

bool is_on_host(const Tensor& tensor) {
  return tensor.device().type == DeviceType::cpu;
}

constexpr int64_t upload_part_bytes = 4 << 20;

// Calls body.operator()<T>() for the C++ type of a floating-point dtype.
template <class Body>
void with_floating_type(DType dtype, Body&& body) {
  require(is_floating_point(dtype), "Tensor::copy_from",
          "conversions on a GPU must be between floating-point types. Received {}.", name(dtype));
  if (dtype == DType::bfloat16) return body.template operator()<bfloat16>();
  if (dtype == DType::float16) return body.template operator()<float16>();
  if (dtype == DType::float64) return body.template operator()<double>();
  body.template operator()<float>();
}

// Both contiguous and on the stream's device.
void convert_on_device(Stream& stream, const Tensor& source, const Tensor& target) {
  dispatch_device(stream, [&]<class D>(kernels::Context<D> on) {
    with_floating_type(source.dtype(), [&]<class From>() {
      with_floating_type(target.dtype(), [&]<class To>() {
        kernels::cast<D, From, To>(on, source.data<From>(), target.data<To>(), source.numel());
      });
    });
  });
}

// The widest element, up to 16 bytes, that rows of both views divide into; a row of one such element stays as it is.
void widen_elements(kernels::StridedCopyParams& p) {
  constexpr size_t last = kernels::strided_axes - 1;
  if (p.from_strides[last] != 1 || p.to_strides[last] != 1) return;
  const auto even = [&] {
    bool all = p.element_bytes < 16 && p.sizes[last] % 2 == 0;
    for (size_t axis = 0; axis < last; ++axis)
      all = all && p.from_strides[axis] % 2 == 0 && p.to_strides[axis] % 2 == 0;
    const auto addresses = reinterpret_cast<uintptr_t>(p.from) | reinterpret_cast<uintptr_t>(p.to);
    return all && addresses % static_cast<uintptr_t>(2 * p.element_bytes) == 0;
  };
  while (even()) {
    p.element_bytes *= 2;
    p.sizes[last] /= 2;
    for (size_t axis = 0; axis < last; ++axis) {
      p.from_strides[axis] /= 2;
      p.to_strides[axis] /= 2;
    }
  }
}

// Of one dtype and shape, on the stream's device, in any layout.
void copy_strided(Stream& stream, const Tensor& source, const Tensor& target) {
  require(source.dim() <= kernels::strided_axes, "Tensor::copy_from",
          "a view that is not contiguous must have at most {} axes. Received {}.", kernels::strided_axes,
          to_string(source.shape()));
  if (source.numel() == 0) return;
  kernels::StridedCopyParams p{.from = source.raw(), .to = target.raw(), .element_bytes = element_size(source.dtype())};
  const auto unused = static_cast<size_t>(kernels::strided_axes - source.dim());
  for (size_t axis = 0; axis < source.shape().size(); ++axis) {
    p.sizes[unused + axis] = source.shape()[axis];
    p.from_strides[unused + axis] = source.strides()[axis];
    p.to_strides[unused + axis] = target.strides()[axis];
  }
  widen_elements(p);
  dispatch_device(stream, [&]<class D>(kernels::Context<D> on) { kernels::strided_copy<D>(on, p); });
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
  require(defined() && is_on_host(*this), "Tensor::values", "the tensor must be in host memory.");
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

Tensor Tensor::to_cpu(Stream& stream, DType dtype) const {
  require(defined(), "Tensor::to_cpu", "the tensor must be defined.");
  const auto bytes = std::make_shared<std::vector<char>>(static_cast<size_t>(numel() * element_size(dtype)));
  Tensor result = wrap(bytes->data(), shape_, dtype, Device{}, bytes);
  result.copy_from(stream, *this);
  return result;
}

void Tensor::copy_from(Stream& stream, const Tensor& source) const {
  require(defined() && source.defined(), "Tensor::copy_from", "both tensors must be defined.");
  require(shape_ == source.shape_, "Tensor::copy_from", "shapes must be equal. Received {} and {}.",
          runtime::to_string(shape_), runtime::to_string(source.shape_));
  for (const Tensor* tensor : {this, &source}) {
    require(tensor->device_ == stream.device() || is_on_host(*tensor), "Tensor::copy_from",
            "tensors must be on {} or in host memory. Received {}.", stream.device().to_string(),
            tensor->device_.to_string());
  }
  if (is_on_host(*this)) return is_on_host(source) ? copy_on_host(source) : download(stream, source);
  return is_on_host(source) ? upload(stream, source) : copy_on_device(stream, source);
}

void Tensor::copy_on_host(const Tensor& source) const {
  if (dtype_ == source.dtype_ && is_contiguous() && source.is_contiguous()) {
    if (numel() > 0) std::memcpy(raw(), source.raw(), static_cast<size_t>(bytes()));
    return;
  }
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

// Both on the GPU: strided views are copied as they are, conversions go from contiguous to contiguous memory.
void Tensor::copy_on_device(Stream& stream, const Tensor& source) const {
  const bool contiguous = is_contiguous() && source.is_contiguous();
  if (dtype_ == source.dtype_) {
    if (contiguous) return stream.copy(raw(), source.raw(), bytes());
    return copy_strided(stream, source, *this);
  }
  if (contiguous) return convert_on_device(stream, source, *this);
  const Tensor packed = source.is_contiguous() ? source : source.clone(stream);
  if (is_contiguous()) return convert_on_device(stream, packed, *this);
  copy_strided(stream, packed.to(stream, dtype_), *this);
}

void Tensor::upload(Stream& stream, const Tensor& source) const {
  if (!source.is_contiguous()) return upload(stream, source.to_cpu(stream, source.dtype_));
  if (!is_contiguous()) return copy_on_device(stream, source.to(stream, dtype_));
  if (dtype_ == source.dtype_) return stream.copy_from_host(raw(), source.raw(), bytes());
  upload_converted(stream, source);
}

// In parts, so that little memory is needed beside the tensor. The next part's copy waits in stream order until this
// one's conversion has read the memory that both pass through.
void Tensor::upload_converted(Stream& stream, const Tensor& source) const {
  const int64_t count = numel();
  if (count == 0) return;
  const int64_t part = std::min(count, upload_part_bytes / element_size(source.dtype_));
  const MemoryScope scope(*stream.allocator(), MemoryTag::workspace);
  const Tensor buffer = empty(stream, {part}, source.dtype_);
  const Tensor from = source.view({count});
  const Tensor to = view({count});
  for (int64_t begin = 0; begin < count; begin += part) {
    const int64_t size = std::min(part, count - begin);
    const Tensor staged = buffer.narrow(0, 0, size);
    stream.copy_from_host(staged.raw(), from.narrow(0, begin, size).raw(), staged.bytes());
    convert_on_device(stream, staged, to.narrow(0, begin, size));
  }
}

void Tensor::download(Stream& stream, const Tensor& source) const {
  if (!source.is_contiguous()) return download(stream, source.clone(stream));
  if (dtype_ == source.dtype_ && is_contiguous()) return stream.copy_to_host(raw(), source.raw(), bytes());
  copy_on_host(source.to_cpu(stream, source.dtype_));
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
  wrap(values.data(), shape_, dtype_of<T>, Device{}, nullptr).copy_from(stream, *this);
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
