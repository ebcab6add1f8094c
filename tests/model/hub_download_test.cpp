// Downloads from a small HTTP server that plays a Hugging Face hub and its content network.
#include "model/hub_download.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "model/checkpoint.h"
#include "model/hub.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "runtime/interrupt.h"
#include "runtime/io/hash.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* commit = "0123456789abcdef0123456789abcdef01234567";

struct Request {
  std::string method, path, text;
  bool authorized() const { return text.find("uthorization:") != std::string::npos; }
  /// First byte of the Range header; 0 without one.
  size_t offset() const {
    const size_t at = text.find("Range: bytes=");
    return at == std::string::npos ? 0 : std::stoul(text.substr(at + 13));
  }
};

struct Reply {
  int status = 200;
  std::string body = {};
  std::string headers = {};
  size_t sent = std::string::npos;  ///< the connection is cut after so many bytes of the body
};

/// An HTTP server on a free port of this machine: one connection per request, answers by a function.
class Server {
 public:
  using Handler = std::function<Reply(const Request&)>;

  explicit Server(Handler handler) : handler_(std::move(handler)), socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
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
  ~Server() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
    for (std::thread& thread : connections_) thread.join();
  }

  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  /// How many GETs of files there were.
  int64_t transfers() const {
    const auto all = requests();
    return std::count_if(all.begin(), all.end(), [](const Request& request) {
      return request.method == "GET" && request.path.find("/api/") == std::string::npos;
    });
  }

 private:
  void serve() {
    for (;;) {
      const int connection = ::accept(socket_, nullptr, nullptr);
      if (connection < 0) return;
      connections_.emplace_back([this, connection] { answer(connection); });
    }
  }

  static Request read_request(int connection) {
    Request request;
    char buffer[4096];
    while (request.text.find("\r\n\r\n") == std::string::npos) {
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
    const Request request = read_request(connection);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    const Reply reply = handler_(request);
    send_all(connection, fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n", reply.status,
                                     reply.body.size(), reply.headers));
    if (request.method != "HEAD") send_all(connection, std::string_view(reply.body).substr(0, reply.sent));
    ::close(connection);
  }

  Handler handler_;
  int socket_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::vector<std::thread> connections_;
  std::thread thread_;
};

/// The part of a file that a request wants.
Reply part_of(const std::string& contents, const Request& request) {
  const size_t offset = request.offset();
  if (offset == 0) return {200, contents};
  if (offset >= contents.size()) return {416};
  return {206, contents.substr(offset),
          fmt::format("Content-Range: bytes {}-{}/{}\r\n", offset, contents.size() - 1, contents.size())};
}

/// A hub with one repository, Qwen/Tiny. `special` answers first, where it has something to say.
class Hub {
 public:
  using Special = std::function<std::optional<Reply>(const Request&)>;

  explicit Hub(std::map<std::string, std::string> contents, Special special = {})
      : files(std::move(contents)),
        special_(std::move(special)),
        server([this](const Request& request) { return answer(request); }) {}

  std::map<std::string, std::string> files;
  std::vector<std::string> more_names;  ///< listed, but never wanted

 private:
  Reply answer(const Request& request) const {
    if (special_) {
      if (auto reply = special_(request)) return *reply;
    }
    if (request.path.starts_with("/api/models/Qwen/Tiny/revision/")) return {200, listing()};
    const std::string prefix = fmt::format("/Qwen/Tiny/resolve/{}/", commit);
    const auto found = request.path.starts_with(prefix) ? files.find(request.path.substr(prefix.size())) : files.end();
    if (found == files.end()) return {404};
    Reply reply = part_of(found->second, request);
    reply.headers += fmt::format("ETag: \"{}\"\r\n", runtime::io::sha256(found->second));
    return reply;
  }

