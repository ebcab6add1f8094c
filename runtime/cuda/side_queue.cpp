// Copies beside a stream's work, ordered by events.
#include "runtime/cuda/side_queue.h"

#include <utility>

namespace subspect::runtime::cuda {

namespace {

class SideStream final : public SideQueue {
 public:
  explicit SideStream(std::shared_ptr<StreamHandle> stream) : stream_(std::move(stream)), own_(stream_->device()) {}

  void copy(void* to, const void* from, int64_t bytes) override {
    if (bytes == 0) return;
    const DeviceGuard guard(own_.device());
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, own_.get()),
          "cudaMemcpyAsync beside the stream");
  }

  void wait_for_stream() override {
    const DeviceGuard guard(own_.device());
    mark_.record(stream_->get());
    mark_.block(own_.get());
  }

  void stream_waits() override {
    const DeviceGuard guard(own_.device());
    mark_.record(own_.get());
    mark_.block(stream_->get());
  }

  void synchronize() override {
    const DeviceGuard guard(own_.device());
    own_.synchronize();
  }

 private:
  std::shared_ptr<StreamHandle> stream_;
  StreamHandle own_;
  Event mark_;  // who waits for it has been queued before it is recorded again
};

}  // namespace

std::unique_ptr<SideQueue> make_side_queue(std::shared_ptr<StreamHandle> stream) {
  const DeviceGuard guard(stream->device());
  return std::make_unique<SideStream>(std::move(stream));
}

}  // namespace subspect::runtime::cuda
