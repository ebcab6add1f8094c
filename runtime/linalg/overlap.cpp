// Cross Gram matrices, their prefix sums, and principal angles.
#include "runtime/linalg/overlap.h"

#include <algorithm>

#include "runtime/error.h"
#include "runtime/linalg/backend.h"
#include "runtime/linalg/products.h"

namespace subspect::runtime::linalg {

CrossOverlap::CrossOverlap(Stream& stream, const Tensor& a, const Tensor& b) {
  require(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(1), "CrossOverlap",
          "two lists of vectors of one length are required. Received {} and {}", to_string(a.shape()),
          to_string(b.shape()));
  rank_a_ = a.size(0);
  rank_b_ = b.size(0);
  cross_ = Tensor::empty(stream, {rank_a_, rank_b_}, DType::float32);
  multiply(stream, Op::none, matrix_of<float>(a), Op::transpose, matrix_of<float>(b), matrix_of<float>(cross_));
  const std::vector<float> g = cross_.to_host<float>(stream);
  const int64_t stride = rank_b_ + 1;
  prefix_.assign(static_cast<size_t>((rank_a_ + 1) * stride), 0.0);
  for (int64_t i = 0; i < rank_a_; ++i) {
    const double* above = prefix_.data() + i * stride;
    double* here = prefix_.data() + (i + 1) * stride;
    double row = 0.0;
    for (int64_t j = 0; j < rank_b_; ++j) {
      const auto value = static_cast<double>(g[static_cast<size_t>(i * rank_b_ + j)]);
      row += value * value;
      here[j + 1] = above[j + 1] + row;
    }
  }
}

double CrossOverlap::shared_energy(int64_t k_a, int64_t k_b) const {
  require(0 <= k_a && k_a <= rank_a_ && 0 <= k_b && k_b <= rank_b_, "CrossOverlap",
          "ranks up to {} and {} are there. Received {} and {}", rank_a_, rank_b_, k_a, k_b);
  return prefix_[static_cast<size_t>(k_a * (rank_b_ + 1) + k_b)];
}

double CrossOverlap::mso(int64_t k_a, int64_t k_b) const {
  require(k_a > 0 && k_b > 0, "CrossOverlap", "positive ranks are required. Received {} and {}", k_a, k_b);
  return shared_energy(k_a, k_b) / static_cast<double>(std::min(k_a, k_b));
}

std::vector<double> CrossOverlap::principal_cosines(Stream& stream, int64_t k_a, int64_t k_b) const {
  static_cast<void>(shared_energy(k_a, k_b));  // checks the ranks
  std::vector<double> cosines(static_cast<size_t>(std::min(k_a, k_b)));
  if (cosines.empty()) return cosines;
  const Tensor block = Tensor::empty(stream, {k_a, k_b}, DType::float64);
  copy_rows(stream, FloatMatrix(cross_.data<float>(), k_a, k_b, rank_b_), matrix_of<double>(block));
  if (!backend_of(stream).svd(stream, matrix_of<double>(block), cosines.data(), nullptr)) {
    throw Error(fmt::format("the principal angles of {} and {} vectors did not converge", k_a, k_b), "svd",
                "check the vectors for damage");
  }
  for (double& cosine : cosines) cosine = std::clamp(cosine, 0.0, 1.0);
  return cosines;
}

double expected_random_mso(int64_t k_a, int64_t k_b, int64_t d) {
  return static_cast<double>(std::max(k_a, k_b)) / static_cast<double>(d);
}

}  // namespace subspect::runtime::linalg
