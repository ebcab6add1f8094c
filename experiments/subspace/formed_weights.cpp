// Stored tensors and their replacements.
#include "experiments/subspace/formed_weights.h"

#include <utility>

#include "runtime/linalg/parallel.h"
#include "runtime/linalg/products.h"

namespace subspect::experiments::subspace {

model::NamedTensors stored_weights(const WeightSource& source) {
  model::NamedTensors weights;
  for (const std::string& tensor : source.tensors()) weights[tensor] = source.stored(tensor);
  for (const std::string& tensor : source.other_tensors()) weights[tensor] = source.stored(tensor);
  return weights;
}

void replace_tensors(runtime::Stream& stream, const WeightSource& like, const std::vector<std::string>& tensors,
                     const std::function<runtime::Tensor(size_t)>& make, model::NamedTensors& weights) {
  std::vector<runtime::Tensor> made(tensors.size());
  runtime::linalg::for_each_matrix(stream, tensors.size(), [&](size_t i) {
    made[i] = runtime::linalg::on_host(stream, make(i).to(stream, like.info(tensors[i]).dtype));
  });
  for (size_t i = 0; i < tensors.size(); ++i) weights[tensors[i]] = std::move(made[i]);
}

}  // namespace subspect::experiments::subspace
