// Work that repeats, on the CPU: it is called each time.
#include "runtime/replay.h"

#include <gtest/gtest.h>

namespace subspect::runtime {
namespace {

TEST(Replay, CallsItsWorkEachTimeOnTheCpu) {
  const auto stream = Stream::open({}, 1);
  const std::shared_ptr<Allocator> allocator = stream->allocator();
  int calls = 0;
  Replay replay(*stream, [&] {
    ++calls;
    EXPECT_EQ(stream->allocator(), allocator);
  });
  for (int i = 1; i <= 4; ++i) {
    replay.run();
    EXPECT_EQ(calls, i);
    EXPECT_FALSE(replay.recorded());
  }
}

}  // namespace
}  // namespace subspect::runtime
