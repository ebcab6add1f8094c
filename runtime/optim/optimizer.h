// Optimizers over lists of parameters, with state that can be saved and restored by name.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/optimizer.h"
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

/// How an optimizer keeps weights and state.
struct StateFormat {
  /// Whether a float32 copy of a bfloat16 parameter is updated, of which the parameter is the rounded value.
  bool master_weights = false;
  /// Without master weights: whether bfloat16 parameters are rounded stochastically (kernels/stochastic_rounding.h),
  /// with new random bits in every step.
  bool stochastic_rounding = false;
  uint64_t seed = 0;  ///< of the random bits
  /// Whether moments are kept in 8 bits with a scale per 256 elements (Dettmers et al., "8-bit Optimizers via
  /// Block-wise Quantization", ICLR 2022).
  bool int8_moments = false;
  /// Tensors of fewer elements (norms, biases) keep float32 moments, as in the paper's implementation.
  int64_t smallest_int8_tensor = 4096;
};

struct StepParams {
  double lr_factor = 1.0;      ///< of the schedule
  double max_grad_norm = 0.0;  ///< gradients are scaled down to this norm, as torch.nn.utils.clip_grad_norm_; 0: never
};

struct GradientNorm {
  double norm = 0;               ///< Euclidean, over all gradients together, before clipping
  std::string first_non_finite;  ///< name of the first parameter whose gradient has a NaN or an infinity, or empty
  int64_t non_finite = 0;        ///< how many such elements in all
};

/// Updates parameters from their gradients: all of them by one launch on a GPU.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// Measures the gradients, clips them, and updates the parameters. Where a gradient is not finite nothing is updated
  /// and the step does not count. All is queued before the norm is read, which waits for the device, once. The caller
  /// zeroes the gradients afterwards (`zero_grads`).
  GradientNorm step(const StepParams& params);

  int64_t steps() const { return steps_; }
  double lr() const { return lr_; }

  /// The most exact copy of a parameter's values there is: its float32 master weights, else its own.
  const Tensor& weights(const Parameter& parameter) const;

  /// Moments and master weights under names made of the parameters' own: "<name>.exp_avg", and where that is in 8 bits
  /// "<name>.exp_avg.scale". Views, not copies.
  std::vector<NamedTensor> state() const;

  /// Overwrites the state from tensors of the same names, shapes and types, and the number of steps done; throws Error
  /// naming what is missing or differs. `where` says in errors where the tensors come from.
  void load_state(std::span<const NamedTensor> tensors, int64_t steps, const std::string& where);

 protected:
  Optimizer(Stream& stream, std::span<Parameter* const> parameters, double lr, double weight_decay,
            const StateFormat& format, std::span<const std::string_view> moments);

  /// Queues the rule's update of all tensors.
  virtual void update(Stream& stream, const kernels::UpdateParams& params) = 0;

 private:
  // What is kept of one parameter and one moment.
  struct KeptMoment {
    std::string name;  // "exp_avg"
    Tensor values;     // float32, or uint8 codes
    Tensor scales;     // of codes, else undefined
  };
  struct Slot {
    Parameter* parameter = nullptr;
    std::string name;  // of the parameter's first part
    Tensor master;     // float32, or undefined
    std::vector<KeptMoment> moments;
  };

  kernels::OptimizerTensor record_of(const Slot& slot) const;
  kernels::TensorList list();

  Stream* stream_;
  StateFormat format_;
  std::vector<Slot> slots_;
  double lr_;
  double weight_decay_;
  int64_t steps_ = 0;
  std::vector<kernels::OptimizerTensor> records_;  // what is in device_records_
  Tensor device_records_;
  Tensor device_chunks_;
};

/// AdamW (Loshchilov and Hutter, 2019) as PyTorch computes it.
std::unique_ptr<Optimizer> make_adamw(Stream& stream, std::span<Parameter* const> parameters, const AdamWConfig& config,
                                      const StateFormat& format = {});

/// Stochastic gradient descent, with momentum as PyTorch computes it.
std::unique_ptr<Optimizer> make_sgd(Stream& stream, std::span<Parameter* const> parameters, const SgdConfig& config,
                                    const StateFormat& format = {});

void zero_grads(Stream& stream, std::span<Parameter* const> parameters);

}  // namespace subspect::runtime::optim
