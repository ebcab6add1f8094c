// The tape: recording, the backward walk, and recomputation of blocks.
#include "runtime/tape.h"

#include <utility>

#include "runtime/error.h"
#include "runtime/ops/accumulate.h"

namespace subspect::runtime {

Variable Tape::leaf(Tensor value) {
  grads_.emplace_back();
  return {std::move(value), static_cast<int64_t>(grads_.size()) - 1};
}

std::vector<Variable> Tape::record(std::string_view name, std::vector<Tensor> outputs, Backward backward) {
  const auto first = static_cast<int64_t>(grads_.size());
  nodes_.push_back({name, first, static_cast<int64_t>(outputs.size()), std::move(backward)});
  grads_.resize(grads_.size() + outputs.size());
  std::vector<Variable> variables;
  variables.reserve(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    variables.push_back({std::move(outputs[i]), first + static_cast<int64_t>(i)});
  }
  return variables;
}

void Tape::mark(std::function<void()> reached) {
  record("mark", {}, [reached = std::move(reached)](Tape&, std::span<const Tensor>) { reached(); });
}

void Tape::accumulate(const Variable& variable, Tensor grad) {
  if (!variable.wants_grad() || !grad.defined()) return;
  require(variable.id < static_cast<int64_t>(grads_.size()), "Tape::accumulate",
          "the variable must be of this tape. Received id {} of {}.", variable.id, grads_.size());
  Tensor& held = grads_[static_cast<size_t>(variable.id)];
  if (!held.defined()) {
    held = std::move(grad);
    return;
  }
  require(held.shape() == grad.shape() && held.dtype() == grad.dtype(), "Tape::accumulate",
          "gradients of one variable must agree. Received {} {} and {} {}.", name(held.dtype()),
          to_string(held.shape()), name(grad.dtype()), to_string(grad.shape()));
  // Writing to a tensor that another variable's gradient shares would change that gradient too.
  if (!held.is_sole_owner()) held = held.clone(*stream_);
  ops::add_into(*stream_, held, grad);
}

void Tape::backward(const Variable& output, Tensor grad) {
  accumulate(output, std::move(grad));
  walk();
}

void Tape::backward(const Variable& loss) {
  const Tensor one = Tensor::empty(*stream_, {1}, DType::float32);
  ops::fill(*stream_, one, 1.0);
  backward(loss, one);
}

void Tape::backward(std::span<const Variable> outputs, std::vector<Tensor> grads) {
  require(outputs.size() == grads.size(), "Tape::backward", "each output needs a gradient. Received {} and {}.",
          outputs.size(), grads.size());
  for (size_t i = 0; i < outputs.size(); ++i) accumulate(outputs[i], std::move(grads[i]));
  grads.clear();
  walk();
}

void Tape::walk() {
  const MemoryScope scope(*stream_->allocator(), MemoryTag::activations);
  while (!nodes_.empty()) {
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    std::vector<Tensor> output_grads(static_cast<size_t>(node.outputs));
    bool any = node.outputs == 0;  // a mark
    for (int64_t i = 0; i < node.outputs; ++i) {
      Tensor& grad = grads_[static_cast<size_t>(node.first_output + i)];
      any = any || grad.defined();
      output_grads[static_cast<size_t>(i)] = std::exchange(grad, Tensor());
    }
    if (any) node.backward(*this, output_grads);
  }
}

Tensor Tape::grad(const Variable& leaf) const {
  return leaf.wants_grad() ? grads_.at(static_cast<size_t>(leaf.id)) : Tensor();
}

Tensor Tape::take_grad(const Variable& variable) {
  return variable.wants_grad() ? std::exchange(grads_.at(static_cast<size_t>(variable.id)), Tensor()) : Tensor();
}

namespace {

// The backward pass of a checkpointed block: run it again, recorded, and walk that record. The gradients that the
// inputs have so far go in first, so that sums are formed in the order of a plain recorded run.
void backward_again(Tape& tape, std::span<const Tensor> output_grads, std::vector<Variable>& inputs,
                    const Block& block) {
  Tape inner(tape.stream());
  std::vector<Variable> leaves;
  for (Variable& input : inputs) {
    Tensor value = std::exchange(input.value, Tensor());  // freed as soon as the inner walk lets go of it
    leaves.push_back(input.wants_grad() ? inner.leaf(std::move(value)) : Variable{std::move(value)});
  }
  const Execution on{tape.stream(), &inner};
  const std::vector<Variable> outputs = [&] {
    std::vector<Variable> results = block(on, leaves);
    for (Variable& result : results) result.value = Tensor();
    return results;
  }();
  for (size_t i = 0; i < inputs.size(); ++i) {
    leaves[i].value = Tensor();
    inner.accumulate(leaves[i], tape.take_grad(inputs[i]));
  }
  inner.backward(outputs, std::vector<Tensor>(output_grads.begin(), output_grads.end()));
  for (size_t i = 0; i < inputs.size(); ++i) tape.accumulate(inputs[i], inner.take_grad(leaves[i]));
}

}  // namespace

std::vector<Variable> checkpoint(const Execution& on, std::vector<Variable> inputs, const Block& block) {
  if (on.tape == nullptr) return block(on, inputs);
  std::vector<Tensor> outputs;
  for (Variable& output : block(Execution{on.stream, nullptr}, inputs)) outputs.push_back(std::move(output.value));
  auto backward = [inputs = std::move(inputs), block](Tape& tape, std::span<const Tensor> output_grads) mutable {
    backward_again(tape, output_grads, inputs, block);
  };
  return on.tape->record("checkpoint", std::move(outputs), std::move(backward));
}

}  // namespace subspect::runtime
