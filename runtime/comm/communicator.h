// Communicator: the ranks that work on one task, and what they send each other.
//
// A transport implements one thing, messages between pairs of ranks. Every sum over ranks is formed here, over a binary
// tree whose leaves are the ranks in order, so that its bits depend on the number of ranks alone: not on the transport,
// the network, or who arrives first. On one node each byte travels as often as in a ring.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/tensor.h"

namespace subspect::runtime::comm {

/// A contiguous tensor on its way to or from another rank.
struct Message {
  int peer = 0;
  Tensor tensor;
};

/// Where a rank stands among those of its machine.
struct Node {
  int rank = 0;
  int size = 1;
};

/// A contiguous tensor cut into one range of elements per rank.
struct Split {
  Tensor tensor;
  std::vector<int64_t> begins;  ///< [ranks + 1]: rank r's are [begins[r], begins[r + 1])

  /// The elements of one rank, sharing memory.
  Tensor part(int rank) const;
};

/// Tensors are on the device of the stream that is passed: sent by MPI where that is the CPU, by NCCL where it is a GPU
/// (in stream order then; nothing waits for the device). All ranks call the same members in the same order with the
/// same shapes and types.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  bool alone() const { return size() == 1; }
  bool is_first() const { return rank() == 0; }
  virtual Node node() const { return {}; }

  /// How long a message may take before it is an Error; 0: for ever.
  virtual void set_time_limit(double seconds) { static_cast<void>(seconds); }

  /// Sends and receives all messages; those between two ranks meet in the order of the lists.
  virtual void exchange(Stream& stream, std::span<const Message> sends, std::span<const Message> receives) = 0;

  /// Returns when every rank has called it, however long that takes, and sleeps meanwhile.
  virtual void barrier() = 0;

  /// What waits for other ranks, in whatever thread, throws from now on: for a rank that failed while others go on.
  virtual void give_up() noexcept = 0;

  /// Ends the processes of all ranks, this one included.
  [[noreturn]] virtual void abort(int exit_code) = 0;

  /// The part of this rank becomes the sum of that part over all ranks; the other parts keep their values. float32 or
  /// bfloat16.
  void reduce_scatter(Stream& stream, std::span<const Split> splits);
  /// Every part becomes what its rank has there.
  void all_gather(Stream& stream, std::span<const Split> splits);
  /// The tensor becomes its sum over all ranks.
  void all_reduce(Stream& stream, const Tensor& tensor);
  /// The tensor becomes what rank `root` has.
  void broadcast(Stream& stream, std::span<const Tensor> tensors, int root = 0);

  /// Numbers of the host: those of all ranks, in the order of the ranks.
  std::vector<double> gather(std::span<const double> mine);
  /// What rank 0 says.
  int64_t agree(int64_t value);
  /// Whether any rank says so.
  bool any(bool value);

 private:
  Stream& host();
  std::shared_ptr<Stream> host_;
};

/// The communicator of a process that works alone: nothing is sent, and nothing is done.
std::unique_ptr<Communicator> alone();

/// Sums tensors of equal shapes over a binary tree: neighbours, then neighbouring sums, an odd one joining later. The
/// sum replaces `parts[kept]`; the others are overwritten.
void add_in_tree(Stream& stream, std::vector<Tensor> parts, size_t kept);

/// Cuts `count` elements into slices of whole groups of `group` elements, as equal as that allows.
/// @returns where slice `index` of `slices` begins; the end for `index` == `slices`.
int64_t slice_begin(int64_t count, int index, int slices, int64_t group);

}  // namespace subspect::runtime::comm
