// Downloading a model, file by file: what to fetch, its ETag, its blob (resumed, checked), its link in the snapshot.
#include "model/hub_download.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "runtime/error.h"
#include "runtime/io/files.h"
#include "runtime/io/hash.h"
#include "runtime/io/http.h"
#include "runtime/parallel.h"

namespace subspect::model {

namespace fs = std::filesystem;
using nlohmann::json;
using runtime::Error;
using runtime::io::FileLock;
using runtime::io::HttpReply;
using runtime::io::HttpRequest;

namespace {

constexpr const char* single_weights = "model.safetensors";
constexpr const char* weights_index = "model.safetensors.index.json";
constexpr double longest_pause_seconds = 120;

/// What the hub says of one file.
struct RemoteFile {
  std::string path;
  std::string etag;
  int64_t size = -1;  ///< -1: not said
};

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// A name that stays inside the folder it is put in.
bool is_inside(const std::string& name) {
  const fs::path path(name);
  if (name.empty() || path.is_absolute() || name.find('\0') != std::string::npos) return false;
  return std::none_of(path.begin(), path.end(), [](const fs::path& part) { return part == ".." || part == "."; });
}

/// Everything but the weights that a model directory of ours holds.
bool is_description(const std::string& path) {
  if (path.find('/') != std::string::npos) return false;
  return path.ends_with(".json") || path.ends_with(".jinja") || path == "tokenizer.model";
}

/// The text between the quotes of an ETag, weak or not.
std::string unquoted(std::string etag) {
  if (etag.starts_with("W/")) etag.erase(0, 2);
  etag.erase(std::remove(etag.begin(), etag.end(), '"'), etag.end());
  return etag;
}

/// Git's name of a blob: SHA-1 of "blob SIZE", a zero byte and the contents.
std::string git_hash(const fs::path& file) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const std::string contents = runtime::io::read_file(file);
  const std::string header = fmt::format("blob {}", contents.size());
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (!digest || EVP_DigestInit_ex(digest.get(), EVP_sha1(), nullptr) != 1 ||
      EVP_DigestUpdate(digest.get(), header.c_str(), header.size() + 1) != 1 ||
      EVP_DigestUpdate(digest.get(), contents.data(), contents.size()) != 1 ||
      EVP_DigestFinal_ex(digest.get(), bytes, &length) != 1) {
    throw Error("SHA-1 is not available in OpenSSL", file.string(), "check the OpenSSL installation and its policy");
  }
  std::string hex;
  for (unsigned i = 0; i < length; ++i) hex += fmt::format("{:02x}", bytes[i]);
  return hex;
}

/// Waits until no other process or thread has the file.
std::unique_ptr<FileLock> wait_for_lock(const fs::path& file) {
  constexpr double seconds_between_tries = 0.2;
  for (;;) {
    if (auto lock = FileLock::try_file(file)) return lock;
    runtime::io::interruptible_sleep(seconds_between_tries);
  }
}

/// A blob that is not whole yet.
class PartialFile {
 public:
  explicit PartialFile(fs::path path) : path_(std::move(path)) { open(); }

  int64_t size() const { return size_; }
  void append(std::string_view bytes) {
    file_->append(bytes);
    size_ += static_cast<int64_t>(bytes.size());
  }
  void clear() {
    file_.reset();
    fs::remove(path_);
    open();
  }
  void sync() { file_->sync(); }

 private:
  void open() {
    file_.emplace(path_, runtime::io::AppendFile::Contents::bytes);
    size_ = static_cast<int64_t>(fs::file_size(path_));
  }

