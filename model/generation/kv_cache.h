// KvCache: the keys and values of all running sequences, in pages that sequences take and give back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "runtime/ops/attention.h"

namespace subspect::model {

/// The pages of one sequence, in order of its positions.
using PageList = std::vector<int32_t>;

/// Every layer has the same pages, so that one page list serves all of them (Kwon et al., 2023: PagedAttention).
class KvCache {
 public:
  static constexpr int64_t page_size = 16;

  /// @param tokens that fit at least
  KvCache(runtime::Stream& stream, const DecoderConfig& config, runtime::DType dtype, int64_t tokens);

  /// Bytes that one token takes over all layers.
  static int64_t bytes_per_token(const DecoderConfig& config, runtime::DType dtype);

  static int64_t pages_for(int64_t tokens) { return (tokens + page_size - 1) / page_size; }
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  int64_t total_pages() const { return pages_; }

  /// Takes pages for `tokens` positions; throws Error when there are too few (callers ask `free_pages` first).
  PageList take(int64_t tokens);
  void give_back(const PageList& pages);

  /// Where position `position` of a sequence lies: page * page_size + offset.
  static int32_t slot(const PageList& pages, int64_t position);

  const runtime::ops::PagedCache& layer(int64_t index) const { return layers_[static_cast<size_t>(index)]; }

 private:
  int64_t pages_ = 0;
  std::vector<runtime::ops::PagedCache> layers_;
  std::vector<int32_t> free_;  // the last is taken next
};

}  // namespace subspect::model
