// SideWork: what ranks send each other while the next thing is computed.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "runtime/comm/communicator.h"

namespace subspect::runtime::comm {

/// Work beside a stream, done in the order it was given: on the CPU by a thread, on a GPU in a second stream.
class SideWork {
 public:
  /// @param main outlives this object, as the ranks do.
  SideWork(Stream& main, Communicator& ranks);
  /// Work that was given and not joined, since something failed, is given up.
  ~SideWork();
  SideWork(const SideWork&) = delete;
  SideWork& operator=(const SideWork&) = delete;

  /// Runs `work` with a stream of its own, after what is queued on the main stream so far.
  void run(std::function<void(Stream& side)> work);

  /// What is queued on the main stream from now on comes after the work given so far: waits for the thread on the CPU.
  /// Throws the first exception of the work; what was given after it is dropped.
  void join();

 private:
  void serve();

  Stream& main_;
  Communicator& ranks_;
  std::shared_ptr<Stream> side_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void(Stream&)>> queue_;
  bool joined_ = true;
  bool busy_ = false;
  bool stop_ = false;
  std::exception_ptr error_;
  std::thread thread_;  // on the CPU
};

}  // namespace subspect::runtime::comm
