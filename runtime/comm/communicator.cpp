// Collectives made of messages, with sums over a binary tree.
#include "runtime/comm/communicator.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "runtime/error.h"
#include "runtime/ops/accumulate.h"

namespace subspect::runtime::comm {

namespace {

constexpr int64_t even_group = 64;  // elements; parts of a GPU's tensor begin where its kernels are fast

}  // namespace

Tensor Split::part(int rank) const {
  const auto r = static_cast<size_t>(rank);
  return tensor.view({-1}).narrow(0, begins[r], begins[r + 1] - begins[r]);
}

int64_t slice_begin(int64_t count, int index, int slices, int64_t group) {
  const int64_t groups = (count + group - 1) / group;
  return std::min(count, groups * index / slices * group);
}

void add_in_tree(Stream& stream, std::vector<Tensor> parts, size_t kept) {
  for (size_t distance = 1; distance < parts.size(); distance *= 2) {
    for (size_t i = 0; i + distance < parts.size(); i += 2 * distance) {
      if (i + distance == kept) {
        std::swap(parts[i], parts[kept]);  // a + b and b + a have the same bits
        kept = i;
      }
      ops::add_into(stream, parts[i], parts[i + distance]);
    }
  }
}

Stream& Communicator::host() {
  if (!host_) host_ = Stream::open({}, 1);
  return *host_;
}

void Communicator::reduce_scatter(Stream& stream, std::span<const Split> splits) {
  if (alone()) return;
  const auto me = static_cast<size_t>(rank());
  std::vector<Message> sends, receives;
  std::vector<std::vector<Tensor>> parts;
  for (const Split& split : splits) {
    const Tensor mine = split.part(rank());
    std::vector<Tensor>& one = parts.emplace_back();
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank()) {
        one.push_back(mine);
        continue;
      }
      one.push_back(Tensor::empty(stream, mine.shape(), mine.dtype()));
      if (const Tensor theirs = split.part(peer); theirs.numel() > 0) sends.push_back({peer, theirs});
      if (mine.numel() > 0) receives.push_back({peer, one.back()});
    }
  }
  exchange(stream, sends, receives);
  for (std::vector<Tensor>& one : parts) {
    if (one[me].numel() > 0) add_in_tree(stream, std::move(one), me);
  }
}

void Communicator::all_gather(Stream& stream, std::span<const Split> splits) {
  if (alone()) return;
  std::vector<Message> sends, receives;
  for (const Split& split : splits) {
    const Tensor mine = split.part(rank());
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank()) continue;
      if (mine.numel() > 0) sends.push_back({peer, mine});
      if (const Tensor theirs = split.part(peer); theirs.numel() > 0) receives.push_back({peer, theirs});
    }
  }
  exchange(stream, sends, receives);
}

void Communicator::all_reduce(Stream& stream, const Tensor& tensor) {
  if (alone()) return;
  Split split{tensor, {}};
  for (int r = 0; r <= size(); ++r) split.begins.push_back(slice_begin(tensor.numel(), r, size(), even_group));
  reduce_scatter(stream, {&split, 1});
  all_gather(stream, {&split, 1});
}

void Communicator::broadcast(Stream& stream, std::span<const Tensor> tensors, int root) {
  if (alone()) return;
  std::vector<Message> sends, receives;
  for (const Tensor& tensor : tensors) {
    if (rank() != root) receives.push_back({root, tensor});
    for (int peer = 0; rank() == root && peer < size(); ++peer) {
      if (peer != root) sends.push_back({peer, tensor});
    }
  }
  exchange(stream, sends, receives);
}

std::vector<double> Communicator::gather(std::span<const double> mine) {
  std::vector<double> all(mine.size() * static_cast<size_t>(size()));
  const auto count = static_cast<int64_t>(mine.size());
  std::copy(mine.begin(), mine.end(), all.begin() + rank() * count);
  if (alone()) return all;
  const auto values = std::make_shared<std::vector<double>>(std::move(all));
  Split split{Tensor::wrap(values->data(), {count * size()}, DType::float64, {}, values), {}};
  for (int r = 0; r <= size(); ++r) split.begins.push_back(r * count);
  all_gather(host(), {&split, 1});
  return *values;
}

int64_t Communicator::agree(int64_t value) {
  const auto number = static_cast<double>(value);
  return static_cast<int64_t>(gather({&number, 1}).front());
}

bool Communicator::any(bool value) {
  if (alone()) return value;
  float count = value ? 1.0F : 0.0F;
  const Tensor tensor = Tensor::from_host<float>(host(), {&count, 1}, {1});
  all_reduce(host(), tensor);
  return *tensor.data<float>() > 0;
}

namespace {

class Alone final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void exchange(Stream& stream, std::span<const Message> sends, std::span<const Message> receives) override {
    static_cast<void>(stream);
    require(sends.empty() && receives.empty(), "exchange", "a process alone has no peers. Received {} messages.",
            sends.size() + receives.size());
  }
  void barrier() override {}
  void give_up() noexcept override {}
  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }
};

}  // namespace

std::unique_ptr<Communicator> alone() {
  return std::make_unique<Alone>();
}

}  // namespace subspect::runtime::comm
