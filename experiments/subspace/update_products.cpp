// Norms and angles of updates.
#include "experiments/subspace/update_products.h"

#include "runtime/linalg/parallel.h"
#include "runtime/linalg/products.h"
#include "runtime/memory.h"

namespace subspect::experiments::subspace {

std::vector<UpdateProducts> update_products(RunContext& context, const std::vector<WeightSource>& checkpoints,
                                            const std::vector<std::string>& tensors) {
  const size_t updates = checkpoints.size() - 1;
  std::vector<UpdateProducts> products(tensors.size(), UpdateProducts(updates, std::vector<double>(updates)));
  const auto measure = [&](size_t t) {
    std::vector<runtime::Tensor> all;
    for (size_t i = 0; i < updates; ++i) {
      all.push_back(difference(context.stream, checkpoints[i + 1], checkpoints[0], tensors[t]));
      for (size_t j = 0; j <= i; ++j) {
        const double product = runtime::linalg::inner_product(context.stream, all[i], all[j]);
        products[t][i][j] = products[t][j][i] = product;
      }
    }
  };
  const auto bytes = [&](size_t t) {
    return 4 * static_cast<int64_t>(updates + 2) * elements(checkpoints[0].info(tensors[t]).shape);
  };
  runtime::linalg::for_each_matrix_within(context.stream, tensors.size(), runtime::available_memory(context.stream) / 2,
                                          bytes, measure, [&] { context.stop_if_interrupted(); });
  return products;
}

UpdateProducts total(const std::vector<UpdateProducts>& by_tensor, size_t updates) {
  UpdateProducts sum(updates, std::vector<double>(updates));
  for (const UpdateProducts& products : by_tensor) {
    for (size_t i = 0; i < updates; ++i) {
      for (size_t j = 0; j < updates; ++j) sum[i][j] += products[i][j];
    }
  }
  return sum;
}

}  // namespace subspect::experiments::subspace