  std::string listing() const {
    json siblings = json::array();
    for (const auto& file : files) siblings.push_back({{"rfilename", file.first}});
    for (const std::string& name : more_names) siblings.push_back({{"rfilename", name}});
    return json{{"sha", commit}, {"siblings", siblings}}.dump();
  }

  Special special_;

 public:
  Server server;
};

std::map<std::string, std::string> tiny_model() {
  const fs::path model = testing::fixture("qwen3");
  const fs::path tokenizer = model.parent_path().parent_path() / "tokenizers" / "qwen2";
  std::map<std::string, std::string> files;
  for (const char* name : {"config.json", "generation_config.json", "model.safetensors"}) {
    files[name] = testing::read_text(model / name);
  }
  files["tokenizer.json"] = testing::read_text(tokenizer / "tokenizer.json");
  return files;
}

/// Small files under the names of a model, for tests that do not load it.
std::map<std::string, std::string> small_files() {
  return {{"config.json", "{}"}, {"model.safetensors", std::string(100'000, 'w')}};
}

/// An empty cache, an environment that points to it, no interrupt left behind.
class HubDownloadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : names) {
      const char* old = std::getenv(name);
      if (old != nullptr) old_[name] = old;
      ::unsetenv(name);
    }
    ::setenv("HF_HOME", temporary_.path().c_str(), 1);
    ::setenv("no_proxy", "*", 1);
  }
  void TearDown() override {
    runtime::set_interrupt_requested(false);
    for (const char* name : names) ::unsetenv(name);
    for (const auto& [name, value] : old_) ::setenv(name.c_str(), value.c_str(), 1);
  }

  HubDownload download_from(const Hub& hub) const {
    HubDownload download;
    download.repository = "Qwen/Tiny";
    download.endpoint = hub.server.url();
    download.cache = cache();
    download.first_delay_seconds = 0.01;
    download.attempts = 3;
    return download;
  }

  static std::string error_of(const HubDownload& download) {
    try {
      download_model(download);
    } catch (const runtime::Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path cache() const { return temporary_.path() / "hub"; }
  fs::path repository() const { return cache() / "models--Qwen--Tiny"; }
  fs::path snapshot() const { return repository() / "snapshots" / commit; }

  testing::TemporaryDirectory temporary_;

 private:
  static constexpr const char* names[] = {"HF_HOME",       "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE",
                                          "HF_TOKEN",      "HF_ENDPOINT",  "XDG_CACHE_HOME",        "no_proxy",
                                          "HF_TOKEN_PATH", "http_proxy"};
  std::map<std::string, std::string> old_;
};

TEST_F(HubDownloadTest, FindModelDownloadsOnceAndThenNeedsNoNetwork) {
  Hub hub(tiny_model());
  hub.more_names = {"pytorch_model.bin", "README.md", "onnx/model.onnx", "original/params.json",
                    "consolidated.safetensors"};
  ::setenv("HF_ENDPOINT", (hub.server.url() + "/").c_str(), 1);
  EXPECT_THROW(find_model("Qwen/Tiny"), runtime::Error) << "without a DownloadScope";
  EXPECT_TRUE(hub.server.requests().empty());
  std::vector<DownloadProgress> heard;
  {
    const DownloadScope scope([&](const DownloadProgress& progress) { heard.push_back(progress); });
    EXPECT_THROW(find_model("Qwen/Tiny", Lookup::cache_only), runtime::Error);
    EXPECT_EQ(find_model("Qwen/Tiny"), snapshot());
    const size_t requests = hub.server.requests().size();
    EXPECT_EQ(find_model("Qwen/Tiny"), snapshot());
    EXPECT_EQ(hub.server.requests().size(), requests);
  }
  ASSERT_FALSE(heard.empty());
  EXPECT_EQ(heard.back().done, heard.back().total);
  EXPECT_GT(heard.back().total, 0);
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  EXPECT_EQ(find_model("Qwen/Tiny"), snapshot());
  EXPECT_EQ(load_decoder(testing::cpu(), find_model("Qwen/Tiny")).config().model_type, "qwen3");
  EXPECT_GT(Tokenizer::load(find_model("Qwen/Tiny")).vocab_size(), 0);
}

TEST_F(HubDownloadTest, CacheHasTheLayoutOfHuggingFace) {
  const Hub hub(small_files());
  EXPECT_EQ(download_model(download_from(hub)), snapshot());
  const std::string etag = runtime::io::sha256("{}");
  EXPECT_EQ(fs::read_symlink(snapshot() / "config.json"), "../../blobs/" + etag);
  EXPECT_EQ(testing::read_text(repository() / "blobs" / etag), "{}");
  EXPECT_EQ(testing::read_text(repository() / "refs" / "main"), commit);
  EXPECT_EQ(testing::read_text(snapshot() / "model.safetensors"), std::string(100'000, 'w'));
  EXPECT_EQ(std::distance(fs::directory_iterator(snapshot()), {}), 2);
}

TEST_F(HubDownloadTest, TakesTheShardsOfTheIndexOnly) {
  const std::string index = R"({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})";
  const Hub hub({{"config.json", "{}"},
                 {"model.safetensors.index.json", index},
                 {"model-1.safetensors", "one"},
                 {"model-2.safetensors", "two"},
                 {"consolidated.safetensors", "not this"}});
  download_model(download_from(hub));
  EXPECT_TRUE(fs::exists(snapshot() / "model-2.safetensors"));
  EXPECT_FALSE(fs::exists(snapshot() / "consolidated.safetensors"));
  const Hub broken({{"config.json", "{}"}, {"model.safetensors.index.json", R"({"weight_map": {"a": "../x"}})"}});
  EXPECT_THAT(error_of(download_from(broken)), HasSubstr("does not name the shards"));
  const Hub none(std::map<std::string, std::string>{{"config.json", "{}"}, {"pytorch_model.bin", "x"}});
  EXPECT_THAT(error_of(download_from(none)), HasSubstr("no safetensors weights"));
}

TEST_F(HubDownloadTest, ACutTransferGoesOnWhereItStopped) {
  std::atomic<int> cuts = 0;
  const auto files = small_files();
  const Hub hub(files, [&](const Request& request) -> std::optional<Reply> {
    if (request.method != "GET" || !request.path.ends_with("model.safetensors") || cuts++ > 0) return std::nullopt;
    return Reply{200, files.at("model.safetensors"), "", 40'000};
  });
  download_model(download_from(hub));
  EXPECT_EQ(hub.server.requests().back().offset(), 40'000U);
  EXPECT_EQ(testing::read_text(snapshot() / "model.safetensors"), files.at("model.safetensors"));
}

TEST_F(HubDownloadTest, AnotherProcessGoesOnWhereTheFirstStopped) {
  const auto files = small_files();
  const fs::path partial =
      repository() / "blobs" / (runtime::io::sha256(files.at("model.safetensors")) + ".incomplete");
  fs::create_directories(partial.parent_path());
  testing::write_text(partial, std::string(30'000, 'w'));
  {
    const Hub hub(files);
    download_model(download_from(hub));
    EXPECT_EQ(hub.server.requests().back().offset(), 30'000U);
  }
  fs::remove_all(repository());
  fs::create_directories(partial.parent_path());
  testing::write_text(partial, std::string(30'000, 'x'));
  const Hub ignores_ranges(files, [&](const Request& request) -> std::optional<Reply> {
    if (request.method != "GET" || !request.path.ends_with("model.safetensors")) return std::nullopt;
    return Reply{200, files.at("model.safetensors")};
  });
  download_model(download_from(ignores_ranges));
  EXPECT_EQ(testing::read_text(snapshot() / "model.safetensors"), files.at("model.safetensors"));
  EXPECT_FALSE(fs::exists(partial));
}

TEST_F(HubDownloadTest, AWrongHashLeavesNothing) {
  auto files = small_files();
  const Hub hub(files, [&](const Request& request) -> std::optional<Reply> {
    if (request.method != "GET" || !request.path.ends_with("model.safetensors")) return std::nullopt;
    return Reply{200, std::string(100'000, 'X')};
  });
  EXPECT_THAT(error_of(download_from(hub)), AllOf(HasSubstr("hash"), HasSubstr("Qwen/Tiny"), HasSubstr("safetensors")));
  EXPECT_FALSE(fs::exists(snapshot()));
  const std::string etag = runtime::io::sha256(files.at("model.safetensors"));
  EXPECT_FALSE(fs::exists(repository() / "blobs" / etag));
  EXPECT_FALSE(fs::exists(repository() / "blobs" / (etag + ".incomplete")));
}

TEST_F(HubDownloadTest, SmallFilesHaveGitHashes) {
  // printf '{}' | git hash-object --stdin
  std::string etag = "9e26dfeeb6e641a33dae4961196235bdb965b21b";
  const Hub hub(small_files(), [&](const Request& request) -> std::optional<Reply> {
    if (!request.path.ends_with("config.json")) return std::nullopt;
    return Reply{200, "{}", fmt::format("ETag: W/\"{}\"\r\n", etag)};
  });
  download_model(download_from(hub));
  EXPECT_TRUE(fs::exists(repository() / "blobs" / etag));
  etag.back() = 'c';
  EXPECT_THAT(error_of(download_from(hub)), HasSubstr("hash 9e26dfee"));
}

TEST_F(HubDownloadTest, TheTokenStaysWithItsHost) {
  const auto files = small_files();
  const std::string& weights = files.at("model.safetensors");
  const Server content([&](const Request& request) { return part_of(weights, request); });
  const Hub hub(files, [&](const Request& request) -> std::optional<Reply> {
    if (!request.path.ends_with("model.safetensors")) return std::nullopt;
    return Reply{302, "",
                 fmt::format("Location: {}/blob\r\nX-Linked-Size: {}\r\nX-Linked-Etag: \"{}\"\r\n", content.url(),
                             weights.size(), runtime::io::sha256(weights))};
  });
  ::setenv("HF_ENDPOINT", hub.server.url().c_str(), 1);
  testing::write_text(temporary_.path() / "token", "hf_secret\n");
  const DownloadScope scope;
  find_model("Qwen/Tiny");
  for (const Request& request : hub.server.requests()) {
    EXPECT_THAT(request.text, HasSubstr("Authorization: Bearer hf_secret\r\n")) << request.path;
  }
  ASSERT_EQ(content.requests().size(), 1U);
  EXPECT_FALSE(content.requests()[0].authorized());
  EXPECT_THAT(content.requests()[0].text, Not(HasSubstr("hf_secret")));
  EXPECT_EQ(testing::read_text(snapshot() / "model.safetensors"), weights);
}

TEST_F(HubDownloadTest, RefusalsSayWhatToDo) {
  std::atomic<int> status = 404;
  const Hub hub(small_files(), [&](const Request&) { return Reply{status}; });
  HubDownload download = download_from(hub);
  EXPECT_THAT(error_of(download), AllOf(HasSubstr("no such model"), HasSubstr("Qwen/Tiny"), HasSubstr("check the")));
  status = 401;
  EXPECT_THAT(error_of(download), AllOf(HasSubstr("without a token"), HasSubstr("set HF_TOKEN"),
                                        HasSubstr(hub.server.url() + "/Qwen/Tiny")));
  download.token = "hf_old";
  EXPECT_THAT(error_of(download), AllOf(HasSubstr("does not accept the token"), Not(HasSubstr("hf_old"))));
  status = 403;
  EXPECT_THAT(error_of(download), HasSubstr("accept its licence"));
  EXPECT_EQ(hub.server.requests().size(), 4U) << "refusals are not tried again";
  status = 500;
  EXPECT_THAT(error_of(download), HasSubstr("HTTP status 500"));
  EXPECT_EQ(hub.server.requests().size(), 7U);
  EXPECT_FALSE(fs::exists(repository()));
}

TEST_F(HubDownloadTest, NoServerIsAnError) {
  HubDownload download;
  {
    const Hub hub(small_files());
    download = download_from(hub);
  }
  EXPECT_THAT(error_of(download), AllOf(HasSubstr("cannot download"), HasSubstr("Qwen/Tiny"), HasSubstr("network")));
}

TEST_F(HubDownloadTest, BusyServersAreAskedAgain) {
  std::map<std::string, int> asked;
  std::mutex mutex;
  const Hub hub(small_files(), [&](const Request& request) -> std::optional<Reply> {
    const std::lock_guard lock(mutex);
    const int count = asked[request.method + request.path]++;
    if (count == 0) return Reply{503, "busy"};
    return count == 1 ? std::optional(Reply{429, "busy"}) : std::nullopt;
  });
  EXPECT_EQ(download_model(download_from(hub)), snapshot());
  EXPECT_EQ(testing::read_text(snapshot() / "config.json"), "{}");
}

TEST_F(HubDownloadTest, FilesOutsideTheRepositoryAreRefused) {
  for (const char* name : {"../x.json", "/etc/x.json", "a/../../x.json", "", "./x.json", ".."}) {
    Hub hub(small_files());
    hub.more_names = {name};
    EXPECT_THAT(error_of(download_from(hub)), HasSubstr("outside itself")) << name;
    EXPECT_EQ(hub.server.requests().size(), 1U);
  }
  const Hub hub(small_files(), [&](const Request& request) -> std::optional<Reply> {
    if (request.path.find("config") == std::string::npos) return std::nullopt;
    return Reply{200, "{}", "ETag: \"../../evil\"\r\n"};
  });
  EXPECT_THAT(error_of(download_from(hub)), HasSubstr("no usable ETag"));
}

TEST_F(HubDownloadTest, NonsenseListsAreRefused) {
  for (const char* text : {"", "<html>", "[]", "{}", R"({"sha": "../..", "siblings": []})", R"({"sha": 3})",
                           R"({"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": [3]})"}) {
    const Hub hub(small_files(), [&](const Request&) { return Reply{200, text}; });
    EXPECT_THAT(error_of(download_from(hub)), HasSubstr("not a list of model files")) << text;
  }
}

TEST_F(HubDownloadTest, ThreadsAtOnceTransferEachFileOnce) {
  const Hub hub(small_files());
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] { right += download_model(download_from(hub)) == snapshot() ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 3);
  EXPECT_EQ(hub.server.transfers(), 2);
}

TEST_F(HubDownloadTest, AnInterruptStopsAndKeepsWhatCame) {
  const Hub hub(small_files());
  HubDownload download = download_from(hub);
  download.observer = [](const DownloadProgress& progress) {
    if (progress.file == "model.safetensors" && progress.done > 0) runtime::set_interrupt_requested(true);
  };
  EXPECT_THROW(download_model(download), runtime::Interrupted);
  EXPECT_FALSE(fs::exists(snapshot()));
  runtime::set_interrupt_requested(false);
  download.observer = {};
  EXPECT_EQ(download_model(download), snapshot());
}

TEST_F(HubDownloadTest, ASnapshotWithoutWeightsIsCompleted) {
  const Hub hub(small_files());
  fs::create_directories(snapshot());
  fs::create_directories(repository() / "refs");
  testing::write_text(snapshot() / "config.json", "{}");
  testing::write_text(repository() / "refs" / "main", commit);
  ::setenv("HF_ENDPOINT", hub.server.url().c_str(), 1);
  const DownloadScope scope;
  EXPECT_EQ(find_model("Qwen/Tiny"), snapshot());
  EXPECT_TRUE(fs::exists(snapshot() / "model.safetensors"));
}

}  // namespace
}  // namespace subspect::model
