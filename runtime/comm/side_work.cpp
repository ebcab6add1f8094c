// A thread, or a second stream, that works beside the main stream.
#include "runtime/comm/side_work.h"

#include <utility>

namespace subspect::runtime::comm {

SideWork::SideWork(Stream& main, Communicator& ranks)
    : main_(main), ranks_(ranks), side_(Stream::open(main.device(), 1)) {
  if (main.device().type == DeviceType::cpu) thread_ = std::thread([this] { serve(); });
}

SideWork::~SideWork() {
  if (!joined_) ranks_.give_up();
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    queue_.clear();
  }
  changed_.notify_all();
  thread_.join();
}

void SideWork::run(std::function<void(Stream& side)> work) {
  joined_ = false;
  if (!thread_.joinable()) {
    side_->follow(main_);
    work(*side_);
    return;
  }
  const std::lock_guard lock(mutex_);
  if (error_) return;
  queue_.push_back(std::move(work));
  changed_.notify_all();
}

void SideWork::join() {
  if (!thread_.joinable()) {
    main_.follow(*side_);
    joined_ = true;
    return;
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return queue_.empty() && !busy_; });
  joined_ = true;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void SideWork::serve() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (stop_) return;
    const std::function<void(Stream&)> work = std::move(queue_.front());
    queue_.pop_front();
    busy_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      work(*side_);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    busy_ = false;
    if (error) {
      error_ = error;
      queue_.clear();
    }
    changed_.notify_all();
  }
}

}  // namespace subspect::runtime::comm