  fs::path path_;
  std::optional<runtime::io::AppendFile> file_;
  int64_t size_ = 0;
};

/// One download under way.
class Downloader {
 public:
  explicit Downloader(const HubDownload& download) : download_(download) {
    std::string folder = "models--" + download.repository;
    if (const size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
    repository_ = download.cache / folder;
    locks_ = download.cache / ".locks" / folder;
    lock_ = wait_for_lock(locks_ / ".lock");
  }

  fs::path run() {
    parse_listing(read_listing());
    std::vector<std::string> descriptions;
    std::copy_if(listing_.begin(), listing_.end(), std::back_inserter(descriptions), is_description);
    fetch(descriptions);
    fetch(weight_files());
    count("", 0);
    return publish();
  }

 private:
  std::string where() const { return fmt::format("{} at {}", download_.repository, download_.endpoint); }

  bool is_own_host(const std::string& url) const { return url.starts_with(download_.endpoint + "/"); }

  [[noreturn]] void fail(const HttpReply& reply, const std::string& what) const;
  HttpReply ask(HttpRequest request, bool patient, const std::function<void()>& before_retry = {});
  HttpReply ask_head(std::string url);
  std::string read_listing();
  void parse_listing(const std::string& text);
  std::vector<std::string> weight_files() const;
  RemoteFile look_up(const std::string& path);
  void fetch(const std::vector<std::string>& paths);
  void fetch_blob(const RemoteFile& file);
  HttpReply transfer_rest(const RemoteFile& file, PartialFile& partial);
  bool transfer(const RemoteFile& file, const fs::path& path);
  void check(const RemoteFile& file, const fs::path& partial) const;
  fs::path publish() const;

  std::string file_url(const std::string& path) const {
    std::string url = fmt::format("{}/{}/resolve/{}", download_.endpoint, download_.repository, commit_);
    for (const fs::path& part : fs::path(path)) url += "/" + runtime::io::escape_url(part.string());
    return url;
  }
  fs::path blob(const std::string& etag) const { return repository_ / "blobs" / etag; }
  fs::path partial_blob(const std::string& etag) const { return repository_ / "blobs" / (etag + ".incomplete"); }

  /// Counts bytes that came (below 0: that were thrown away) and tells the observer.
  void count(const std::string& file, int64_t bytes) {
    const std::lock_guard lock(mutex_);
    done_ += bytes;
    if (download_.observer) download_.observer({download_.repository, file, done_, total_});
  }

  const HubDownload& download_;
  fs::path repository_;
  fs::path locks_;
  std::unique_ptr<FileLock> lock_;  ///< of the repository, among processes of this program
  std::string commit_;
  std::vector<std::string> listing_;
  std::map<std::string, std::string> etags_;  ///< of each file that the snapshot will hold
  std::atomic<bool> failed_ = false;          ///< one file failed for good: the others stop
  std::mutex mutex_;                          ///< of what follows, and of the observer
  int64_t done_ = 0;
  int64_t total_ = 0;
};

void Downloader::fail(const HttpReply& reply, const std::string& what) const {
  const std::string page = fmt::format("{}/{}", download_.endpoint, download_.repository);
  const std::string place = fmt::format("{}, {}", where(), what);
  if (reply.status == 401) {
    throw Error(
        download_.token.empty() ? "the hub shows this model to nobody without a token, or does not have it"
                                : "the hub does not accept the token for this model, or does not have it",
        place,
        fmt::format("check the id; if the model is private or gated, accept its licence at {} and set HF_TOKEN", page));
  }
  if (reply.status == 403) {
    throw Error("the hub refuses access to this model", place,
                fmt::format("accept its licence at {}, and set HF_TOKEN to a token that may read it", page));
  }
  if (reply.status == 404) {
    throw Error(fmt::format("the hub has no such model, revision '{}' or file", download_.revision), place,
                fmt::format("check the path or id, and `hf download {}`", download_.repository));
  }
  throw Error("cannot download the model: " +
                  (reply.failure.empty() ? fmt::format("HTTP status {}", reply.status) : reply.failure),
              place,
              fmt::format("check the path or id and the network, then run the same command again (it goes on where it "
                          "stopped), or `hf download {}`",
                          download_.repository));
}

/// The answer to a request, tried again with growing pauses. @param patient also when no connection can be made.
HttpReply Downloader::ask(HttpRequest request, bool patient, const std::function<void()>& before_retry) {
  request.stall_seconds = download_.stall_seconds;
  if (is_own_host(request.url)) request.token = download_.token;
  runtime::io::Backoff backoff(download_.first_delay_seconds, longest_pause_seconds);
  for (int attempt = 1;; ++attempt) {
    HttpReply reply = runtime::io::http_request(request);
    const bool again = reply.worth_retrying && (patient || reply.connected) && attempt < download_.attempts;
    if (!again) return reply;
    backoff.pause(reply.retry_after_seconds);
    if (before_retry) before_retry();
  }
}

/// HEAD, following redirects until one tells the ETag: the hub answers for large files with the ETag and a redirect to
/// a content network that need not answer HEAD.
HttpReply Downloader::ask_head(std::string url) {
  constexpr int most_redirects = 10;
  for (int hop = 0;; ++hop) {
    HttpRequest request{.url = url};
    request.method = HttpRequest::Method::head;
    HttpReply reply = ask(std::move(request), true);
    const bool redirected = reply.status >= 300 && reply.status < 400 && !reply.redirect.empty();
    const bool told =
        !reply.header("x-linked-etag").empty() || (!reply.header("etag").empty() && !is_own_host(reply.redirect));
    if (!redirected || told || hop == most_redirects) return reply;
    url = reply.redirect;
  }
}

/// The text of the hub's description of the revision.
std::string Downloader::read_listing() {
  constexpr size_t largest_listing = size_t{64} << 20;
  std::string text;
  HttpRequest request{.url = fmt::format("{}/api/models/{}/revision/{}", download_.endpoint, download_.repository,
                                         runtime::io::escape_url(download_.revision))};
  request.take = [&](long, std::string_view piece) {
    text += piece;
    return text.size() <= largest_listing;
  };
  const HttpReply reply = ask(request, false, [&] { text.clear(); });
  if (!reply.ok()) fail(reply, "its list of files");
  return text;
}

/// Takes the commit and the names of its files from the description.
void Downloader::parse_listing(const std::string& text) {
  const json listing = json::parse(text, nullptr, false);
  const auto malformed = [&] {
    return Error("the hub's answer is not a list of model files", where(), "check HF_ENDPOINT and the proxy settings");
  };
  if (!listing.is_object() || !listing.contains("sha") || !listing["sha"].is_string()) throw malformed();
  commit_ = listing["sha"];
  if (!is_hex(commit_, 40) || !listing.contains("siblings") || !listing["siblings"].is_array()) throw malformed();
  for (const json& sibling : listing["siblings"]) {
    if (!sibling.is_object() || !sibling.contains("rfilename") || !sibling["rfilename"].is_string()) throw malformed();
    const std::string path = sibling["rfilename"];
    if (!is_inside(path)) {
      throw Error(fmt::format("the repository names a file outside itself: '{}'", path), where(),
                  "do not use this model; report it to the hub");
    }
    listing_.push_back(path);
  }
}

/// model.safetensors, else the shards of the index (which the snapshot has by now).
std::vector<std::string> Downloader::weight_files() const {
  const std::set<std::string> there(listing_.begin(), listing_.end());
  if (there.contains(single_weights)) return {single_weights};
  if (!there.contains(weights_index)) {
    throw Error("the model has no safetensors weights", where(),
                "choose a model with model.safetensors, or convert its weights");
  }
  const auto broken = [&] {
    return Error(fmt::format("{} does not name the shards of the weights", weights_index), where(),
                 "choose another revision of the model");
  };
  const json index = json::parse(runtime::io::read_file(blob(etags_.at(weights_index))), nullptr, false);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) throw broken();
  std::set<std::string> shards;
  for (const json& shard : index["weight_map"]) {
    if (!shard.is_string() || !there.contains(shard.get<std::string>())) throw broken();
    if (shard.get<std::string>().find('/') != std::string::npos) throw broken();
    shards.insert(shard);
  }
  return {shards.begin(), shards.end()};
}

RemoteFile Downloader::look_up(const std::string& path) {
  const HttpReply reply = ask_head(file_url(path));
  const bool redirect = reply.status >= 300 && reply.status < 400;
  if (!redirect && !reply.ok()) fail(reply, path);
  RemoteFile file{path, unquoted(reply.header("x-linked-etag")), -1};
  if (file.etag.empty()) file.etag = unquoted(reply.header("etag"));
  const bool usable = !file.etag.empty() && file.etag.size() <= 128 && file.etag.front() != '.' &&
                      std::all_of(file.etag.begin(), file.etag.end(),
                                  [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
  if (!usable) {
    throw Error("the server tells no usable ETag", fmt::format("{}, {}", where(), path),
                "check HF_ENDPOINT: the mirror must pass on the hub's headers");
  }
  std::string size = reply.header("x-linked-size");
  if (size.empty() && !redirect) size = reply.header("content-length");
  if (!size.empty() && size.size() <= 18 && size.find_first_not_of("0123456789") == std::string::npos) {
    file.size = std::stoll(size);
  }
  return file;
}

/// Brings the blobs of some files into the cache, several at a time, after a look at the room on the disk.
void Downloader::fetch(const std::vector<std::string>& paths) {
  std::vector<RemoteFile> files(paths.size());
  runtime::parallel_for(paths.size(), download_.connections, [&](size_t i) { files[i] = look_up(paths[i]); });
  std::map<std::string, RemoteFile> missing;  // by ETag: files with the same contents are one blob
  int64_t needed = 0;
  std::error_code ignored;
  for (const RemoteFile& file : files) {
    etags_[file.path] = file.etag;
    if (fs::exists(blob(file.etag), ignored) || !missing.emplace(file.etag, file).second) continue;
    const uintmax_t there = fs::file_size(partial_blob(file.etag), ignored);
    if (file.size > 0) {
      needed += std::max<int64_t>(0, file.size - (ignored ? 0 : static_cast<int64_t>(there)));
      total_ += file.size;
    }
  }
  fs::create_directories(repository_ / "blobs");
  runtime::io::require_free_space(repository_, needed);
  std::vector<RemoteFile> in_order;
  std::copy_if(files.begin(), files.end(), std::back_inserter(in_order), [&](const RemoteFile& file) {
    const auto found = missing.find(file.etag);
    return found != missing.end() && found->second.path == file.path;
  });
  runtime::parallel_for(in_order.size(), download_.connections, [&](size_t i) {
    try {
      fetch_blob(in_order[i]);
    } catch (...) {
      failed_ = true;
      throw;
    }
  });
}

/// Under the lock that huggingface_hub takes for the same blob, so that the two can share a cache.
void Downloader::fetch_blob(const RemoteFile& file) {
  const auto lock = wait_for_lock(locks_ / (file.etag + ".lock"));
  if (fs::exists(blob(file.etag))) return;  // another program was faster
  const fs::path partial = partial_blob(file.etag);
  if (!transfer(file, partial)) return;
  check(file, partial);
  fs::rename(partial, blob(file.etag));
  runtime::io::sync_directory(repository_ / "blobs");
}

/// One request for the rest of a file. Whatever came is in `partial` afterwards.
HttpReply Downloader::transfer_rest(const RemoteFile& file, PartialFile& partial) {
  const int64_t offset = partial.size();
  const auto start_over = [&] {
    count(file.path, -partial.size());
    partial.clear();
  };
  HttpRequest request{.url = file_url(file.path), .token = download_.token};
  request.offset = offset;
  request.stall_seconds = download_.stall_seconds;
  bool first = true;
  request.take = [&](long status, std::string_view piece) {
    if (std::exchange(first, false) && status == 200 && offset > 0) start_over();  // the server sends it all
    const auto bytes = static_cast<int64_t>(piece.size());
    if (failed_ || (file.size >= 0 && partial.size() + bytes > file.size)) return false;
    partial.append(piece);
    count(file.path, bytes);
    return true;
  };
  HttpReply reply = runtime::io::http_request(request);
  if (reply.status == 416) start_over();  // nothing there to go on with
  partial.sync();
  return reply;
}

/// Fills `path` from where it stopped; it stays when this fails, for the next try. False when another file failed.
bool Downloader::transfer(const RemoteFile& file, const fs::path& path) {
  PartialFile partial(path);
  if (file.size >= 0 && partial.size() > file.size) partial.clear();
  count(file.path, partial.size());
  runtime::io::Backoff backoff(download_.first_delay_seconds, longest_pause_seconds);
  for (int attempt = 1; partial.size() != file.size; ++attempt) {
    if (failed_) return false;
    const int64_t offset = partial.size();
    const HttpReply reply = transfer_rest(file, partial);
    if (file.size < 0 ? reply.ok() : partial.size() == file.size) break;
    if (failed_) return false;
    if (partial.size() > offset) {
      attempt = 0;
      backoff.reset();
    }
    const bool again = reply.worth_retrying || reply.ok() || reply.status == 416;
    if (!again || attempt >= download_.attempts) fail(reply, file.path);
    backoff.pause(reply.retry_after_seconds);
  }
  return true;
}

/// Removes what does not have the size and hash that the hub told.
void Downloader::check(const RemoteFile& file, const fs::path& partial) const {
  const std::string place = fmt::format("{}, {}", where(), file.path);
  std::string hash = file.etag;
  if (is_hex(file.etag, 64)) hash = runtime::io::sha256_file(partial);
  if (is_hex(file.etag, 40)) hash = git_hash(partial);
  if (hash == file.etag) return;
  fs::remove(partial);
  throw Error(fmt::format("the downloaded file has hash {}, the hub says {}", hash, file.etag), place,
              "run the same command again; if it fails again, look for a proxy that changes files");
}

/// Links the blobs into the snapshot, config.json last, because that makes it a model.
fs::path Downloader::publish() const {
  fs::path snapshot = repository_ / "snapshots" / commit_;
  fs::create_directories(snapshot);
  const auto link = [&](const std::string& path, const std::string& etag) {
    const fs::path temporary = snapshot / fmt::format(".{}.{}", path, ::getpid());
    fs::remove(temporary);
    fs::create_symlink(fs::path("..") / ".." / "blobs" / etag, temporary);
    fs::rename(temporary, snapshot / path);
  };
  const auto config = etags_.find("config.json");
  if (config == etags_.end()) {
    throw Error("the repository has no config.json", where(), "choose a model in the layout of Transformers");
  }
  for (const auto& [path, etag] : etags_) {
    if (path != config->first) link(path, etag);
  }
  link(config->first, config->second);
  runtime::io::sync_directory(snapshot);
  if (download_.revision != commit_) {
    runtime::io::write_file_atomically(repository_ / "refs" / download_.revision, commit_);
  }
  return snapshot;
}

}  // namespace

fs::path download_model(const HubDownload& download) {
  HubDownload cleaned = download;
  while (cleaned.endpoint.ends_with('/')) cleaned.endpoint.pop_back();
  return Downloader(cleaned).run();
}

}  // namespace subspect::model
