// Counts requests. Each lane queues its accesses and the basic blocks it runs through; when the lanes of a warp meet
// (at a barrier, a collective of all lanes, the end of the block) the queues are merged as a GPU's lanes would have
// run: those in the deepest call first, and among them those at the lowest address, which wait for none. Lanes at the
// same instruction make one request. The build keeps basic blocks in the order of the source for it.
#include "tests/simt/counters.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <unordered_map>
#include <utility>

#include "tests/simt/device_memory.h"
#include "tests/simt/internal.h"

namespace simt {

bool counting = false;

namespace {

constexpr size_t sector_bytes = 32;
constexpr size_t banks = 32;
constexpr size_t word_bytes = 4;

struct Event {
  const void* place;         ///< in the code
  const std::byte* address;  ///< null where a basic block begins
  uint32_t depth;            ///< of calls
  uint16_t bytes;
  Traffic traffic;
};

struct LaneQueue {
  std::vector<Event> events;
  size_t next = 0;
  uint32_t depth = 0;

  const Event* head() const { return next < events.size() ? &events[next] : nullptr; }
};

using WarpQueues = std::array<LaneQueue, warp_size>;

/// Sectors of device memory, each once.
class SectorSet {
 public:
  void insert(size_t sector) {
    if (words_.empty()) words_.resize(device_memory_bytes() / sector_bytes / 64);
    uint64_t& word = words_[sector / 64];
    if (word == 0) touched_.push_back(sector / 64);
    const uint64_t bit = uint64_t{1} << (sector % 64);
    count_ += (word & bit) == 0 ? 1 : 0;
    word |= bit;
  }
  bool contains(size_t sector) const { return !words_.empty() && (words_[sector / 64] >> (sector % 64) & 1U) != 0; }
  /// The bytes of the sectors; forgets them.
  int64_t take_bytes() {
    for (const size_t word : touched_) words_[word] = 0;
    touched_.clear();
    return std::exchange(count_, 0) * static_cast<int64_t>(sector_bytes);
  }

 private:
  std::vector<uint64_t> words_;
  std::vector<size_t> touched_;
  int64_t count_ = 0;
};

std::vector<WarpQueues> queues;  ///< of the running block
std::vector<LaunchCounts> finished;
LaunchCounts current;
std::unordered_map<const void*, SiteCounts> sites;
/// Sectors that the running block or launch touches.
struct Touched {
  SectorSet read;
  SectorSet written;

  int64_t take_bytes() { return read.take_bytes() + written.take_bytes(); }
};

Touched of_block;
Touched of_launch;
uint64_t blocks_entered = 0;  ///< basic blocks of the running launch

LaneQueue& own_queue() {
  return queues[static_cast<size_t>(block.current / warp_size)][static_cast<size_t>(block.current % warp_size)];
}

/// The lanes of one request; all accesses have the same width.
struct Lanes {
  std::array<const std::byte*, warp_size> address{};
  uint32_t mask = 0;
  size_t bytes = 0;

  bool has(size_t lane) const { return (mask >> lane & 1U) != 0; }
};

/// Distinct values among the first `count`, sorted to the front.
template <size_t N>
size_t make_unique(std::array<size_t, N>& values, size_t count) {
  std::sort(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count));
  return static_cast<size_t>(std::unique(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count)) -
                             values.begin());
}

size_t distinct_addresses(const Lanes& lanes) {
  std::array<size_t, warp_size> addresses{};
  size_t count = 0;
  for (size_t i = 0; i < warp_size; ++i) {
    if (lanes.has(i)) addresses[count++] = reinterpret_cast<size_t>(lanes.address[i]);
  }
  return make_unique(addresses, count);
}

void count_sectors(const Lanes& lanes, Traffic traffic, Requests& to) {
  std::array<size_t, warp_size> sectors{};
  size_t count = 0;
  for (size_t i = 0; i < warp_size; ++i) {
    if (lanes.has(i)) sectors[count++] = static_cast<size_t>(lanes.address[i] - device_memory()) / sector_bytes;
  }
  count = make_unique(sectors, count);
  to.sectors += static_cast<int64_t>(count);
  to.least_sectors += static_cast<int64_t>((distinct_addresses(lanes) * lanes.bytes + sector_bytes - 1) / sector_bytes);
  for (size_t i = 0; i < count; ++i) {
    // What a block reads after it wrote it comes from a cache.
    const bool from_memory = traffic != Traffic::device_write && !of_block.written.contains(sectors[i]);
    for (Touched* touched : {&of_block, &of_launch}) {
      if (from_memory) touched->read.insert(sectors[i]);
      if (traffic == Traffic::device_write || traffic == Traffic::device_atomic) touched->written.insert(sectors[i]);
    }
  }
}

