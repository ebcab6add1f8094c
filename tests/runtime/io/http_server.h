// A small HTTP server on a free port of this machine, for tests of what talks to servers: one connection per request,
// answers by a function, which may delay them, cut them off or lie.
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace subspect::testing {

struct HttpTestRequest {
  std::string method, path;
  std::string text;  ///< all of it: request line, headers, body
  std::string body;

  bool authorized() const { return text.find("uthorization:") != std::string::npos; }
  /// First byte of the Range header; 0 without one.
  size_t offset() const {
    constexpr std::string_view header = "Range: bytes=";
    const size_t at = text.find(header);
    return at == std::string::npos ? 0 : std::stoul(text.substr(at + header.size()));
  }
};

struct HttpTestReply {
  int status = 200;
  std::string body = {};
  std::string headers = {};          ///< each "Name: value\r\n"
  size_t sent = std::string::npos;   ///< the connection is cut after so many bytes of the body
  bool hangs_up = false;             ///< nothing is sent at all
  std::function<void()> after = {};  ///< called when the headers and what is sent of the body are out
};

class HttpTestServer {
 public:
  using Handler = std::function<HttpTestReply(const HttpTestRequest&)>;

  explicit HttpTestServer(Handler handler) : handler_(std::move(handler)), socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(socket_, 64) != 0 ||
        ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      throw std::runtime_error("no local server");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HttpTestServer() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
    for (std::thread& thread : connections_) thread.join();
  }
  HttpTestServer(const HttpTestServer&) = delete;
  HttpTestServer& operator=(const HttpTestServer&) = delete;

  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  std::vector<HttpTestRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  /// The most requests that were being answered at once.
  int most_at_a_time() const { return most_; }

 private:
  void serve() {
    for (;;) {
      const int connection = ::accept(socket_, nullptr, nullptr);
      if (connection < 0) return;
      connections_.emplace_back([this, connection] { answer(connection); });
    }
  }

  static HttpTestRequest read_request(int connection) {
    HttpTestRequest request;
    char buffer[4096];
    for (;;) {
      const size_t end = request.text.find("\r\n\r\n");
      if (end != std::string::npos) {
        constexpr std::string_view header = "Content-Length: ";
        const size_t at = request.text.find(header);
        const size_t length = at == std::string::npos ? 0 : std::stoul(request.text.substr(at + header.size()));
        request.body = request.text.substr(end + 4);
        if (request.body.size() >= length) break;
      }
      const ssize_t count = ::recv(connection, buffer, sizeof buffer, 0);
      if (count <= 0) break;
      request.text.append(buffer, static_cast<size_t>(count));
    }
    const size_t space = request.text.find(' ');
    request.method = request.text.substr(0, space);
    request.path = request.text.substr(space + 1, request.text.find(' ', space + 1) - space - 1);
    return request;
  }

  static void send_all(int connection, std::string_view text) {
    while (!text.empty()) {
      const ssize_t count = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      text.remove_prefix(static_cast<size_t>(count));
    }
  }

  void answer(int connection) {
    const HttpTestRequest request = read_request(connection);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      most_ = std::max<int>(most_, ++active_);
    }
    const HttpTestReply reply = handler_(request);
    --active_;
    if (!reply.hangs_up) {
      send_all(connection, fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n",
                                       reply.status, reply.body.size(), reply.headers));
      if (request.method != "HEAD") send_all(connection, std::string_view(reply.body).substr(0, reply.sent));
      if (reply.after) reply.after();
    }
    ::close(connection);
  }

  Handler handler_;
  int socket_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<HttpTestRequest> requests_;
  std::atomic<int> active_ = 0;
  std::atomic<int> most_ = 0;
  std::vector<std::thread> connections_;
  std::thread thread_;
};

}  // namespace subspect::testing
