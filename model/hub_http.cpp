// One libcurl easy handle per request. The token is libcurl's own bearer option, which it withholds from other hosts; a
// header of ours would follow redirects to a content network.
#include "model/hub_http.h"

#include <curl/curl.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <mutex>

#include "runtime/error.h"
#include "runtime/interrupt.h"

namespace subspect::model {

namespace {

using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

/// What the callbacks of one transfer share.
struct Transfer {
  const HubRequest& request;
  HubReply& reply;
  CURL* curl;
  std::exception_ptr thrown = nullptr;
  bool refused = false;  ///< the body's taker said stop
};

size_t take_body(char* data, size_t size, size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  const size_t bytes = size * count;
  long status = 0;
  curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &status);
  if ((status != 200 && status != 206) || !transfer.request.body) return bytes;
  try {
    transfer.refused = !transfer.request.body(status, {data, bytes});
  } catch (...) {
    transfer.thrown = std::current_exception();
  }
  return transfer.refused || transfer.thrown ? 0 : bytes;
}

size_t take_header(char* data, size_t size, size_t count, void* context) {
  auto& headers = static_cast<Transfer*>(context)->reply.headers;
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) headers.clear();  // the next response of a chain of redirects
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size * count;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  std::string_view value = line.substr(colon + 1);
  const size_t first = value.find_first_not_of(" \t\r\n");
  value = first == std::string_view::npos ? std::string_view() : value.substr(first);
  headers[name] = value.substr(0, value.find_last_not_of(" \t\r\n") + 1);
  return size * count;
}

int check_interrupt(void* /*unused*/, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return runtime::interrupt_requested() ? 1 : 0;
}

void configure(Transfer& transfer, char* failure) {
  constexpr long connection_seconds = 30;
  constexpr long most_redirects = 10;
  constexpr long buffer_bytes = 512 << 10;
  CURL* curl = transfer.curl;
  const HubRequest& request = transfer.request;
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "subspect");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, request.url.starts_with("https:") ? "https" : "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, request.head ? 0L : 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, most_redirects);
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
  if (!request.token.empty()) {
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, request.token.c_str());
  }
  if (request.offset > 0) curl_easy_setopt(curl, CURLOPT_RANGE, fmt::format("{}-", request.offset).c_str());
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, connection_seconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, std::max(1L, static_cast<long>(request.stall_seconds)));
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, buffer_bytes);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, check_interrupt);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, failure);
}

bool is_passing(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_SSL_CONNECT_ERROR:
      return true;
    default:
      return false;
  }
}

void read_outcome(CURL* curl, CURLcode code, const char* failure, HubReply& reply) {
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
  if (code != CURLE_OK) {
    reply.failure = failure[0] != '\0' ? failure : curl_easy_strerror(code);
    reply.connected =
        code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST && code != CURLE_COULDNT_RESOLVE_PROXY;
    reply.worth_retrying = is_passing(code);
    return;
  }
  reply.worth_retrying = reply.status == 408 || reply.status == 429 || reply.status >= 500;
  curl_off_t retry_after = 0;
  if (curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK && retry_after > 0) {
    reply.retry_after_seconds = static_cast<double>(retry_after);
  }
  const char* redirect = nullptr;
  if (curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &redirect) == CURLE_OK && redirect != nullptr) {
    reply.redirect = redirect;
  }
}

}  // namespace

std::string HubReply::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

HubReply hub_request(const HubRequest& request) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const Easy curl(curl_easy_init(), &curl_easy_cleanup);
  if (!curl) throw runtime::Error("cannot start libcurl", request.url, "check the libcurl installation");
  HubReply reply;
  Transfer transfer{request, reply, curl.get()};
  char failure[CURL_ERROR_SIZE] = {};
  configure(transfer, failure);
  const CURLcode code = curl_easy_perform(curl.get());
  if (transfer.thrown) std::rethrow_exception(transfer.thrown);
  if (runtime::interrupt_requested()) {
    throw runtime::Interrupted("interrupted", request.url, "run the same command again; the download goes on");
  }
  read_outcome(curl.get(), code, failure, reply);
  if (transfer.refused) reply.worth_retrying = false;
  return reply;
}

std::string escape_url(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    escaped += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return escaped;
}

}  // namespace subspect::model
