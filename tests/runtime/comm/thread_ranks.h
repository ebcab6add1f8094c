// Ranks that are threads of the test: a transport through shared memory, for what does not need processes.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/comm/communicator.h"

namespace subspect::tests {

/// What the ranks share: copies of the messages under way, in order, and a barrier.
class Mailboxes {
 public:
  explicit Mailboxes(int ranks) : ranks_(ranks) {}
  int ranks() const { return ranks_; }

  void put(int from, int to, const runtime::Tensor& tensor) {
    const auto* bytes = static_cast<const char*>(tensor.raw());
    const std::lock_guard lock(mutex_);
    boxes_[{from, to}].emplace_back(bytes, bytes + tensor.bytes());
    arrived_.notify_all();
  }

  void take(int from, int to, const runtime::Tensor& tensor) {
    std::unique_lock lock(mutex_);
    auto& box = boxes_[{from, to}];
    arrived_.wait(lock, [&] { return !box.empty() || broken_; });
    if (box.empty()) throw std::runtime_error("a rank failed");
    if (static_cast<int64_t>(box.front().size()) != tensor.bytes()) throw std::runtime_error("sizes differ");
    std::memcpy(tensor.raw(), box.front().data(), box.front().size());
    box.erase(box.begin());
  }

  void barrier() {
    std::unique_lock lock(mutex_);
    const int64_t round = waiting_++ / ranks_;
    arrived_.notify_all();
    arrived_.wait(lock, [&] { return waiting_ / ranks_ > round || broken_; });
  }

  void fail() {
    const std::lock_guard lock(mutex_);
    broken_ = true;
    arrived_.notify_all();
  }

  bool empty() const {
    for (const auto& [ends, box] : boxes_) {
      if (!box.empty()) return false;
    }
    return true;
  }

 private:
  int ranks_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::pair<int, int>, std::vector<std::vector<char>>> boxes_;
  int64_t waiting_ = 0;
  bool broken_ = false;
};

class ThreadRank final : public runtime::comm::Communicator {
 public:
  ThreadRank(Mailboxes& mail, int rank) : mail_(mail), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return mail_.ranks(); }

  void exchange(runtime::Stream& stream, std::span<const runtime::comm::Message> sends,
                std::span<const runtime::comm::Message> receives) override {
    static_cast<void>(stream);
    for (const auto& message : sends) mail_.put(rank_, message.peer, message.tensor);
    for (const auto& message : receives) mail_.take(message.peer, rank_, message.tensor);
  }
  void barrier() override { mail_.barrier(); }
  void give_up() noexcept override { mail_.fail(); }
  [[noreturn]] void abort(int exit_code) override { throw std::runtime_error("abort " + std::to_string(exit_code)); }

 private:
  Mailboxes& mail_;
  int rank_;
};

/// Runs `body` on as many ranks; the first exception of a rank is thrown again.
inline void on_ranks(int ranks, const std::function<void(runtime::comm::Communicator&)>& body) {
  Mailboxes mail(ranks);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        ThreadRank me(mail, rank);
        body(me);
      } catch (...) {
        errors[static_cast<size_t>(rank)] = std::current_exception();
        mail.fail();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  EXPECT_TRUE(mail.empty());
}

}  // namespace subspect::tests
