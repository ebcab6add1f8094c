// HTTP POST by libcurl, one call at a time per thread.
#pragma once

#include <string>
#include <vector>

namespace subspect::experiments {

struct HttpRequest {
  std::string url;
  std::vector<std::string> headers;  ///< "Name: value"
  std::string body;
  double timeout_seconds = 120;
};

struct HttpReply {
  long status = 0;                  ///< 0: no answer came; `failure` says why
  std::string failure;              ///< libcurl's words
  std::string body;                 ///< at most 16 MB
  double retry_after_seconds = -1;  ///< the server's wish (seconds or a date); -1: none
};

/// Never throws for what the network does. Redirects are not followed: a POST with a key goes where it was sent.
HttpReply http_post(const HttpRequest& request);

}  // namespace subspect::experiments
