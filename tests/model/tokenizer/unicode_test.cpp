// UTF-8, well-formed and not.
#include "model/tokenizer/unicode.h"

#include <gtest/gtest.h>

namespace subspect::model::tokenizer {
namespace {

TEST(Unicode, FindsWhereTextStopsBeingUtf8) {
  for (const char* good :
       {"", "abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_FALSE(find_invalid_utf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xc3", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe2\x82", "\xed\xa0\x80",
                          "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "a\xff", "\xe2\x28\xa1"}) {
    EXPECT_TRUE(find_invalid_utf8(bad));
  }
}

}  // namespace
}  // namespace subspect::model::tokenizer
