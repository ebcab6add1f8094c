// How the processes of the stand-in for NCCL reach each other: a socket between every two ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emulated {

/// One tensor on its way, as both ends describe it.
struct Parcel {
  int peer = 0;
  int type = 0;         ///< ncclDataType_t
  uint64_t count = 0;   ///< elements
  uint64_t number = 0;  ///< of all that went this way between the two ranks, from 0
  std::byte* data = nullptr;
  size_t bytes = 0;
  size_t element = 0;
};

class Peers {
 public:
  /// Meets the other ranks under a name that all of them know; throws std::runtime_error when they do not come.
  Peers(const std::string& name, int rank, int ranks);
  ~Peers();
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  /// Sends and receives all of them; those of one peer meet in their order. Throws std::runtime_error where a peer
  /// sends something else than is expected, ends, or lets everyone wait.
  void exchange(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives);

 private:
  int rank_;
  std::vector<int> sockets_;  // by rank; -1 for this one
};

}  // namespace emulated
