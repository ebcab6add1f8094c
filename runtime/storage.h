// Storage: the memory behind tensors, reference-counted. Either a block of an allocator or memory that an owner keeps.
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/device.h"

namespace subspect::runtime {

class Storage {
 public:
  /// A block of `bytes` from the allocator, counted under its tag, given back when the storage goes.
  Storage(std::shared_ptr<Allocator> allocator, int64_t bytes)
      : allocator_(std::move(allocator)),
        tag_(allocator_->tag()),
        bytes_(bytes),
        data_(allocator_->allocate(bytes, tag_)) {}

  /// Memory that `owner` keeps alive.
  Storage(void* data, int64_t bytes, std::shared_ptr<const void> owner)
      : owner_(std::move(owner)), bytes_(bytes), data_(data) {}

  ~Storage() {
    if (allocator_) allocator_->deallocate(data_, bytes_, tag_);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Allocator> allocator_;
  std::shared_ptr<const void> owner_;
  MemoryTag tag_ = MemoryTag::other;
  int64_t bytes_;
  void* data_;
};

}  // namespace subspect::runtime