/// Passes over the banks for the lanes [first, last): as many as the most different words that one bank holds.
int64_t passes(const Lanes& lanes, size_t first, size_t last) {
  std::array<size_t, warp_size * 4> words{};
  size_t count = 0;
  for (size_t i = first; i < last; ++i) {
    if (!lanes.has(i)) continue;
    const auto begin = reinterpret_cast<size_t>(lanes.address[i]) / word_bytes;
    const size_t end = (reinterpret_cast<size_t>(lanes.address[i]) + lanes.bytes - 1) / word_bytes;
    for (size_t word = begin; word <= end; ++word) words[count++] = word;
  }
  count = make_unique(words, count);
  std::array<int64_t, banks> held{};
  for (size_t i = 0; i < count; ++i) ++held[words[i] % banks];
  return *std::max_element(held.begin(), held.end());
}

/// 32 lanes with up to 4 bytes, 16 with 8, 8 with 16 are served at once if their words lie in different banks.
void count_wavefronts(const Lanes& lanes, Requests& to) {
  const size_t together = banks * word_bytes / std::max(lanes.bytes, word_bytes);
  for (size_t first = 0; first < warp_size; first += together) {
    const int64_t needed = passes(lanes, first, first + together);
    to.wavefronts += needed;
    to.least_wavefronts += needed > 0 ? 1 : 0;
  }
}

bool is_device(Traffic traffic) {
  return traffic <= Traffic::device_atomic;
}

void count_request(const void* place, Traffic traffic, const Lanes& lanes) {
  SiteCounts& site = sites[place];
  site.site = place;
  site.traffic = traffic;
  ++site.requests.requests;
  site.requests.lanes += __builtin_popcount(lanes.mask);
  if (is_device(traffic)) {
    count_sectors(lanes, traffic, site.requests);
  } else {
    count_wavefronts(lanes, site.requests);
  }
  if (traffic == Traffic::device_atomic || traffic == Traffic::shared_atomic) {
    site.requests.repeated_atomics += __builtin_popcount(lanes.mask) - static_cast<int64_t>(distinct_addresses(lanes));
  }
}

/// Whether `a` runs before `b`, which does not wait for it.
bool runs_first(const Event& a, const Event& b) {
  return a.depth != b.depth ? a.depth > b.depth : a.place < b.place;
}

/// The event that the warp comes to next; null at the end.
const Event* next_event(const WarpQueues& warp) {
  const Event* first = nullptr;
  for (const LaneQueue& lane : warp) {
    const Event* head = lane.head();
    if (head != nullptr && (first == nullptr || runs_first(*head, *first))) first = head;
  }
  return first;
}

void merge(WarpQueues& warp) {
  while (const Event* found = next_event(warp)) {
    const Event first = *found;
    Lanes lanes;
    lanes.bytes = first.bytes;
    for (size_t i = 0; i < warp_size; ++i) {
      const Event* head = warp[i].head();
      if (head == nullptr || head->place != first.place || head->depth != first.depth) continue;
      lanes.address[i] = head->address;
      lanes.mask |= 1U << i;
      ++warp[i].next;
    }
    if (first.address != nullptr) count_request(first.place, first.traffic, lanes);
  }
  for (LaneQueue& lane : warp) {
    lane.events.clear();
    lane.next = 0;
  }
}

Traffic traffic_of(bool device, Access access) {
  switch (access) {
    case Access::read:
      return device ? Traffic::device_read : Traffic::shared_read;
    case Access::write:
      return device ? Traffic::device_write : Traffic::shared_write;
    default:
      return device ? Traffic::device_atomic : Traffic::shared_atomic;
  }
}

}  // namespace

Requests& Requests::operator+=(const Requests& other) {
  requests += other.requests;
  lanes += other.lanes;
  sectors += other.sectors;
  least_sectors += other.least_sectors;
  wavefronts += other.wavefronts;
  least_wavefronts += other.least_wavefronts;
  repeated_atomics += other.repeated_atomics;
  return *this;
}

const char* name_of(Traffic traffic) {
  constexpr std::array names = {"device read", "device copy",  "device write", "device atomic",
                                "shared read", "shared write", "shared atomic"};
  return names[static_cast<size_t>(traffic)];
}

void start_counting() {
  counting = true;
  finished.clear();
}

