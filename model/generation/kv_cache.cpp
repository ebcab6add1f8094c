// Pages of keys and values.
#include "model/generation/kv_cache.h"

#include "runtime/error.h"

namespace subspect::model {

KvCache::KvCache(runtime::Stream& stream, const DecoderConfig& config, runtime::DType dtype, int64_t tokens)
    : pages_(pages_for(tokens)) {
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    layers_.push_back(
        runtime::ops::PagedCache::allocate(stream, pages_, page_size, config.kv_heads, config.head_dim, dtype));
  }
  for (int64_t page = pages_ - 1; page >= 0; --page) free_.push_back(static_cast<int32_t>(page));
}

int64_t KvCache::bytes_per_token(const DecoderConfig& config, runtime::DType dtype) {
  return 2 * config.layers * config.kv_size() * runtime::element_size(dtype);
}

PageList KvCache::take(int64_t tokens) {
  const int64_t count = pages_for(tokens);
  runtime::require(count <= free_pages(), "kv cache", "{} free pages are required. There are {}.", count, free_pages());
  PageList pages;
  for (int64_t i = 0; i < count; ++i) {
    pages.push_back(free_.back());
    free_.pop_back();
  }
  return pages;
}

void KvCache::give_back(const PageList& pages) {
  free_.insert(free_.end(), pages.rbegin(), pages.rend());
}

int32_t KvCache::slot(const PageList& pages, int64_t position) {
  return static_cast<int32_t>(pages[static_cast<size_t>(position / page_size)] * page_size + position % page_size);
}

}  // namespace subspect::model
