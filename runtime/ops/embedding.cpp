// Embedding lookup and row selection.
#include "runtime/ops/embedding.h"

#include "kernels/embedding.h"
#include "runtime/dispatch.h"
#include "runtime/ops/checks.h"

namespace subspect::runtime::ops {

namespace {

Tensor select_rows(Stream& stream, const Tensor& table, const Tensor& rows, std::string_view op) {
  require_matrix(stream, table, op, "the table");
  require(rows.defined() && rows.dim() == 1, op, "row numbers must have one axis.");
  require_tensor(stream, rows, rows.shape(), DType::int32, op, "row numbers");
  Tensor y = Tensor::empty(stream, {rows.numel(), table.size(1)}, table.dtype());
  dispatch(stream, table.dtype(), op, [&]<class D, class T>(kernels::Context<D> context) {
    kernels::embedding_forward<D, T>(context, {.table = table.data<T>(),
                                               .ids = rows.data<int32_t>(),
                                               .y = y.data<T>(),
                                               .tokens = rows.numel(),
                                               .vocab = table.size(0),
                                               .dim = table.size(1)});
  });
  return y;
}

void embedding_backward(Stream& stream, const Tensor& dy, const Tensor& ids, const Parameter& table) {
  dispatch(stream, dy.dtype(), "embedding", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::EmbeddingBackwardParams<T> p{.dy = dy.data<T>(),
                                          .ids = ids.data<int32_t>(),
                                          .dtable = grad_data(table),
                                          .tokens = ids.numel(),
                                          .vocab = table.value.size(0),
                                          .dim = table.value.size(1)};
    const Tensor scratch = workspace(stream, kernels::embedding_backward_workspace_bytes<D, T>(p));
    p.workspace = scratch.raw();
    kernels::embedding_backward<D, T>(context, p);
  });
}

}  // namespace

Variable embedding(const Execution& on, Parameter& table, const Tensor& ids) {
  Tensor y = select_rows(on.stream, table.value, ids, "embedding");
  if (on.tape == nullptr || !table.trained()) return {std::move(y)};
  auto backward = [ids, &table](Tape& tape, std::span<const Tensor> output_grads) {
    embedding_backward(tape.stream(), output_grads[0], ids, table);
  };
  return on.tape->record("embedding", {std::move(y)}, std::move(backward))[0];
}

Tensor take_rows(const Execution& on, const Tensor& x, const Tensor& rows) {
  return select_rows(on.stream, x, rows, "take_rows");
}

void check_token_ids(std::span<const int32_t> ids, int64_t vocabulary, std::string_view where) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary) {
      throw Error(fmt::format("token {} has id {}, but the model has {} rows of embeddings", i, ids[i], vocabulary),
                  std::string(where), "use the tokenizer that belongs to the model");
    }
  }
}

}  // namespace subspect::runtime::ops
