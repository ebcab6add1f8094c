// Recording and launching work that repeats.
#include "runtime/replay.h"

#include <unordered_map>
#include <utility>

#include "runtime/allocator.h"
#include "runtime/gpu_queue.h"

namespace subspect::runtime {

namespace {

/// Blocks of another allocator, for a caching allocator of its own: memory that one recording uses and nobody else.
MemorySource blocks_of(const std::shared_ptr<Allocator>& parent) {
  const MemoryTag tag = parent->tag();
  const auto sizes = std::make_shared<std::unordered_map<void*, int64_t>>();
  return {
      .acquire =
          [parent, tag, sizes](int64_t bytes) {
            void* pointer = parent->allocate(bytes, tag);
            sizes->emplace(pointer, bytes);
            return pointer;
          },
      .release =
          [parent, tag, sizes](void* pointer) {
            const auto found = sizes->find(pointer);
            parent->deallocate(pointer, found->second, tag);
            sizes->erase(found);
          },
  };
}

/// Tensors made in the scope take their memory from `allocator`.
class AllocatorScope {
 public:
  AllocatorScope(Stream& stream, std::shared_ptr<Allocator> allocator)
      : stream_(stream), previous_(stream.exchange_allocator(std::move(allocator))) {}
  ~AllocatorScope() { stream_.exchange_allocator(std::move(previous_)); }
  AllocatorScope(const AllocatorScope&) = delete;
  AllocatorScope& operator=(const AllocatorScope&) = delete;

 private:
  Stream& stream_;
  std::shared_ptr<Allocator> previous_;
};

}  // namespace

Replay::Replay(Stream& stream, std::function<void()> work) : stream_(stream), work_(std::move(work)) {}

Replay::~Replay() = default;

void Replay::run() {
  if (recording_) return recording_->launch();
  if (stream_.gpu() == nullptr || !std::exchange(warm_, true)) return work_();
  record();
  recording_->launch();
}

// The first run, which was not recorded, has chosen algorithms and loaded code, neither of which can be recorded.
void Replay::record() {
  memory_ = std::make_shared<CachingAllocator>(stream_.device(), blocks_of(stream_.allocator()));
  const AllocatorScope scope(stream_, memory_);
  recording_ = stream_.gpu()->record(work_);
}

}  // namespace subspect::runtime
