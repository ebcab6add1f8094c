// Optimizers over lists of parameters, with state that can be saved and restored by name.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/optimizer.h"
#include "runtime/comm/communicator.h"
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
  /// Whether master weights and moments are in pinned host memory, and pass through two windows of the GPU's memory in
  /// each step (runtime/optim/offload.h). The numbers are the same. A GPU only.
  bool offload = false;
};

/// How ranks share an optimizer's state and work (ZeRO stage 1: Rajbhandari et al., "ZeRO: Memory Optimizations Toward
/// Training Trillion Parameter Models", SC 2020). Every parameter is cut into slices; a rank keeps the state of as many
/// successive ones as the others, updates them, and gets the rest of the new weights from the other ranks.
struct Sharding {
  comm::Communicator* ranks = nullptr;  ///< outlives the optimizer; nullptr: this process alone
  /// A multiple of the ranks. The norm of the gradients is summed slice by slice, so that its bits depend on this
  /// number and not on that of the ranks.
  int slices = 1;

  int rank_count() const { return ranks == nullptr ? 1 : ranks->size(); }
  int rank() const { return ranks == nullptr ? 0 : ranks->rank(); }
  int slices_per_rank() const { return slices / rank_count(); }
};

/// A tensor cut as the ranks share it. @param group elements that stay together
comm::Split split(const Tensor& tensor, const Sharding& sharding, int64_t group = kernels::moment_block);

/// A tensor of an optimizer's state, of which this rank has a part.
struct StateTensor {
  std::string name;
  Tensor part;                  ///< of `shape` where one rank has all, else flat
  Shape shape;                  ///< of the whole
  std::vector<int64_t> begins;  ///< as in comm::Split

  DType dtype() const { return part.dtype(); }
};

/// The whole tensor in host memory, on rank 0; undefined on the others. All ranks call it. One that a rank has alone is
/// returned as it is where it is in host memory.
Tensor gather_whole(Stream& stream, const StateTensor& state, const Sharding& sharding);

struct StepParams {
  double lr_factor = 1.0;      ///< of the schedule
  double max_grad_norm = 0.0;  ///< gradients are scaled down to this norm, as torch.nn.utils.clip_grad_norm_; 0: never
};

struct GradientNorm {
  double norm = 0;               ///< Euclidean, over all gradients together, before clipping
  std::string first_non_finite;  ///< name of the first parameter whose gradient has a NaN or an infinity, or empty
  int64_t non_finite = 0;        ///< how many such elements in all
};

class OffloadedState;

/// Updates parameters from their gradients: all of them by one launch on a GPU, or where the state is offloaded by one
/// for each window.
class Optimizer {
 public:
  virtual ~Optimizer();

  /// Measures the gradients, clips them, and updates the parameters. Where a gradient is not finite nothing is updated
  /// and the step does not count. All is queued before the norm is read, which waits for the device, once; where there
  /// are several slices it waits before the update. Of each gradient the elements of this rank's slices are read: the
  /// sum over the ranks (`Communicator::reduce_scatter` of `split`). The caller zeroes the gradients afterwards.
  GradientNorm step(const StepParams& params);

  int64_t steps() const { return steps_; }
  double lr() const { return lr_; }
  const Sharding& sharding() const { return sharding_; }

  /// The most exact copy of a parameter's values there is: its float32 master weights, of which this rank has a part,
  /// else its own.
  StateTensor weights(const Parameter& parameter) const;

  /// Moments and master weights under names made of the parameters' own: "<name>.exp_avg", and where that is in 8 bits
  /// "<name>.exp_avg.scale". Views, not copies; the same list on every rank.
  std::vector<StateTensor> state() const;

  /// Overwrites the state from whole tensors of the same names, shapes and types, and the number of steps done; throws
  /// Error naming what is missing or differs. `where` says in errors where the tensors come from.
  void load_state(std::span<const NamedTensor> tensors, int64_t steps, const std::string& where);

 protected:
  Optimizer(Stream& stream, std::span<Parameter* const> parameters, double lr, double weight_decay,
            const StateFormat& format, const Sharding& sharding, std::span<const std::string_view> moments);

  /// Queues the rule's update of all tensors.
  virtual void update(Stream& stream, const kernels::UpdateParams& params) = 0;

 private:
  // What is kept of one parameter and one moment: the elements of this rank.
  struct KeptMoment {
    std::string name;  // "exp_avg"
    Tensor values;     // float32, or uint8 codes
    Tensor scales;     // of codes, else undefined
  };
  struct Slot {
    Parameter* parameter = nullptr;
    std::string name;   // of the parameter's first part
    int64_t begin = 0;  // of this rank's elements
    Tensor master;      // float32, or undefined
    std::vector<KeptMoment> moments;
  };

  /// Where elements [first, first + count) of a kept tensor are when the kernels run.
  using Place = std::function<std::byte*(const Tensor& kept, int64_t first, int64_t count)>;

  Tensor zeros(Shape shape, DType dtype) const;
  Tensor kept_zeros(const Shape& whole, DType dtype, int64_t group) const;
  kernels::OptimizerTensor record_of(const Slot& slot, int64_t begin, int64_t end, const Place& place) const;
  std::pair<int64_t, int64_t> range_of(const Slot& slot, int slice) const;
  kernels::TensorList list();
  void plan_windows();
  int64_t kept_elements(const Slot& slot) const;
  static int64_t state_bytes(const Slot& slot, int64_t count);
  void update_all(const kernels::UpdateParams& params);
  void measure(const kernels::TensorList& tensors, kernels::GradientSummary* found);
  kernels::GradientSummary sum_of_slices(const kernels::GradientSummary* found) const;
  void gather_weights();

  Stream* stream_;
  StateFormat format_;
  Sharding sharding_;
  std::unique_ptr<OffloadedState> offloaded_;  // nullptr: the state is on the device
  std::vector<Slot> slots_;
  double lr_;
  double weight_decay_;
  int64_t steps_ = 0;
  std::vector<kernels::OptimizerTensor>
      records_;                        // what is in device_records_: all parameters of a slice, then the next
  std::vector<int64_t> slice_chunks_;  // [slices of this rank + 1]: where their chunks begin
  Tensor device_records_;
  Tensor device_chunks_;
};

/// AdamW (Loshchilov and Hutter, 2019) as PyTorch computes it.
std::unique_ptr<Optimizer> make_adamw(Stream& stream, std::span<Parameter* const> parameters, const AdamWConfig& config,
                                      const StateFormat& format = {}, const Sharding& sharding = {});

/// Stochastic gradient descent, with momentum as PyTorch computes it.
std::unique_ptr<Optimizer> make_sgd(Stream& stream, std::span<Parameter* const> parameters, const SgdConfig& config,
                                    const StateFormat& format = {}, const Sharding& sharding = {});

}  // namespace subspect::runtime::optim
