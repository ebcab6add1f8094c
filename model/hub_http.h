// HTTP requests to a model hub by libcurl: redirects, bearer tokens, byte ranges.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace subspect::model {

struct HubRequest {
  std::string url;
  std::string token = {};     ///< bearer token of the URL's host; never sent to another host, port or scheme
  bool head = false;          ///< HEAD, and no redirect is followed
  int64_t offset = 0;         ///< GET: bytes from here on, when the server can (status 206)
  double stall_seconds = 30;  ///< no byte for so long ends the request
  /// Takes the body of a GET with status 200 or 206 in pieces; false ends the request. Exceptions reach the caller.
  std::function<bool(long status, std::string_view piece)> body = {};
};

struct HubReply {
  long status = 0;                             ///< 0: no answer came
  std::string failure;                         ///< libcurl's words when the transfer did not end as it should
  bool connected = true;                       ///< false: no connection was made (name, route, refusal)
  bool worth_retrying = false;                 ///< status 408, 429, 5xx, a timeout or a cut connection
  double retry_after_seconds = -1;             ///< the server's wish; -1: none
  std::string redirect;                        ///< HEAD: where a 3xx points, absolute
  std::map<std::string, std::string> headers;  ///< of the last response, names in lower case

  bool ok() const { return failure.empty() && (status == 200 || status == 206); }
  /// The header, or nothing.
  std::string header(const std::string& name) const;
};

/// Never throws for what the network does. Throws Interrupted when the user asks to stop.
HubReply hub_request(const HubRequest& request);

/// `text` with everything but unreserved characters percent-encoded (RFC 3986).
std::string escape_url(std::string_view text);

}  // namespace subspect::model
