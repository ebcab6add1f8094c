// Tape: the record of a forward pass that the backward pass walks in reverse.
//
// Ops take `Execution` (where to run, and the tape or nullptr) and return Variables. A parameter's gradient is not on
// the tape: backward functions add to `Parameter::grad`. Everything a node saved is freed once its backward has run.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/parameter.h"
#include "runtime/tensor.h"

namespace subspect::runtime {

/// Makes a value of the forward pass again, bit by bit, from what the tape keeps anyway.
using Remake = std::function<Tensor(Stream& stream)>;

/// A value of the forward pass. `id` is its gradient's place on the tape, -1 where no gradient is wanted.
struct Variable {
  Tensor value;
  int64_t id = -1;
  std::shared_ptr<const Remake> remake = nullptr;  ///< how the backward pass gets the value; nullptr: it is kept

  bool wants_grad() const { return id >= 0; }
};

/// A value that a backward function needs: kept, or made again when it is asked for.
class Saved {
 public:
  Saved() = default;  ///< nothing
  explicit Saved(const Variable& variable)
      : value_(variable.remake ? Tensor() : variable.value), remake_(variable.remake) {}

  Tensor get(Stream& stream) const { return remake_ ? (*remake_)(stream) : value_; }

 private:
  Tensor value_;
  std::shared_ptr<const Remake> remake_;
};

class Tape;

/// Where an op runs and whether it is recorded.
struct Execution {
  Stream& stream;
  Tape* tape = nullptr;  ///< nullptr: inference, nothing is saved
  /// Whether results that are cheap to make again (norms, gated activations) are not kept for the backward pass.
  bool remakes = false;
};

class Tape {
 public:
  /// Receives the gradient of each output (an undefined tensor where none arrived).
  using Backward = std::function<void(Tape& tape, std::span<const Tensor> output_grads)>;

  explicit Tape(Stream& stream) : stream_(&stream) {}

  /// A variable without a history whose gradient is wanted.
  Variable leaf(Tensor value);

  /// Records an op. `backward` captures what it saved.
  std::vector<Variable> record(std::string_view name, std::vector<Tensor> outputs, Backward backward);

  /// Calls `reached` in the backward pass once everything recorded later has been walked: what only that adds to is
  /// complete then.
  void mark(std::function<void()> reached);

  /// Adds to the gradient of `variable`: adopts the tensor when it is the first (it may be overwritten later), else
  /// adds into the one held. Does nothing when no gradient is wanted.
  void accumulate(const Variable& variable, Tensor grad);

  /// Walks all nodes in reverse, starting from the gradient of `output`. Each node's saved tensors and output
  /// gradients are freed as soon as its backward has run; a tape is walked once.
  void backward(const Variable& output, Tensor grad);

  /// The same from a scalar loss [1] float32, whose gradient is one.
  void backward(const Variable& loss);

  /// The same from the gradients of several outputs (undefined: none).
  void backward(std::span<const Variable> outputs, std::vector<Tensor> grads);

  /// Takes the gradient that has arrived so far away from `variable`.
  Tensor take_grad(const Variable& variable);

  /// The gradient of a leaf after `backward`; undefined where none arrived.
  Tensor grad(const Variable& leaf) const;

  size_t nodes() const { return nodes_.size(); }
  Stream& stream() const { return *stream_; }

 private:
  struct Node {
    std::string_view name;  ///< a literal
    int64_t first_output = 0;
    int64_t outputs = 0;
    Backward backward;
  };

  void walk();

  Stream* stream_;
  std::vector<Node> nodes_;
  std::vector<Tensor> grads_;  // by variable id
};

/// Runs `block` without saving anything inside it; the backward pass runs it again to get what it needs. The gradients
/// are bitwise those of the recorded run. `block` must be deterministic and is called with a fresh tape when rerun.
using Block = std::function<std::vector<Variable>(const Execution& on, std::span<const Variable> inputs)>;
std::vector<Variable> checkpoint(const Execution& on, std::vector<Variable> inputs, const Block& block);

}  // namespace subspect::runtime
