// Sockets in the abstract name space of Linux. Nothing blocks but poll, which has a limit.
#include "tests/simt/cuda/nccl_peers.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <thread>

namespace emulated {

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto patience = std::chrono::seconds(60);

/// What goes before the elements.
struct Header {
  int32_t type = 0;
  int32_t unused = 0;
  uint64_t count = 0;
  uint64_t number = 0;
};

sockaddr_un address(const std::string& name, int rank, socklen_t* length) {
  sockaddr_un result{};
  result.sun_family = AF_UNIX;
  const std::string path = name + "-" + std::to_string(rank);
  std::memcpy(result.sun_path + 1, path.data(), std::min(path.size(), sizeof(result.sun_path) - 1));
  *length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + path.size());
  return result;
}

void wait_for(int descriptor, short events, Clock::time_point until) {
  pollfd one{descriptor, events, 0};
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  if (left <= 0 || ::poll(&one, 1, static_cast<int>(left)) <= 0) throw std::runtime_error("a rank did not come");
}

int connect_to(const std::string& name, int rank, Clock::time_point until) {
  socklen_t length = 0;
  const sockaddr_un to = address(name, rank, &length);
  while (Clock::now() < until) {
    const int made = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(made, reinterpret_cast<const sockaddr*>(&to), length) == 0) return made;
    ::close(made);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  throw std::runtime_error("rank " + std::to_string(rank) + " did not come");
}

/// Bytes that move in pieces.
struct Flow {
  std::byte* at = nullptr;
  size_t left = 0;
};

std::string described(const Header& header, size_t element) {
  return std::to_string(header.count) + " elements of type " + std::to_string(header.type) + " (" +
         std::to_string(element) + " bytes each)";
}

/// One direction of one socket: headers and elements in turn.
class Lane {
 public:
  Lane(int socket, bool sends, const std::vector<Parcel>& parcels, int peer) : socket_(socket), sends_(sends) {
    for (const Parcel& parcel : parcels) {
      if (parcel.peer == peer) queue_.push_back(parcel);
    }
    next();
  }
  Lane(const Lane&) = delete;  // its header is pointed to
  Lane& operator=(const Lane&) = delete;

  bool done() const { return queue_.empty(); }
  pollfd wish() const { return {done() ? -1 : socket_, static_cast<short>(sends_ ? POLLOUT : POLLIN), 0}; }

  /// Moves what can be moved now.
  void work() {
    while (!done()) {
      const ssize_t moved = sends_ ? ::send(socket_, flow_.at, flow_.left, MSG_NOSIGNAL | MSG_DONTWAIT)
                                   : ::recv(socket_, flow_.at, flow_.left, MSG_DONTWAIT);
      if (moved < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (moved <= 0) throw std::runtime_error("rank " + std::to_string(queue_.front().peer) + " has gone");
      flow_.at += moved;
      flow_.left -= static_cast<size_t>(moved);
      if (flow_.left == 0) advance();
    }
  }

 private:
  void next() {
    in_header_ = true;
    if (done()) return;
    if (sends_) header_ = {queue_.front().type, 0, queue_.front().count, queue_.front().number};
    flow_ = {reinterpret_cast<std::byte*>(&header_), sizeof(header_)};
  }

  void advance() {
    const Parcel& parcel = queue_.front();
    if (in_header_) {
      if (!sends_) require_expected(parcel);
      in_header_ = false;
      flow_ = {parcel.data, parcel.bytes};
      if (flow_.left > 0) return;
    }
    queue_.pop_front();
    next();
  }

  void require_expected(const Parcel& parcel) const {
    if (header_.type == parcel.type && header_.count == parcel.count && header_.number == parcel.number) return;
    throw std::runtime_error("message " + std::to_string(parcel.number) + " from rank " + std::to_string(parcel.peer) +
                             " should be " + described({parcel.type, 0, parcel.count, parcel.number}, parcel.element) +
                             ", but is " + described(header_, parcel.element));
  }

  int socket_;
  bool sends_;
  std::deque<Parcel> queue_;
  Header header_;
  bool in_header_ = true;
  Flow flow_;
};

}  // namespace

Peers::Peers(const std::string& name, int rank, int ranks) : rank_(rank), sockets_(static_cast<size_t>(ranks), -1) {
  const auto until = Clock::now() + patience;
  socklen_t length = 0;
  const sockaddr_un mine = address(name, rank, &length);
  const int door = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::bind(door, reinterpret_cast<const sockaddr*>(&mine), length) != 0 || ::listen(door, ranks) != 0) {
    ::close(door);
    throw std::runtime_error("another process is rank " + std::to_string(rank));
  }
  for (int peer = 0; peer < rank; ++peer) {
    const int made = connect_to(name, peer, until);
    if (::send(made, &rank, sizeof(rank), MSG_NOSIGNAL) != sizeof(rank)) throw std::runtime_error("a rank has gone");
    sockets_[static_cast<size_t>(peer)] = made;
  }
  for (int expected = rank + 1; expected < ranks; ++expected) {
    wait_for(door, POLLIN, until);
    const int made = ::accept4(door, nullptr, nullptr, SOCK_CLOEXEC);
    int peer = -1;
    if (::recv(made, &peer, sizeof(peer), MSG_WAITALL) != sizeof(peer)) throw std::runtime_error("a rank has gone");
    sockets_.at(static_cast<size_t>(peer)) = made;
  }
  ::close(door);
}

Peers::~Peers() {
  for (const int socket : sockets_) {
    if (socket >= 0) ::close(socket);
  }
}

void Peers::exchange(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives) {
  std::deque<Lane> lanes;
  for (int peer = 0; peer < static_cast<int>(sockets_.size()); ++peer) {
    if (peer == rank_) continue;
    lanes.emplace_back(sockets_[static_cast<size_t>(peer)], true, sends, peer);
    lanes.emplace_back(sockets_[static_cast<size_t>(peer)], false, receives, peer);
  }
  const auto until = Clock::now() + patience;
  while (std::any_of(lanes.begin(), lanes.end(), [](const Lane& lane) { return !lane.done(); })) {
    std::vector<pollfd> wishes;
    for (const Lane& lane : lanes) wishes.push_back(lane.wish());
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) throw std::runtime_error("a rank does not answer: the ranks' calls do not match");
    ::poll(wishes.data(), wishes.size(), static_cast<int>(left));
    for (Lane& lane : lanes) lane.work();
  }
}

}  // namespace emulated
