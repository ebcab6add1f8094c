// Tensor: a view (offset, shape, strides) on reference-counted storage. Never copies to another device or casts
// silently; a copy of a Tensor is another view of the same memory.
#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/dtype.h"

namespace subspect::runtime {

using Shape = std::vector<int64_t>;

std::string to_string(const Shape& shape);  ///< "[2, 3]"

class Storage;

class Tensor {
 public:
  Tensor() = default;  ///< no storage; `defined()` is false

  /// Uninitialised memory from the stream's allocator.
  static Tensor empty(Stream& stream, Shape shape, DType dtype);
  static Tensor zeros(Stream& stream, Shape shape, DType dtype);

  /// Copies host values to the stream's device.
  template <class T>
  static Tensor from_host(Stream& stream, std::span<const T> values, Shape shape);

  /// A view on memory that `owner` keeps alive (a memory-mapped file, a vector).
  static Tensor wrap(const void* data, Shape shape, DType dtype, Device device, std::shared_ptr<const void> owner);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t dim() const { return static_cast<int64_t>(shape_.size()); }
  int64_t size(int64_t axis) const;  ///< negative counts from the end
  const std::vector<int64_t>& strides() const { return strides_; }
  int64_t numel() const;
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  int64_t bytes() const { return numel() * element_size(dtype_); }
  bool is_contiguous() const;

  /// Pointer to the first element; throws Error when T is not the dtype.
  template <class T>
  T* data() const {
    return static_cast<T*>(checked_data(dtype_of<T>));
  }
  void* raw() const;

  Tensor view(Shape shape) const;                                    ///< contiguous only; one size may be -1
  Tensor narrow(int64_t axis, int64_t begin, int64_t length) const;  ///< shares memory
  Tensor transpose() const;                                          ///< 2-D; shares memory

  /// New contiguous memory on the stream's device, converted to `dtype`. The tensor is on that device, or in host
  /// memory.
  Tensor to(Stream& stream, DType dtype) const;
  Tensor clone(Stream& stream) const { return to(stream, dtype_); }
  /// New contiguous host memory, converted to `dtype`; returns when the values have arrived.
  Tensor to_cpu(Stream& stream, DType dtype) const;
  /// Overwrites this tensor's values; shapes equal, dtypes converted. Source and target are each on the stream's device
  /// or in host memory. On a GPU: conversions between floating-point types only, and done there; 2 to 16 bytes an
  /// element and at most 4 axes where memory is not contiguous. A host source may be overwritten on return.
  void copy_from(Stream& stream, const Tensor& source) const;
  void fill_zero(Stream& stream) const;

  /// Host copy of all values, converted to T.
  template <class T>
  std::vector<T> to_host(Stream& stream) const;

  /// The values of a CPU tensor, in place; contiguous only.
  template <class T>
  std::span<T> values() const;

  /// True when nothing else refers to the storage, so that writing to it is seen by nobody else.
  bool is_sole_owner() const { return storage_.use_count() == 1; }

  /// True when both are views on the same storage.
  bool shares_storage_with(const Tensor& other) const { return storage_ == other.storage_; }

 private:
  void* checked_data(DType expected) const;
  void copy_on_host(const Tensor& source) const;
  void copy_on_device(Stream& stream, const Tensor& source) const;
  void upload(Stream& stream, const Tensor& source) const;
  void upload_converted(Stream& stream, const Tensor& source) const;
  void download(Stream& stream, const Tensor& source) const;

  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  // elements
  Shape shape_;
  std::vector<int64_t> strides_;
  DType dtype_ = DType::float32;
  Device device_;
};

}  // namespace subspect::runtime
