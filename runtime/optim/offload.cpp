// The windows, and what passes through them.
#include "runtime/optim/offload.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/error.h"
#include "runtime/upload.h"

namespace subspect::runtime::optim {

namespace {

constexpr int64_t alignment = 256;  // of each part of a record's state: a master copy, two moments, two of scales
constexpr int64_t parts = 5;

int64_t padded(int64_t bytes) {
  return (bytes + alignment - 1) / alignment * alignment;
}

}  // namespace

OffloadedState::OffloadedState(Stream& stream) : stream_(stream) {
  if (stream.gpu() == nullptr) {
    throw Error("an optimizer's state can be offloaded from a GPU only: here it is in the host's memory",
                "optimizer.offload", "leave it out, or use --device cuda");
  }
  for (std::unique_ptr<SideQueue>& side : sides_) side = stream.gpu()->make_side_queue();
}

// The side queues wait for their work when they go, before the memory does.
OffloadedState::~OffloadedState() {
  for (std::unique_ptr<SideQueue>& side : sides_) side.reset();
}

Tensor OffloadedState::zeros(Shape shape, DType dtype) const {
  int64_t bytes = element_size(dtype);
  for (const int64_t size : shape) bytes *= size;
  const std::shared_ptr<void> memory = stream_.gpu()->pinned_memory(bytes);
  std::memset(memory.get(), 0, static_cast<size_t>(bytes));
  return Tensor::wrap(memory.get(), std::move(shape), dtype, Device{}, memory);
}

int64_t OffloadedState::window_bytes(int64_t state_bytes, int64_t tensors) {
  return std::min(largest_window_bytes, state_bytes + tensors * parts * alignment);
}

void OffloadedState::plan(int64_t window_bytes) {
  wait();
  batches_.clear();
  window_bytes_ = window_bytes;
  const MemoryScope scope(*stream_.allocator(), MemoryTag::optimizer);
  for (Tensor& window : memory_) window = Tensor::empty(stream_, {window_bytes}, DType::uint8);
}

void OffloadedState::begin(int64_t bytes) {
  const int64_t most = bytes + parts * alignment;
  require(most <= window_bytes_, "OffloadedState", "a record's state must fit a window of {} bytes. Received {}.",
          window_bytes_, bytes);
  if (!batches_.empty() && used_ + most <= window_bytes_) return;
  batches_.emplace_back();
  used_ = 0;
}

std::byte* OffloadedState::place(const Tensor& state, int64_t first, int64_t count) {
  const int64_t size = element_size(state.dtype());
  Batch& batch = batches_.back();
  std::byte* device = static_cast<std::byte*>(memory_[(batches_.size() - 1) % windows].raw()) + used_;
  batch.passages.push_back({static_cast<std::byte*>(state.raw()) + first * size, device, count * size});
  used_ += padded(count * size);
  return device;
}

void OffloadedState::add(const kernels::OptimizerTensor& record) {
  batches_.back().records.push_back(record);
}

void OffloadedState::send_lists() {
  const MemoryScope scope(*stream_.allocator(), MemoryTag::optimizer);
  for (Batch& batch : batches_) {
    if (batch.device_records.defined()) continue;
    batch.chunks = kernels::count_chunks(batch.records);
    std::vector<kernels::TensorChunk> chunks(static_cast<size_t>(batch.chunks));
    kernels::write_chunks(batch.records, chunks.data());
    batch.device_records = upload_bytes<kernels::OptimizerTensor>(stream_, batch.records);
    batch.device_chunks = upload_bytes<kernels::TensorChunk>(stream_, chunks);
  }
}

void OffloadedState::run(const std::function<void(const kernels::TensorList& list)>& update) {
  send_lists();
  for (const std::unique_ptr<SideQueue>& side : sides_) side->wait_for_stream();  // which may still use this memory
  for (size_t i = 0; i < batches_.size(); ++i) {
    const Batch& batch = batches_[i];
    SideQueue& side = *sides_[i % windows];
    for (const Passage& passage : batch.passages) side.copy(passage.device, passage.host, passage.bytes);
    side.stream_waits();
    update({static_cast<const kernels::OptimizerTensor*>(batch.device_records.raw()),
            static_cast<const kernels::TensorChunk*>(batch.device_chunks.raw()), batch.chunks});
    side.wait_for_stream();
    for (const Passage& passage : batch.passages) side.copy(passage.host, passage.device, passage.bytes);
  }
}

void OffloadedState::wait() const {
  for (const std::unique_ptr<SideQueue>& side : sides_) side->synchronize();
}

}  // namespace subspect::runtime::optim
