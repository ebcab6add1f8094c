// Where models come from: a directory, a Hugging Face hub id (from the local cache, or downloaded into it), or random
// weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "model/decoder.h"
#include "model/hub_download.h"

namespace subspect::model {

/// The Hugging Face cache, as huggingface_hub finds it: HF_HUB_CACHE, else HF_HOME/hub, else
/// XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
std::filesystem::path hub_cache();

/// Leave to download the hub ids that the cache lacks, from HF_ENDPOINT with the token of HF_TOKEN (else of the file
/// HF_TOKEN_PATH or HF_HOME/token; none where HF_HUB_DISABLE_IMPLICIT_TOKEN is set), unless HF_HUB_OFFLINE or
/// TRANSFORMERS_OFFLINE is set. It is passed to whoever may download; without it nothing uses the network, so that a
/// library call, a test and a dry run do not start a download of gigabytes.
struct Downloads {
  DownloadObserver observer = {};  ///< hears of the progress
};

/// The directory of a model: `text` itself when it is one, else the snapshot of the hub id `owner/name` (or `name`), at
/// `@revision` when given, else at main: the cached one, or a download where `downloads` is given. A leading ~ is the
/// home directory.
///
/// Throws Error for a path that does not exist, for a hub id that is not in the cache and may not be downloaded (saying
/// how to get it), for what `download_model` throws, and for a directory without config.json.
std::filesystem::path find_model(const std::string& text, const Downloads* downloads = nullptr);

/// What `model:` of a configuration says.
struct ModelSource {
  std::string name;                 ///< directory or hub id; empty: random weights
  std::filesystem::path config;     ///< random weights: a config.json
  std::filesystem::path tokenizer;  ///< random weights: the directory with tokenizer.json

  bool random() const { return name.empty(); }
  /// For logs and errors: the name, or "random weights of CONFIG".
  std::string describe() const;
};

/// The configuration of the model, without its weights.
DecoderConfig source_config(const ModelSource& source, const Downloads* downloads = nullptr);

/// The directory whose tokenizer goes with the model.
std::filesystem::path source_tokenizer_directory(const ModelSource& source, const Downloads* downloads = nullptr);

/// The model with its weights: loaded, or drawn from `seed`. @param dtype default: the checkpoint's, float16 becoming
/// float32.
Decoder open_model(runtime::Stream& stream, const ModelSource& source,
                   std::optional<runtime::DType> dtype = std::nullopt, uint64_t seed = 0,
                   const Downloads* downloads = nullptr);

}  // namespace subspect::model
