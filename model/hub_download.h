// Models from a Hugging Face hub into its cache, in the layout that huggingface_hub reads and writes:
// models--OWNER--NAME/{blobs/ETAG, snapshots/COMMIT/FILE -> ../../blobs/ETAG, refs/REVISION}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace subspect::model {

/// How far a download is, in bytes over all files known to be needed; `total` grows once, when the shards are known.
struct DownloadProgress {
  std::string repository;  ///< "owner/name"
  std::string file;        ///< the one whose bytes came last; empty at the end
  int64_t done = 0;
  int64_t total = 0;
};

/// Called by one thread at a time, though not always by the same one.
using DownloadObserver = std::function<void(const DownloadProgress&)>;

struct HubDownload {
  std::string repository;         ///< "owner/name" or "name"
  std::string revision = "main";  ///< branch, tag or commit
  std::string endpoint = "https://huggingface.co";
  std::string token = {};  ///< empty: none; sent to the endpoint's own host only
  std::filesystem::path cache;
  DownloadObserver observer = {};
  int connections = 4;  ///< files under way at a time
  int attempts = 5;     ///< per request; one that brought bytes does not count
  double first_delay_seconds = 1;
  double stall_seconds = 30;
};

/// Downloads what a model needs (configurations, tokenizer, chat template, safetensors weights with the shards of their
/// index; at the top level of the repository) and returns its snapshot directory. Files that the cache has are kept, a
/// file that was cut off goes on where it stopped, and one whose size or hash (SHA-256, or git's SHA-1 for small files)
/// differs is an error. The snapshot appears after its last file. One process downloads a repository at a time; others
/// wait for it, and each blob is
/// filled under the lock file that huggingface_hub uses, so that both may share a cache.
///
/// Throws Error naming the repository for one that is not there, needs a licence or token, has no safetensors, or names
/// files outside itself; when the disk is too small, and when the network fails for good. Throws Interrupted.
std::filesystem::path download_model(const HubDownload& download);

}  // namespace subspect::model
