// Downloads from a small HTTP server that plays a Hugging Face hub and its content network.
#include "model/hub_download.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
#include "runtime/io/files.h"
#include "runtime/io/hash.h"
#include "tests/model/model_fixtures.h"
#include "tests/runtime/io/http_server.h"

namespace subspect::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* commit = "0123456789abcdef0123456789abcdef01234567";

using Request = subspect::testing::HttpTestRequest;
using Reply = subspect::testing::HttpTestReply;
using Server = subspect::testing::HttpTestServer;

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

  /// How many GETs of files there were.
  int64_t transfers() const {
    const auto all = server.requests();
    return std::count_if(all.begin(), all.end(), [](const Request& request) {
      return request.method == "GET" && request.path.find("/api/") == std::string::npos;
    });
  }

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
  static constexpr const char* names[] = {"HF_HOME",
                                          "HF_HUB_CACHE",
                                          "HUGGINGFACE_HUB_CACHE",
                                          "HF_HUB_OFFLINE",
                                          "HF_TOKEN",
                                          "HF_ENDPOINT",
                                          "XDG_CACHE_HOME",
                                          "no_proxy",
                                          "HF_TOKEN_PATH",
                                          "http_proxy",
                                          "HUGGING_FACE_HUB_TOKEN",
                                          "TRANSFORMERS_OFFLINE",
                                          "HF_HUB_DISABLE_IMPLICIT_TOKEN"};
  std::map<std::string, std::string> old_;
};

TEST_F(HubDownloadTest, FindModelDownloadsOnceAndThenNeedsNoNetwork) {
  Hub hub(tiny_model());
  hub.more_names = {"pytorch_model.bin", "README.md", "onnx/model.onnx", "original/params.json",
                    "consolidated.safetensors"};
  ::setenv("HF_ENDPOINT", (hub.server.url() + "/").c_str(), 1);
  EXPECT_THROW(find_model("Qwen/Tiny"), runtime::Error) << "without leave to download";
  EXPECT_TRUE(hub.server.requests().empty());
  std::vector<DownloadProgress> heard;
  const Downloads downloads{[&](const DownloadProgress& progress) { heard.push_back(progress); }};
  EXPECT_EQ(find_model("Qwen/Tiny", &downloads), snapshot());
  const size_t requests = hub.server.requests().size();
  EXPECT_EQ(find_model("Qwen/Tiny", &downloads), snapshot());
  EXPECT_EQ(hub.server.requests().size(), requests);
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
  const Downloads downloads;
  find_model("Qwen/Tiny", &downloads);
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
  EXPECT_EQ(hub.transfers(), 2);
}

TEST_F(HubDownloadTest, ShardsComeSeveralAtATime) {
  std::map<std::string, std::string> files = {{"config.json", "{}"}};
  json weight_map;
  for (int i = 0; i < 6; ++i) {
    const std::string shard = fmt::format("model-{}.safetensors", i);
    files[shard] = std::string(1000, static_cast<char>('a' + i));
    weight_map[fmt::format("w{}", i)] = shard;
  }
  files["model.safetensors.index.json"] = json{{"weight_map", weight_map}}.dump();
  std::atomic<int> waiting = 0;
  const Hub hub(files, [&](const Request& request) -> std::optional<Reply> {
    if (request.method != "GET" || request.path.find("/model-") == std::string::npos) return std::nullopt;
    // Holds the first three transfers until all three are here: only shards side by side get past this.
    ++waiting;
    for (int i = 0; i < 2000 && waiting < 3; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return std::nullopt;
  });
  HubDownload download = download_from(hub);
  download.connections = 3;
  std::mutex mutex;
  DownloadProgress last;
  download.observer = [&](const DownloadProgress& progress) {
    EXPECT_TRUE(mutex.try_lock()) << "the observer is called by one thread at a time";
    EXPECT_GE(progress.total, progress.done);
    last = progress;
    mutex.unlock();
  };
  EXPECT_EQ(download_model(download), snapshot());
  EXPECT_EQ(hub.server.most_at_a_time(), 3);
  EXPECT_EQ(last.done, last.total);
  for (const auto& [name, contents] : files) EXPECT_EQ(testing::read_text(snapshot() / name), contents);
}

TEST_F(HubDownloadTest, AShardThatFailsStopsTheOthers) {
  std::map<std::string, std::string> files = {{"config.json", "{}"}};
  files["model.safetensors.index.json"] = R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})";
  files["one.safetensors"] = std::string(1000, '1');
  files["two.safetensors"] = std::string(1000, '2');
  std::atomic<bool> refused = false;
  const Hub hub(files, [&](const Request& request) -> std::optional<Reply> {
    if (request.method != "GET") return std::nullopt;
    if (request.path.ends_with("two.safetensors")) return refused = true, Reply{403};
    if (!request.path.ends_with("one.safetensors")) return std::nullopt;
    for (int i = 0; i < 2000 && !refused; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return Reply{.body = files.at("one.safetensors"), .sent = 10};  // cut: there would be another attempt
  });
  HubDownload download = download_from(hub);
  download.attempts = 1000;
  EXPECT_THAT(error_of(download), AllOf(HasSubstr("two.safetensors"), HasSubstr("refuses access")));
}

