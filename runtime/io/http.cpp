// One libcurl easy handle per request. The token is libcurl's own bearer option, which it withholds from other hosts; a
// header of ours would follow redirects to a content network.
#include "runtime/io/http.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "runtime/error.h"
#include "runtime/interrupt.h"

namespace subspect::runtime::io {

namespace {

using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using HeaderList = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;
using Method = HttpRequest::Method;

/// What the callbacks of one transfer share.
struct Transfer {
  const HttpRequest& request;
  HttpReply& reply;
  CURL* curl;
  std::exception_ptr thrown = nullptr;
  bool refused = false;  ///< the body's taker said stop
};

[[noreturn]] void throw_interrupted(const std::string& what) {
  throw Interrupted("interrupted", what, "run the same command again to go on");
}

size_t take_body(char* data, size_t size, size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  const size_t bytes = size * count;
  long status = 0;
  curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &status);
  if (!transfer.request.take || (status != 200 && status != 206)) {
    if (transfer.reply.body.size() + bytes > HttpReply::largest_body) return 0;
    transfer.reply.body.append(data, bytes);
    return bytes;
  }
  try {
    transfer.refused = !transfer.request.take(status, {data, bytes});
  } catch (...) {
    transfer.thrown = std::current_exception();
  }
  return transfer.refused || transfer.thrown ? 0 : bytes;
}

size_t take_header(char* data, size_t size, size_t count, void* context) {
  HttpReply& reply = static_cast<Transfer*>(context)->reply;
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {  // the next response of a chain of redirects
    reply.headers.clear();
    reply.body.clear();
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size * count;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  std::string_view value = line.substr(colon + 1);
  const size_t first = value.find_first_not_of(" \t\r\n");
  value = first == std::string_view::npos ? std::string_view() : value.substr(first);
  reply.headers[name] = value.substr(0, value.find_last_not_of(" \t\r\n") + 1);
  return size * count;
}

int check_interrupt(void* /*unused*/, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return interrupt_requested() ? 1 : 0;
}

/// Where the request goes and what it carries.
void set_request(CURL* curl, const HttpRequest& request, const curl_slist* headers) {
  constexpr long most_redirects = 10;
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "subspect");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, request.url.starts_with("https:") ? "https" : "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, request.method == Method::get ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, most_redirects);
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.method == Method::head ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  if (request.method == Method::post) {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
  }
  if (!request.token.empty()) {
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, request.token.c_str());
  }
  if (request.offset > 0) curl_easy_setopt(curl, CURLOPT_RANGE, fmt::format("{}-", request.offset).c_str());
}

/// How long it may take, and who hears of what comes.
void set_transfer(Transfer& transfer, char* failure) {
  constexpr long connection_seconds = 30;
  constexpr long buffer_bytes = 512 << 10;
  CURL* curl = transfer.curl;
  const HttpRequest& request = transfer.request;
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, connection_seconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, std::max(1L, static_cast<long>(request.stall_seconds)));
  if (request.timeout_seconds > 0) {
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, std::max(1L, static_cast<long>(request.timeout_seconds * 1000)));
  }
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

void read_outcome(CURL* curl, CURLcode code, const char* failure, HttpReply& reply) {
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

std::string HttpReply::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

HttpReply http_request(const HttpRequest& request) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const Easy curl(curl_easy_init(), &curl_easy_cleanup);
  if (!curl) throw Error("cannot start libcurl", request.url, "check the libcurl installation");
  HeaderList headers(nullptr, &curl_slist_free_all);
  for (const std::string& header : request.headers) {
    headers.reset(curl_slist_append(headers.release(), header.c_str()));
  }
  HttpReply reply;
  Transfer transfer{request, reply, curl.get()};
  char failure[CURL_ERROR_SIZE] = {};
  set_request(curl.get(), request, headers.get());
  set_transfer(transfer, failure);
  const CURLcode code = curl_easy_perform(curl.get());
  if (transfer.thrown) std::rethrow_exception(transfer.thrown);
  if (interrupt_requested()) throw_interrupted(request.url);
  read_outcome(curl.get(), code, failure, reply);
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

Backoff::Backoff(double first_seconds, double longest_seconds)
    : first_(first_seconds), longest_(longest_seconds), delay_(first_seconds) {}

void Backoff::pause(double wish_seconds) {
  constexpr double longest_wish_seconds = 600;
  thread_local std::minstd_rand generator(std::random_device{}());
  const double jitter = std::uniform_real_distribution<double>(0.5, 1.5)(generator);
  interruptible_sleep(std::max(std::min(wish_seconds, longest_wish_seconds), std::min(delay_, longest_) * jitter));
  delay_ *= 2;
}

void interruptible_sleep(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (interrupt_requested()) throw_interrupted("waiting");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace subspect::runtime::io
