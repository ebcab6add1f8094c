// The caching allocator: classes, reuse, peaks, limits, threads.
#include "runtime/allocator.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <thread>

#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/random.h"
#include "runtime/storage.h"

namespace subspect::runtime {
namespace {

MemorySource limited(int64_t bytes) {
  MemorySource source = host_memory();
  source.limit_bytes = bytes;
  return source;
}

TEST(Allocator, ClassesHoldTheirRequestsWithLittleWaste) {
  size_t previous = 0;
  for (int64_t bytes = 1; bytes < 1 << 16; ++bytes) {
    const size_t index = size_class(bytes);
    ASSERT_GE(size_of_class(index), bytes);
    ASSERT_EQ(size_of_class(index) % 64, 0);
    ASSERT_TRUE(index == previous || index == previous + 1);
    if (bytes > 256) {
      ASSERT_LE(size_of_class(index), bytes + bytes / 4);
    }
    previous = index;
  }
  const int64_t large = (int64_t{1} << 40) + 1;
  EXPECT_GE(size_of_class(size_class(large)), large);
}

TEST(Allocator, LargeTensorsThatStayAreHardlyRoundedUp) {
  constexpr int64_t mebibyte = 1 << 20;
  const int64_t bytes = 4096 * 11008 * 4 + 1;
  for (const MemoryTag tag : {MemoryTag::weights, MemoryTag::gradients, MemoryTag::optimizer}) {
    EXPECT_EQ(block_size(bytes, tag), (bytes / (2 * mebibyte) + 1) * 2 * mebibyte);
    EXPECT_EQ(block_size(1000, tag), 1024);
  }
  EXPECT_EQ(block_size(bytes, MemoryTag::activations), size_of_class(size_class(bytes)));
}

TEST(Allocator, ReusesFreedBlocksOfTheSameClass) {
  CachingAllocator allocator({}, host_memory());
  void* first = allocator.allocate(1000, MemoryTag::other);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0U);
  allocator.deallocate(first, 1000, MemoryTag::other);
  EXPECT_EQ(allocator.allocate(1010, MemoryTag::other), first);
  allocator.deallocate(first, 1010, MemoryTag::other);
}

TEST(Allocator, CountsCurrentPeakAndReservedBytes) {
  CachingAllocator allocator({}, host_memory());
  void* a = allocator.allocate(1024, MemoryTag::other);
  void* b = allocator.allocate(4096, MemoryTag::other);
  allocator.deallocate(a, 1024, MemoryTag::other);
  EXPECT_EQ(allocator.stats().current_bytes, 4096);
  EXPECT_EQ(allocator.stats().peak_bytes, 5120);
  EXPECT_EQ(allocator.stats().reserved_bytes, 5120);
  allocator.reset_peak();
  EXPECT_EQ(allocator.stats().peak_bytes, 4096);
  allocator.release_cached();
  EXPECT_EQ(allocator.stats().reserved_bytes, 4096);
  allocator.deallocate(b, 4096, MemoryTag::other);
  EXPECT_EQ(allocator.stats().current_bytes, 0);
}

TEST(Allocator, GivesCachedBlocksBackBeforeItFails) {
  CachingAllocator allocator({}, limited(8192));
  allocator.deallocate(allocator.allocate(8192, MemoryTag::other), 8192, MemoryTag::other);
  void* small = allocator.allocate(4096, MemoryTag::other);  // fits only when the cached block is given back
  EXPECT_EQ(allocator.stats().reserved_bytes, 4096);
  allocator.deallocate(small, 4096, MemoryTag::other);
}

TEST(Allocator, ErrorSaysWhatIsHeld) {
  CachingAllocator allocator({}, limited(4 << 20));
  void* held = allocator.allocate(3 << 20, MemoryTag::other);
  try {
    allocator.allocate(2 << 20, MemoryTag::other);
    FAIL() << "more than the limit was given";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("1 tensors hold 3 MiB of 4 MiB"), std::string::npos) << error.what();
    EXPECT_EQ(error.exit_code(), 1);
  }
  allocator.deallocate(held, 3 << 20, MemoryTag::other);
}