TEST_F(HubDownloadTest, WaitsForWhoeverFillsTheSameBlob) {
  const Hub hub(small_files());
  const std::string etag = runtime::io::sha256("{}");
  auto lock = runtime::io::FileLock::try_file(cache() / ".locks" / "models--Qwen--Tiny" / (etag + ".lock"));
  ASSERT_TRUE(lock);
  std::thread other([&] {
    // What huggingface_hub does under its lock: by the time it is free, the blob is there. The download has asked for
    // the list and for the ETag by then, and waits, unless it is slower than this sleep: then it finds the blob.
    while (hub.server.requests().size() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    fs::create_directories(repository() / "blobs");
    testing::write_text(repository() / "blobs" / etag, "{}");
    lock.reset();
  });
  download_model(download_from(hub));
  other.join();
  EXPECT_EQ(hub.transfers(), 1) << "the weights alone";
}

TEST_F(HubDownloadTest, RevisionsMayHaveFolders) {
  const Hub hub(small_files());
  ::setenv("HF_ENDPOINT", hub.server.url().c_str(), 1);
  const Downloads downloads;
  EXPECT_EQ(find_model("Qwen/Tiny@refs/pr/3", &downloads), snapshot());
  EXPECT_EQ(hub.server.requests().at(0).path, "/api/models/Qwen/Tiny/revision/refs%2Fpr%2F3");
  EXPECT_EQ(testing::read_text(repository() / "refs" / "refs" / "pr" / "3"), commit);
  EXPECT_EQ(find_model("Qwen/Tiny@refs/pr/3"), snapshot());
  for (const char* bad : {"Qwen/Tiny@", "Qwen/Tiny@../x", "Qwen/Tiny@a//b", "Qwen/Tiny@/a", "Qwen/Tiny@a/"}) {
    EXPECT_THROW(find_model(bad, &downloads), runtime::Error) << bad;
  }
}

TEST_F(HubDownloadTest, TokensAndOfflineSwitchesAreThoseOfHuggingFace) {
  const Hub hub(small_files());
  ::setenv("HF_ENDPOINT", hub.server.url().c_str(), 1);
  testing::write_text(temporary_.path() / "token", "hf_of_file");
  const auto token_sent = [&] {
    fs::remove_all(cache());
    const Downloads downloads;
    find_model("Qwen/Tiny", &downloads);
    const std::string text = hub.server.requests().back().text;
    const size_t at = text.find("Bearer ");
    return at == std::string::npos ? "none" : text.substr(at + 7, text.find('\r', at) - at - 7);
  };
  EXPECT_EQ(token_sent(), "hf_of_file");
  ::setenv("HUGGING_FACE_HUB_TOKEN", "hf_older", 1);
  EXPECT_EQ(token_sent(), "hf_older");
  ::setenv("HF_TOKEN", " hf_newer\n", 1);
  EXPECT_EQ(token_sent(), "hf_newer");
  ::setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "True", 1);
  EXPECT_EQ(token_sent(), "none");
  fs::remove_all(cache());
  const size_t asked = hub.server.requests().size();
  const Downloads downloads;
  for (const char* name : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) {
    ::setenv(name, "Yes", 1);
    EXPECT_THROW(find_model("Qwen/Tiny", &downloads), runtime::Error) << name;
    ::unsetenv(name);
  }
  EXPECT_EQ(hub.server.requests().size(), asked);
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
  const Downloads downloads;
  EXPECT_EQ(find_model("Qwen/Tiny", &downloads), snapshot());
  EXPECT_TRUE(fs::exists(snapshot() / "model.safetensors"));
}

}  // namespace
}  // namespace subspect::model
