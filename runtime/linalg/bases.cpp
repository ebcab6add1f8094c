// Gram matrices in batches, and eigenproblems on the host beside the device.
#include "runtime/linalg/bases.h"

#include <algorithm>
#include <deque>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/linalg/backend.h"
#include "runtime/linalg/decomposition.h"
#include "runtime/linalg/parallel.h"
#include "runtime/memory.h"

namespace subspect::runtime::linalg {

namespace {

// Larger matrices fill a GPU alone. An estimate: no GPU has measured it.
constexpr int64_t largest_batched_side = 512;
constexpr int64_t batch_bytes = int64_t{256} << 20;  // of the Gram matrices in one call

/// Matrices of one side in one call: cuSOLVER counts their elements in 32 bits.
int64_t batch_of(int64_t side) {
  const int64_t elements = side * side;
  return std::max<int64_t>(
      1, std::min<int64_t>(std::numeric_limits<int32_t>::max(), batch_bytes / static_cast<int64_t>(sizeof(double))) /
             elements);
}

/// Bases on a device that has calls for batches.
class DeviceBases {
 public:
  DeviceBases(Stream& stream, const BatchedEigen& batched, std::function<void(size_t, LeftBasis)> take)
      : stream_(stream), batched_(batched), take_(std::move(take)), host_budget_(available_host_memory() / 2) {}

  void add(size_t index, const BasisRequest& request) {
    Item item{index, Decomposition(stream_, request.matrix, request.name, request.options)};
    const int64_t side = item.decomposition.gram_side();
    if (side > 0 && choose_eigensolver(stream_, request.options.eigensolver) == Eigensolver::host) {
      solve_on_host(std::move(item), side);
    } else if (side == 0 || side > largest_batched_side) {
      take_(index, item.decomposition.run());
    } else {
      std::vector<Item>& batch = batches_[side];
      batch.push_back(std::move(item));
      if (static_cast<int64_t>(batch.size()) == batch_of(side)) solve_batch(side, std::exchange(batch, {}));
    }
  }

  void finish() {
    for (auto& [side, batch] : batches_) {
      if (!batch.empty()) solve_batch(side, std::exchange(batch, {}));
    }
    while (!on_host_.empty()) finish_oldest();
  }

 private:
  struct Item {
    size_t index;
    Decomposition decomposition;
  };

  /// An eigenproblem that a thread of the host works on; it ends before the problem does.
  struct OnHost {
    Item item;
    int64_t side;
    std::unique_ptr<HostEigenproblem> problem;
    std::future<void> solved;
  };

  void solve_batch(int64_t side, std::vector<Item> batch) {
    const auto count = static_cast<int64_t>(batch.size());
    if (count == 1) {
      take_(batch[0].index, batch[0].decomposition.run());
      return;
    }
    const Tensor grams = Tensor::empty(stream_, {count, side * side}, DType::float64);
    for (int64_t i = 0; i < count; ++i) {
      batch[static_cast<size_t>(i)].decomposition.form_gram(grams.data<double>() + i * side * side);
    }
    std::vector<double> values(static_cast<size_t>(count * side));
    const std::vector<bool> converged = batched_.eigen_batch(stream_, grams.data<double>(), side, count, values.data());
    for (int64_t i = 0; i < count; ++i) {
      Item& item = batch[static_cast<size_t>(i)];
      const auto first = values.begin() + i * side;
      take_(item.index, item.decomposition.finish(converged[static_cast<size_t>(i)], {first, first + side},
                                                  grams.narrow(0, i, 1).view({side, side})));
    }
  }

  void solve_on_host(Item item, int64_t side) {
    const size_t threads = std::max(1U, std::thread::hardware_concurrency());
    const int64_t bytes = HostEigenproblem::host_bytes(side);
    while (!on_host_.empty() && (on_host_.size() >= threads || host_bytes_ + bytes > host_budget_)) finish_oldest();
    const Tensor gram = Tensor::empty(stream_, {side, side}, DType::float64);
    item.decomposition.form_gram(gram.data<double>());
    auto problem = std::make_unique<HostEigenproblem>(stream_, gram, side);
    std::future<void> solved = std::async(std::launch::async, [&solve = *problem] { solve.solve(); });
    on_host_.push_back({std::move(item), side, std::move(problem), std::move(solved)});
    host_bytes_ += bytes;
  }

  void finish_oldest() {
    OnHost oldest = std::move(on_host_.front());
    on_host_.pop_front();
    host_bytes_ -= HostEigenproblem::host_bytes(oldest.side);
    oldest.solved.get();
    const Tensor vectors = Tensor::empty(stream_, {oldest.side, oldest.side}, DType::float64);
    std::vector<double> values;
    const bool converged = oldest.problem->result(stream_, vectors, values);
    take_(oldest.item.index, oldest.item.decomposition.finish(converged, values, vectors));
  }

  Stream& stream_;
  const BatchedEigen& batched_;
  std::function<void(size_t, LeftBasis)> take_;
  std::map<int64_t, std::vector<Item>> batches_;  // by side
  std::deque<OnHost> on_host_;
  int64_t host_bytes_ = 0;
  int64_t host_budget_;
};

}  // namespace

void for_each_basis(Stream& stream, size_t count, const std::function<std::optional<BasisRequest>(size_t)>& load,
                    const std::function<void(size_t, LeftBasis)>& take) {
  const BatchedEigen* batched = backend_of(stream).batched_eigen();
  if (batched == nullptr) {
    for_each_matrix(stream, count, [&](size_t i) {
      const std::optional<BasisRequest> request = load(i);
      take(i, request ? LeftBasis::compute(stream, request->matrix, request->name, request->options) : LeftBasis());
    });
    return;
  }
  DeviceBases bases(stream, *batched, take);
  for (size_t i = 0; i < count; ++i) {
    const std::optional<BasisRequest> request = load(i);
    if (request) {
      bases.add(i, *request);
    } else {
      take(i, LeftBasis());
    }
  }
  bases.finish();
}

}  // namespace subspect::runtime::linalg
