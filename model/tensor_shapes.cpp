// Block by block, as Transformers stores them.
#include "model/tensor_shapes.h"

namespace subspect::model {

namespace {

void add_block(const DecoderConfig& c, std::vector<runtime::Shape>& shapes) {
  const auto add = [&](int64_t out, int64_t in, bool bias) {
    shapes.push_back({out, in});
    if (bias) shapes.push_back({out});
  };
  add(c.q_size(), c.hidden_size, c.qkv_bias);
  add(c.kv_size(), c.hidden_size, c.qkv_bias);
  add(c.kv_size(), c.hidden_size, c.qkv_bias);
  add(c.hidden_size, c.q_size(), c.o_bias);
  add(c.intermediate_size, c.hidden_size, c.mlp_bias);
  add(c.intermediate_size, c.hidden_size, c.mlp_bias);
  add(c.hidden_size, c.intermediate_size, c.mlp_bias);
  shapes.insert(shapes.end(), 2, {c.hidden_size});
  if (c.qk_norm) shapes.insert(shapes.end(), 2, {c.head_dim});
}

}  // namespace

std::vector<runtime::Shape> tensor_shapes(const DecoderConfig& config) {
  std::vector<runtime::Shape> shapes = {{config.vocab_size, config.hidden_size}};
  for (int64_t layer = 0; layer < config.layers; ++layer) add_block(config, shapes);
  shapes.push_back({config.hidden_size});
  if (!config.tied_embeddings) shapes.push_back({config.vocab_size, config.hidden_size});
  return shapes;
}

}  // namespace subspect::model