std::vector<LaunchCounts> stop_counting() {
  counting = false;
  return std::exchange(finished, {});
}

void begin_launch_counts(const char* kernel, const LaunchShape& shape) {
  current = {};
  current.kernel = kernel;
  current.function = shape.function;
  current.blocks = shape.blocks;
  current.threads = shape.threads;
  sites.clear();
  of_block.take_bytes();
  of_launch.take_bytes();
  blocks_entered = 0;
}

void end_launch_counts(size_t shared_bytes) {
  if (blocks_entered == 0) throw Failure("simt: kernel " + current.kernel + " is not built for counting");
  current.shared_bytes = shared_bytes;
  for (const auto& [place, site] : sites) current.sites.push_back(site);
  std::sort(current.sites.begin(), current.sites.end(),
            [](const SiteCounts& a, const SiteCounts& b) { return a.site < b.site; });
  for (const SiteCounts& site : current.sites) current.total += site.requests;
  current.read_bytes = of_launch.read.take_bytes();
  current.written_bytes = of_launch.written.take_bytes();
  finished.push_back(std::move(current));
}

void begin_block_counts() {
  queues.assign(static_cast<size_t>((block.threads + warp_size - 1) / warp_size), WarpQueues());
}

void merge_warp(int warp) {
  merge(queues[static_cast<size_t>(warp)]);
}

void merge_block() {
  for (WarpQueues& warp : queues) merge(warp);
}

void end_block_counts() {
  merge_block();
  current.block_bytes += of_block.take_bytes();
}

void count_access(const void* address, size_t bytes, Access access, const void* site) {
  const bool device = in_device_memory(address);
  if (!device && !in_shared_memory(address)) return;
  LaneQueue& queue = own_queue();
  queue.events.push_back({site, static_cast<const std::byte*>(address), queue.depth, static_cast<uint16_t>(bytes),
                          traffic_of(device, access)});
}

void count_copy(const AsyncCopy& copy, const void* site) {
  LaneQueue& queue = own_queue();
  // Lanes that copy zeros join for the second half of the instruction.
  if (copy.from != nullptr) {
    queue.events.push_back({static_cast<const char*>(site) - 1, copy.from, queue.depth,
                            static_cast<uint16_t>(copy.bytes), Traffic::device_copy});
  }
  queue.events.push_back({site, copy.to, queue.depth, static_cast<uint16_t>(copy.bytes), Traffic::shared_write});
}

void forbid_split(const void* address, size_t bytes, const void* site) {
  if (!in_device_memory(address) && !in_shared_memory(address)) return;
  char place[32];
  std::snprintf(place, sizeof(place), "<%p>", site);
  fail("an access of " + std::to_string(bytes) + " bytes at " + place +
       " that nvcc would split: its type is no power of two up to 16 bytes, or is not aligned to its size");
}

void count_load_matrix(const void* const* rows, int matrices, const void* site) {
  ++current.ldmatrix;
  SiteCounts& counts = sites[site];
  counts.site = site;
  counts.traffic = Traffic::shared_read;
  ++counts.requests.requests;
  counts.requests.lanes += warp_size;
  for (int matrix = 0; matrix < matrices; ++matrix) {
    Lanes lanes;
    lanes.bytes = 16;
    for (int row = 0; row < 8; ++row) {
      lanes.address[static_cast<size_t>(row)] = static_cast<const std::byte*>(rows[8 * matrix + row]);
      lanes.mask |= 1U << row;
    }
    count_wavefronts(lanes, counts.requests);
  }
}

void count_collective(Collective collective) {
  switch (collective) {
    case Collective::mma:
      ++current.mma;
      break;
    case Collective::shuffle:
      ++current.shuffles;
      break;
    case Collective::barrier:
      ++current.barriers;
      break;
  }
}

void count_function() {
  if (counting && running) ++current.functions;
}

void enter_function() {
  if (counting && running) ++own_queue().depth;
}

void leave_function() {
  if (counting && running) --own_queue().depth;
}

}  // namespace simt

extern "C" {
/// Called at the beginning of every basic block of code built with -fsanitize-coverage=trace-pc.
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the compiler's name
void __sanitizer_cov_trace_pc();
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
void __sanitizer_cov_trace_pc() {
  if (!simt::counting || !simt::running) return;
  ++simt::blocks_entered;
  simt::LaneQueue& queue = simt::own_queue();
  queue.events.push_back({__builtin_return_address(0), nullptr, queue.depth, 0, simt::Traffic::device_read});
}
}
