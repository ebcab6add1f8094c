// Factors: one tensor's basis U and the coefficients C = U^T D of every fine-tuned update in it. Made once; every
// fraction, mode and choice of vectors is then sums of rows of C, and U_k C_k. On the right the same of the transposed
// matrices; on both sides the coefficients are U^T D W.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "experiments/subspace/update_split.h"
#include "experiments/subspace/weights.h"
#include "runtime/linalg/bases.h"
#include "runtime/tensor.h"

namespace subspect::experiments::subspace {

/// k = max(1, round(fraction * side)), for a fraction in (0, 1).
int64_t rank_of_fraction(double fraction, int64_t side);
/// True for a fraction in (0, 1): k vectors; any other means the one direction vec(V).
bool splits_by_rank(double fraction);

/// Which vectors a projection uses.
enum class Basis {
  top_k,     ///< the first left singular vectors of V
  random_k,  ///< left singular vectors of V, drawn without replacement
  random,    ///< random orthonormal vectors
};
std::string_view name(Basis basis);

/// On which sides of an update D the vectors stand: U on the left (of its rows' space), W on the right (of its
/// columns'). A vector (norm, bias) has no sides: it is the same for all of them.
enum class Sides {
  left,   ///< P = U U^T D
  right,  ///< P = D W W^T
  both,   ///< P = U U^T D W W^T
};
std::string_view name(Sides sides);

/// A basis and which of its random draws.
struct BasisChoice {
  Basis basis = Basis::top_k;
  int64_t draw = 0;
  uint64_t seed = 0;
  Sides sides = Sides::left;
};

/// The checkpoints of one projection.
struct UpdateSources {
  const WeightSource* base = nullptr;
  const WeightSource* aligned = nullptr;
  std::vector<const WeightSource*> finetuned;
};

struct FactorOptions {
  runtime::linalg::BasisOptions basis;  ///< rank is set for each tensor, from `leading_fraction`
  /// Only this share of the leading vectors of V is needed; 0: all of them.
  double leading_fraction = 0;
  /// For Basis::random: how many vectors of each tensor, as the largest fraction asked for.
  double largest_fraction = 0;
  bool keep = false;  ///< vectors and coefficients are needed to form weights; otherwise energies alone
};

/// What is known of one tensor in one family of bases (the alignment's vectors, or one random draw).
struct Factors {
  std::string tensor;
  Sides sides = Sides::left;
  int64_t rows = 0;  ///< of the tensor, whatever the sides
  int64_t cols = 0;
  bool is_matrix = false;  ///< 2-D: has vectors; otherwise only the direction vec(V)
  int64_t rank = 0;     ///< vectors there are: the numerical rank of V, or the random ones drawn; 0 or 1 for a vector
  std::string method;   ///< "gram", "exact", "randomized", "qr", "direction"
  double residual = 0;  ///< of the decomposition, or the deviation from orthonormality of random vectors
  std::vector<double> singular_values;  ///< of V, as many as were computed; empty for random vectors
  std::vector<SplitSums> sums;          ///< by fine-tuned model; nothing applied
  /// By fine-tuned model; values only when kept. On both sides the values are U^T D W [rank, rank], on the host.
  std::vector<runtime::linalg::Coefficients> coefficients;
  runtime::Tensor vectors;        ///< [rank, rows] when kept; on the right side [rank, cols]
  runtime::Tensor right_vectors;  ///< on both sides: [rank, cols]

  /// k that a fraction of this tensor means: capped at the rank; 1 for a direction, 0 where there is nothing.
  int64_t rank_at(double fraction) const;
  /// Which rows a choice uses, in order (its first k are the k vectors of the projection).
  std::vector<int64_t> order(const BasisChoice& choice) const;
  /// ||P||^2 for a fraction; on both sides needs kept factors.
  double parallel_energy(size_t finetuned, const std::vector<int64_t>& order, double fraction) const;
  /// parallel += the share of P from order[begin, end); needs kept factors, and on both sides begin = 0.
  void add_parallel(runtime::Stream& stream, size_t finetuned, const std::vector<int64_t>& order, int64_t begin,
                    int64_t end, const runtime::Tensor& parallel) const;
  /// Moves the kept tensors into a file and reads them by mmap from now on.
  void spill(runtime::Stream& stream, const std::filesystem::path& file);
  int64_t kept_bytes() const;

 private:
  bool spans_everything(double fraction) const;
};

/// The decomposition of V (on the right side: of its transpose) that one tensor of one family needs; nothing for a
/// vector, and for Basis::random.
std::optional<runtime::linalg::BasisRequest> basis_request(runtime::Stream& stream, const UpdateSources& sources,
                                                           const std::string& tensor, const BasisChoice& choice,
                                                           const FactorOptions& options);

/// The factors of one tensor of one family: `choice.basis` random draws vectors, the other two share V's decomposition.
/// The choices of a family have the same sides.
/// @param basis what basis_request asks for, or empty.
Factors make_factors(runtime::Stream& stream, const UpdateSources& sources, const std::string& tensor,
                     const BasisChoice& choice, const FactorOptions& options, const runtime::linalg::LeftBasis& basis);

/// Operations of decomposing a matrix of this shape and of as many products of its basis with others of the shape. None
/// for vectors.
double decomposition_flops(const runtime::Shape& shape, int64_t products);
/// Peak bytes that `make_factors` needs for a tensor of this shape.
int64_t factor_workspace_bytes(const runtime::Shape& shape, int64_t finetuned, Sides sides = Sides::left);
/// Bytes that kept factors of this shape hold.
int64_t factor_bytes(const runtime::Shape& shape, int64_t finetuned, Sides sides = Sides::left);

}  // namespace subspect::experiments::subspace
