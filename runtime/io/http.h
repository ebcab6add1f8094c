// HTTP requests by libcurl: redirects, bearer tokens, byte ranges, time limits; and the pauses between two attempts.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::runtime::io {

struct HttpRequest {
  enum class Method {
    get,   ///< follows redirects
    head,  ///< follows none: HttpReply::redirect says where one points
    post,  ///< follows none: a body with a token goes where it was sent
  };

  std::string url;
  Method method = Method::get;
  std::string token = {};  ///< bearer token of the URL's host; never sent to another host, port or scheme
  std::vector<std::string> headers = {};  ///< "Name: value"
  std::string body = {};                  ///< of a POST
  int64_t offset = 0;                     ///< GET: bytes from here on, when the server can (status 206)
  double stall_seconds = 30;              ///< no byte for so long ends the request
  double timeout_seconds = 0;             ///< the whole request; 0: as long as bytes come
  /// Takes the body of a GET with status 200 or 206 in pieces; false ends the request. Exceptions reach the caller.
  /// Without one, and for other answers, the body goes to HttpReply::body.
  std::function<bool(long status, std::string_view piece)> take = {};
};

struct HttpReply {
  static constexpr size_t largest_body = size_t{16} << 20;

  long status = 0;                             ///< 0: no answer came
  std::string failure;                         ///< libcurl's words when the transfer did not end as it should
  bool connected = true;                       ///< false: no connection was made (name, route, refusal)
  bool worth_retrying = false;                 ///< status 408, 429, 5xx, a time-out or a cut connection
  double retry_after_seconds = -1;             ///< the server's wish (seconds or a date); -1: none
  std::string redirect;                        ///< HEAD and POST: where a 3xx points, absolute
  std::string body;                            ///< at most `largest_body`; a longer one is a failure
  std::map<std::string, std::string> headers;  ///< of the last response, names in lower case

  bool ok() const { return failure.empty() && status >= 200 && status < 300; }
  /// The header, or nothing.
  std::string header(const std::string& name) const;
};

/// Never throws for what the network does. Throws Interrupted when the user asks to stop. Thread-safe.
HttpReply http_request(const HttpRequest& request);

/// `text` with everything but unreserved characters percent-encoded (RFC 3986).
std::string escape_url(std::string_view text);

/// Growing pauses between attempts: each is drawn from half to one and a half times a delay that doubles, so that
/// clients that failed together do not come back together.
class Backoff {
 public:
  explicit Backoff(double first_seconds, double longest_seconds = 60);

  /// Sleeps, at least as long as the server wishes (at most ten minutes of it; below 0: no wish), and doubles the
  /// delay. Throws Interrupted when the user asks to stop.
  void pause(double wish_seconds = -1);
  /// Begins anew, after progress.
  void reset() { delay_ = first_; }

 private:
  double first_;
  double longest_;
  double delay_;
};

/// Sleeps in short steps. Throws Interrupted when the user asks to stop.
void interruptible_sleep(double seconds);

}  // namespace subspect::runtime::io
