// One libcurl easy handle per call.
#include "experiments/judge/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>
#include <mutex>

#include "runtime/error.h"
#include "runtime/interrupt.h"

namespace subspect::experiments {

namespace {

constexpr size_t largest_body = size_t{16} << 20;

size_t take_body(char* data, size_t size, size_t count, void* body) {
  auto& text = *static_cast<std::string*>(body);
  if (text.size() + size * count > largest_body) return 0;
  text.append(data, size * count);
  return size * count;
}

/// Ends a transfer when the user asked to stop.
int check_interrupt(void* /*unused*/, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return runtime::interrupt_requested() ? 1 : 0;
}

void start_curl_once() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using Headers = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

void configure(CURL* curl, const HttpRequest& request, const curl_slist* headers, HttpReply& reply, char* failure) {
  constexpr long longest_connection_seconds = 30;
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, std::max(1L, static_cast<long>(request.timeout_seconds * 1000)));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, longest_connection_seconds);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, check_interrupt);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, failure);
}

}  // namespace

HttpReply http_post(const HttpRequest& request) {
  start_curl_once();
  const Easy curl(curl_easy_init(), &curl_easy_cleanup);
  if (!curl) throw runtime::Error("cannot start libcurl", request.url, "check the libcurl installation");
  Headers headers(nullptr, &curl_slist_free_all);
  for (const std::string& header : request.headers) {
    headers.reset(curl_slist_append(headers.release(), header.c_str()));
  }
  HttpReply reply;
  char failure[CURL_ERROR_SIZE] = {};
  configure(curl.get(), request, headers.get(), reply, failure);
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) {
    reply.failure = failure[0] != '\0' ? failure : curl_easy_strerror(code);
    return reply;
  }
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &reply.status);
  curl_off_t retry_after = 0;
  if (curl_easy_getinfo(curl.get(), CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK && retry_after > 0) {
    reply.retry_after_seconds = static_cast<double>(retry_after);
  }
  return reply;
}

}  // namespace subspect::experiments
