// Optimizers over lists of parameters, with state that can be saved and restored by name.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/parameter.h"

namespace subspect::runtime::optim {

using NamedTensor = std::pair<std::string, Tensor>;

struct AdamWConfig {
  double lr = 1e-5;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;  ///< decoupled; matrices only, as Transformers' Trainer (no norms, no biases)
};

struct SgdConfig {
  double lr = 1e-3;
  double momentum = 0.0;
  double weight_decay = 0.0;  ///< as in AdamWConfig
};

struct StepParams {
  double lr_factor = 1.0;       ///< of the schedule
  double gradient_scale = 1.0;  ///< multiplies every gradient: `clip_scale`
};

/// Updates parameters from their gradients. Where a parameter is bfloat16 and master weights are asked for, a float32
/// copy is updated and the parameter is that copy, rounded.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// The update; the caller zeroes the gradients afterwards (`zero_grads`).
  void step(const StepParams& params);

  int64_t steps() const { return steps_; }
  double lr() const { return lr_; }

  /// The most exact copy of a parameter's values there is: its float32 master weights, else its own.
  const Tensor& weights(const Parameter& parameter) const;

  /// Moments and master weights under names made of the parameters' own: "<name>.exp_avg". Views, not copies.
  std::vector<NamedTensor> state() const;

  /// Overwrites the state from tensors of the same names, shapes and types, and the number of steps done; throws Error
  /// naming what is missing or differs. `where` says in errors where the tensors come from.
  void load_state(std::span<const NamedTensor> tensors, int64_t steps, const std::string& where);

 protected:
  struct Slot {
    Parameter* parameter = nullptr;
    std::string name;                  // of the parameter's first part
    Tensor master;                     // float32, or undefined
    std::vector<NamedTensor> moments;  // float32, by the suffix of their name
  };

  Optimizer(Stream& stream, std::span<Parameter* const> parameters, double lr, bool master_weights,
            std::span<const std::string_view> moments);

  virtual void update(Stream& stream, Slot& slot, float lr, float gradient_scale, int64_t step) = 0;

 private:
  Stream* stream_;
  std::vector<Slot> slots_;
  double lr_;
  int64_t steps_ = 0;
};

/// AdamW (Loshchilov and Hutter, 2019) as PyTorch computes it.
std::unique_ptr<Optimizer> make_adamw(Stream& stream, std::span<Parameter* const> parameters, const AdamWConfig& config,
                                      bool master_weights);

/// Stochastic gradient descent, with momentum as PyTorch computes it.
std::unique_ptr<Optimizer> make_sgd(Stream& stream, std::span<Parameter* const> parameters, const SgdConfig& config,
                                    bool master_weights);

void zero_grads(Stream& stream, std::span<Parameter* const> parameters);

struct GradientNorm {
  double norm = 0;               ///< Euclidean, over all gradients together
  std::string first_non_finite;  ///< name of the first parameter whose gradient has a NaN or an infinity, or empty
  int64_t non_finite = 0;        ///< how many such elements in all
};

/// The global norm (not squared) of the gradients, summed in float64, and where they are not finite.
GradientNorm gradient_norm(Stream& stream, std::span<Parameter* const> parameters);

/// What clipping multiplies gradients by: min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 1 when
/// max_norm is 0 (no clipping).
double clip_scale(double norm, double max_norm);

}  // namespace subspect::runtime::optim
