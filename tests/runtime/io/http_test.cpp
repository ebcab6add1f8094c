// HTTP requests against a local server: methods, redirects, tokens, limits, what is worth another attempt.
#include "runtime/io/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "runtime/error.h"
#include "runtime/interrupt.h"
#include "tests/runtime/io/http_server.h"

namespace subspect::runtime::io {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Request = subspect::testing::HttpTestRequest;
using Reply = subspect::testing::HttpTestReply;
using Server = subspect::testing::HttpTestServer;
using Method = HttpRequest::Method;

class HttpTest : public ::testing::Test {
 protected:
  void SetUp() override { ::setenv("no_proxy", "*", 1); }
  void TearDown() override {
    set_interrupt_requested(false);
    ::unsetenv("no_proxy");
  }
};

TEST_F(HttpTest, APostCarriesItsBodyAndHeaders) {
  const Server server([](const Request& request) { return Reply{201, request.body + "!", "X-Note: seen\r\n"}; });
  const HttpReply reply = http_request(
      {.url = server.url() + "/x", .method = Method::post, .headers = {"Content-Type: text/plain"}, .body = "hello"});
  EXPECT_TRUE(reply.ok());
  EXPECT_EQ(reply.status, 201);
  EXPECT_EQ(reply.body, "hello!");
  EXPECT_EQ(reply.header("x-note"), "seen");
  EXPECT_THAT(server.requests()[0].text, HasSubstr("POST /x HTTP/1.1"));
  EXPECT_THAT(server.requests()[0].text, HasSubstr("Content-Type: text/plain\r\n"));
}

TEST_F(HttpTest, OnlyAGetFollowsRedirectsAndTheTokenStaysBehind) {
  const Server other([](const Request&) { return Reply{200, "there"}; });
  const Server server([&](const Request&) { return Reply{307, "", "Location: " + other.url() + "/y\r\n"}; });
  EXPECT_EQ(http_request({.url = server.url(), .token = "secret"}).body, "there");
  EXPECT_FALSE(other.requests().at(0).authorized());
  for (const Method method : {Method::head, Method::post}) {
    const HttpReply reply = http_request({.url = server.url(), .method = method, .token = "secret", .body = "b"});
    EXPECT_EQ(reply.status, 307);
    EXPECT_EQ(reply.redirect, other.url() + "/y");
    EXPECT_FALSE(reply.ok());
  }
  EXPECT_EQ(other.requests().size(), 1U);
  for (const Request& request : server.requests()) EXPECT_TRUE(request.authorized()) << request.method;
}

TEST_F(HttpTest, TellsWhatIsWorthAnotherAttempt) {
  for (const auto& [status, worth] :
       {std::pair{400, false}, {401, false}, {404, false}, {408, true}, {429, true}, {500, true}, {503, true}}) {
    const Server server([status = status](const Request&) { return Reply{status, "", "Retry-After: 7\r\n"}; });
    const HttpReply reply = http_request({.url = server.url()});
    EXPECT_EQ(reply.worth_retrying, worth) << status;
    EXPECT_EQ(reply.retry_after_seconds, 7) << status;
  }
  const Server silent([](const Request&) { return Reply{.hangs_up = true}; });
  EXPECT_TRUE(http_request({.url = silent.url()}).worth_retrying);
  const Server cut([](const Request&) { return Reply{.body = "1234", .sent = 2}; });
  const HttpReply reply = http_request({.url = cut.url()});
  EXPECT_TRUE(reply.worth_retrying);
  EXPECT_FALSE(reply.ok());
  EXPECT_FALSE(http_request({.url = "ftp://127.0.0.1/x"}).worth_retrying);
}

TEST_F(HttpTest, ABodyWithoutEndIsAFailure) {
  const Server server([](const Request&) { return Reply{200, std::string(HttpReply::largest_body + 1, 'x')}; });
  const HttpReply reply = http_request({.url = server.url()});
  EXPECT_FALSE(reply.ok());
  EXPECT_FALSE(reply.worth_retrying);
}

TEST_F(HttpTest, TheTakerMayStopAndThrow) {
  const Server server([](const Request&) { return Reply{200, "body"}; });
  EXPECT_FALSE(http_request({.url = server.url(), .take = [](long, std::string_view) { return false; }}).ok());
  EXPECT_THROW(http_request({.url = server.url(),
                             .take = [](long, std::string_view) -> bool { throw Error("full", "disk", "wait"); }}),
               Error);
}

TEST_F(HttpTest, AnInterruptIsNoReply) {
  const Server server([](const Request&) {
    set_interrupt_requested(true);
    return Reply{};
  });
  EXPECT_THROW(http_request({.url = server.url()}), Interrupted);
  EXPECT_THROW(Backoff(60).pause(), Interrupted);
}

TEST(EscapeUrlTest, EscapesWhatIsNotUnreserved) {
  EXPECT_EQ(escape_url("aZ09-_.~"), "aZ09-_.~");
  EXPECT_EQ(escape_url("refs/pr 1\xc3\xa9"), "refs%2Fpr%201%C3%A9");
}

}  // namespace
}  // namespace subspect::runtime::io