TEST(Allocator, CountsByTagAndTellsWhatIsWasted) {
  const auto allocator = std::make_shared<CachingAllocator>(Device{}, host_memory());
  const auto tagged = [&](MemoryTag tag) { return allocator->stats().tagged_bytes[static_cast<size_t>(tag)]; };
  EXPECT_EQ(allocator->stats().fragmentation(), 0);
  {
    const MemoryScope weights(*allocator, MemoryTag::weights);
    const Storage a(allocator, 4096);
    {
      const MemoryScope cache(*allocator, MemoryTag::cache);
      const Storage b(allocator, 1024);
      EXPECT_EQ(tagged(MemoryTag::cache), 1024);
      EXPECT_EQ(tagged(MemoryTag::weights), 4096);
    }
    EXPECT_EQ(allocator->tag(), MemoryTag::weights);
    EXPECT_EQ(tagged(MemoryTag::cache), 0);
    EXPECT_EQ(allocator->stats().cached_bytes, 1024);
    EXPECT_DOUBLE_EQ(allocator->stats().fragmentation(), 0.2);
  }
  EXPECT_EQ(allocator->tag(), MemoryTag::other);
  EXPECT_EQ(tagged(MemoryTag::weights), 0);
  EXPECT_EQ(allocator->stats().cached_bytes, 5120);
  allocator->release_cached();
  EXPECT_EQ(allocator->stats().cached_bytes, 0);
}

TEST(Allocator, ErrorListsTheHoldersAndAdvisesOnTheLargest) {
  const auto allocator = std::make_shared<CachingAllocator>(Device{}, limited(8 << 20));
  const auto hold = [&](MemoryTag tag, int64_t bytes) {
    const MemoryScope scope(*allocator, tag);
    return std::make_unique<Storage>(allocator, bytes);
  };
  const auto error_of = [&](MemoryTag tag) -> std::string {
    try {
      hold(tag, 7 << 20);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const auto cache = hold(MemoryTag::cache, 2 << 20);
  EXPECT_NE(error_of(MemoryTag::weights).find("(weights)"), std::string::npos);
  EXPECT_NE(error_of(MemoryTag::weights).find("; cache 2 MiB"), std::string::npos);
  EXPECT_NE(error_of(MemoryTag::weights).find("max_new_tokens"), std::string::npos);
  const auto states = hold(MemoryTag::optimizer, 3 << 20);
  EXPECT_NE(error_of(MemoryTag::activations).find("optimizer 3 MiB, cache 2 MiB"), std::string::npos);
  EXPECT_NE(error_of(MemoryTag::activations).find("sgd"), std::string::npos);
}

TEST(Allocator, BlocksAreReleasedOnlyWhenTheirWorkIsDone) {
  int quiet = 0;
  int released = 0;
  MemorySource source = host_memory();
  source.quiesce = [&] { ++quiet; };
  source.release = [&](void* pointer) {
    EXPECT_GT(quiet, 0);
    ++released;
    std::free(pointer);
  };
  {
    CachingAllocator allocator({}, source);
    allocator.release_cached();
    EXPECT_EQ(quiet, 0);  // nothing to release
    allocator.deallocate(allocator.allocate(100, MemoryTag::other), 100, MemoryTag::other);
  }
  EXPECT_EQ(quiet, 1);
  EXPECT_EQ(released, 1);
}

TEST(Allocator, IsThreadSafe) {
  CachingAllocator allocator({}, host_memory());
  const auto work = [&](uint64_t seed) {
    Random random(seed);
    for (int i = 0; i < 2000; ++i) {
      const auto bytes = static_cast<int64_t>(random.below(5000)) + 1;
      auto* block = static_cast<unsigned char*>(allocator.allocate(bytes, MemoryTag::other));
      const auto mark = static_cast<unsigned char>(seed);
      std::memset(block, mark, static_cast<size_t>(bytes));
      ASSERT_EQ(block[bytes / 2], mark);
      allocator.deallocate(block, bytes, MemoryTag::other);
    }
  };
  std::thread a(work, 1);
  std::thread b(work, 2);
  std::thread c(work, 3);
  a.join();
  b.join();
  c.join();
  EXPECT_EQ(allocator.stats().current_bytes, 0);
}

TEST(AvailableMemory, IsPositive) {
  EXPECT_GT(available_memory(*Stream::open({}, 1)), int64_t{1} << 20);
}

}  // namespace
}  // namespace subspect::runtime
