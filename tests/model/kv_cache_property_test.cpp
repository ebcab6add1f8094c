// Pages of the key-value cache under any sequence of takings and givings: none is held twice, none is lost.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

#include "model/generation/kv_cache.h"
#include "runtime/error.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

TEST(KvCacheProperty, NoPageIsHeldTwiceOrLost) {
  const DecoderConfig config = parse_decoder_config(testing::small_config(), "x");
  EXPECT_TRUE(rc::check([&] {
    KvCache cache(testing::cpu(), config, runtime::DType::float32, *rc::gen::inRange<int64_t>(1, 400).as("tokens"));
    const auto requests = *rc::gen::container<std::vector<int64_t>>(rc::gen::inRange<int64_t>(-8, 120)).as("requests");
    std::vector<PageList> running;
    std::set<int32_t> held;
    for (const int64_t request : requests) {
      if (request <= 0) {  // a sequence ends
        if (running.empty()) continue;
        const auto ended = running.begin() + (-request) % static_cast<int64_t>(running.size());
        for (const int32_t page : *ended) held.erase(page);
        cache.give_back(*ended);
        running.erase(ended);
      } else if (KvCache::pages_for(request) > cache.free_pages()) {
        RC_ASSERT_THROWS_AS(cache.take(request), runtime::Error);
      } else {
        running.push_back(cache.take(request));
        RC_ASSERT(static_cast<int64_t>(running.back().size()) == KvCache::pages_for(request));
        for (const int32_t page : running.back()) {
          RC_ASSERT(page >= 0 && page < cache.total_pages());
          RC_ASSERT(held.insert(page).second);
        }
        const int32_t last = KvCache::slot(running.back(), request - 1);
        RC_ASSERT(last / KvCache::page_size == running.back().back());
      }
      RC_ASSERT(cache.free_pages() + static_cast<int64_t>(held.size()) == cache.total_pages());
    }
  }));
}

}  // namespace
}  // namespace subspect::model
