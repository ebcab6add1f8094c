// Padding is never computed. Tokens that are masked are seen by nobody, so that they are left out and the others keep
// their positions. Only the position that is read may itself be masked: it is one more query over the others' keys.
#include "experiments/subspace/padded_states.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/error.h"
#include "runtime/linalg/products.h"

namespace subspect::experiments::subspace {

namespace {

using model::Decoder;
using runtime::Execution;
using runtime::Tensor;
using runtime::Variable;

/// The tokens that count, and the masked one that is read, if it is masked.
struct VisibleTokens {
  std::vector<int32_t> ids;
  std::vector<int32_t> positions;
  bool reads_masked = false;  ///< the last of them is masked

  int64_t keys() const { return static_cast<int64_t>(ids.size()) - (reads_masked ? 1 : 0); }
};

/// @param length of the batch, at least that of the prompt
VisibleTokens visible_tokens(const std::vector<int32_t>& prompt, int64_t length, const PaddedReading& reading) {
  VisibleTokens visible;
  const auto masked = [&](int32_t id) { return reading.mask_pad_id && id == reading.pad_id; };
  for (size_t t = 0; t < prompt.size(); ++t) {
    if (masked(prompt[t])) continue;
    visible.ids.push_back(prompt[t]);
    visible.positions.push_back(static_cast<int32_t>(t));
  }
  if (visible.ids.empty()) {
    throw runtime::Error("every token of a prompt is masked", fmt::format("a prompt of {} tokens", prompt.size()),
                         "leave masked_eos out of deviations, or the row with `where`");
  }
  const bool is_padding = static_cast<int64_t>(prompt.size()) < length;
  if (is_padding || masked(prompt.back())) {
    visible.reads_masked = true;
    visible.ids.push_back(is_padding ? reading.pad_id : prompt.back());
    visible.positions.push_back(static_cast<int32_t>(length - 1));
  }
  return visible;
}

/// Causal attention over `keys` rows; the row after them, if there is one, sees all of these and not itself.
Variable attend(Decoder& decoder, const Execution& on, int64_t layer, const Tensor& qkv, const model::Batch& keys) {
  const Tensor seen = qkv.narrow(0, 0, keys.tokens);
  Variable attended = decoder.packed_attention(on, layer, {seen}, keys);
  if (qkv.size(0) == keys.tokens) return attended;
  const int64_t q_size = decoder.config().q_size();
  const Tensor asking = seen.clone(on.stream);  // the last key's query is replaced by that of the masked token
  asking.narrow(0, keys.tokens - 1, 1)
      .narrow(1, 0, q_size)
      .copy_from(on.stream, qkv.narrow(0, keys.tokens, 1).narrow(1, 0, q_size));
  const Tensor answered = decoder.packed_attention(on, layer, {asking}, keys).value;
  const Tensor all = Tensor::empty(on.stream, {keys.tokens + 1, q_size}, qkv.dtype());
  all.narrow(0, 0, keys.tokens).copy_from(on.stream, attended.value);
  all.narrow(0, keys.tokens, 1).copy_from(on.stream, answered.narrow(0, keys.tokens - 1, 1));
  return {all};
}

/// Every hidden state at the last of the visible tokens.
std::vector<Tensor> hidden_states(runtime::Stream& stream, Decoder& decoder, const VisibleTokens& visible) {
  const std::vector<model::Document> document = {
      {.ids = std::span(visible.ids).first(static_cast<size_t>(visible.keys())), .targets = {}}};
  const model::Batch keys = model::pack(stream, document);
  const auto count = static_cast<int64_t>(visible.ids.size());
  const Tensor ids = Tensor::from_host<int32_t>(stream, visible.ids, {count});
  const Tensor positions = Tensor::from_host<int32_t>(stream, visible.positions, {count});
  std::vector<Tensor> hidden;
  decoder.forward({stream, nullptr}, ids, positions,
                  [&](const Execution& on, int64_t layer, const Variable& qkv) {
                    return attend(decoder, on, layer, qkv.value, keys);
                  },
                  {.recompute = {}, .hidden_states = &hidden, .gradients_done = {}});
  return hidden;
}

void require_no_window(const Decoder& decoder, int64_t length) {
  for (int64_t layer = 0; layer < decoder.config().layers; ++layer) {
    const int64_t window = decoder.config().window(layer);
    if (window > 0 && window < length) {
      throw runtime::Error(fmt::format("layer {} sees {} tokens, a batch of prompts has {}", layer, window, length),
                           "deviations", "leave padded_last and masked_eos out: they need a model without a window");
    }
  }
}

}  // namespace

std::vector<Tensor> padded_states(RunContext& context, Decoder& decoder, const StateRequest& request,
                                  const PaddedReading& reading) {
  const auto count = static_cast<int64_t>(request.prompts.size());
  const int64_t width = decoder.config().hidden_size;
  std::vector<Tensor> states;
  for (size_t i = 0; i < request.layers.size(); ++i) states.push_back(runtime::linalg::host_matrix(width, count));
  auto progress = context.progress.begin(request.label, count, "prompts");
  for (int64_t prompt = 0; prompt < count; ++prompt) {
    context.stop_if_interrupted();
    const auto one = static_cast<size_t>(prompt);
    auto length = static_cast<int64_t>(request.prompts[one].size());
    const int64_t first = prompt / reading.batch * reading.batch;
    for (int64_t i = first; reading.last_position && i < std::min(first + reading.batch, count); ++i) {
      length = std::max(length, static_cast<int64_t>(request.prompts[static_cast<size_t>(i)].size()));
    }
    require_no_window(decoder, length);
    const VisibleTokens visible = visible_tokens(request.prompts[one], length, reading);
    const std::vector<Tensor> hidden = hidden_states(context.stream, decoder, visible);
    for (size_t i = 0; i < states.size(); ++i) {
      const std::vector<float> last = hidden.at(static_cast<size_t>(request.layers[i]))
                                          .narrow(0, static_cast<int64_t>(visible.ids.size()) - 1, 1)
                                          .to_host<float>(context.stream);
      float* column = states[i].values<float>().data() + prompt;
      for (int64_t d = 0; d < width; ++d) column[d * count] = last[static_cast<size_t>(d)];
    }
    progress.advance();
  }
  return states;
}

}  // namespace subspect::experiments::subspace
