// Collecting and comparing last-token states.
#include "experiments/subspace/activation_states.h"

#include <fmt/format.h>

#include <algorithm>

#include "experiments/subspace/columns.h"
#include "experiments/subspace/factors.h"
#include "runtime/error.h"
#include "runtime/linalg/bases.h"
#include "runtime/linalg/parallel.h"
#include "runtime/linalg/products.h"
#include "runtime/memory.h"

namespace subspect::experiments::subspace {

namespace {

using runtime::Tensor;
using runtime::linalg::LeftBasis;

/// Prompts [begin, end) that are packed together: at most `batch_tokens`, but at least one.
size_t end_of_batch(std::span<const std::vector<int32_t>> prompts, size_t begin, int64_t batch_tokens) {
  size_t end = begin;
  for (int64_t tokens = 0; end < prompts.size(); ++end) {
    tokens += static_cast<int64_t>(prompts[end].size());
    if (end > begin && tokens > batch_tokens) break;
  }
  return end;
}

/// Column `begin + i` of `states` = the hidden state at the last token of document i.
void take_last_tokens(runtime::Stream& stream, const Tensor& hidden, std::span<const std::vector<int32_t>> documents,
                      int64_t begin, const Tensor& states) {
  const int64_t width = states.size(0);
  const int64_t count = states.size(1);
  int64_t position = 0;
  for (size_t i = 0; i < documents.size(); ++i) {
    position += static_cast<int64_t>(documents[i].size());
    const std::vector<float> last = hidden.narrow(0, position - 1, 1).to_host<float>(stream);
    float* column = states.values<float>().data() + begin + static_cast<int64_t>(i);
    for (int64_t d = 0; d < width; ++d) column[d * count] = last[static_cast<size_t>(d)];
  }
}

/// The bases of several matrices of states, decomposed together.
std::vector<LeftBasis> bases_of(runtime::Stream& stream, size_t count, const std::function<Tensor(size_t)>& states,
                                const runtime::linalg::BasisOptions& options, const std::string& label) {
  std::vector<LeftBasis> bases(count);
  runtime::linalg::for_each_basis(
      stream, count,
      [&](size_t i) {
        return runtime::linalg::BasisRequest{runtime::linalg::on_device(stream, states(i)), label, options};
      },
      [&](size_t i, LeftBasis basis) { bases[i] = std::move(basis); });
  return bases;
}

/// The states, or a copy less their mean.
Tensor centered(const Tensor& states, bool center) {
  if (!center) return states;
  Tensor matrix = every_column(states, 0, 1);
  center_rows(matrix);
  return matrix;
}

}  // namespace

std::vector<int64_t> layers_between(double begin, double end, int64_t hidden_states) {
  const auto at = [&](double fraction) {
    const auto layer = static_cast<int64_t>(fraction * static_cast<double>(hidden_states));
    return std::clamp<int64_t>(layer, 0, hidden_states - 1);
  };
  std::vector<int64_t> layers;
  for (int64_t layer = at(begin); layer <= at(end); ++layer) layers.push_back(layer);
  return layers;
}

PromptIds encode_prompts(const std::vector<std::string>& texts, const model::Tokenizer& tokenizer,
                         const model::PromptFormat& format, int64_t max_length, Kept kept) {
  PromptIds result;
  for (const std::string& text : texts) {
    std::vector<int32_t> ids =
        model::encode_prompt(tokenizer, format,
                             format.render_prompt({.instruction = text, .response = {}, .system = {}}))
            .ids;
    if (ids.empty()) {
      throw runtime::Error("a prompt has no tokens", text.substr(0, 40), "leave empty rows out with `where`");
    }
    const int64_t excess = static_cast<int64_t>(ids.size()) - max_length;
    if (excess > 0) {
      const auto first = kept == Kept::end ? ids.begin() : ids.begin() + max_length;
      ids.erase(first, first + excess);
      ++result.cut;
    }
    result.ids.push_back(std::move(ids));
  }
  return result;
}

void for_each_batch(RunContext& context, const BatchRequest& request,
                    const std::function<void(const PromptBatch&)>& consume) {
  auto progress = context.progress.begin(request.label, static_cast<int64_t>(request.prompts.size()), "prompts");
  for (size_t begin = 0; begin < request.prompts.size();) {
    context.stop_if_interrupted();
    const size_t end = end_of_batch(request.prompts, begin, request.batch_tokens);
    const auto prompts = request.prompts.subspan(begin, end - begin);
    std::vector<model::Document> documents;
    for (const std::vector<int32_t>& ids : prompts) documents.push_back({.ids = ids, .targets = {}});
    consume({prompts, static_cast<int64_t>(begin), model::pack(context.stream, documents)});
    progress.advance(static_cast<int64_t>(end - begin));
    begin = end;
  }
}

std::vector<Tensor> last_token_states(RunContext& context, model::Decoder& decoder, const StateRequest& request) {
  const auto count = static_cast<int64_t>(request.prompts.size());
  std::vector<Tensor> states;
  for (size_t i = 0; i < request.layers.size(); ++i) {
    states.push_back(runtime::linalg::host_matrix(decoder.config().hidden_size, count));
  }
  for_each_batch(context, {.prompts = request.prompts, .batch_tokens = request.batch_tokens, .label = request.label},
                 [&](const PromptBatch& batch) {
                   std::vector<Tensor> hidden;
                   decoder.forward({context.stream, nullptr}, batch.packed, {.hidden_states = &hidden});
                   for (size_t i = 0; i < states.size(); ++i) {
                     take_last_tokens(context.stream, hidden.at(static_cast<size_t>(request.layers[i])), batch.prompts,
                                      batch.begin, states[i]);
                   }
                 });
  return states;
}

ActivationOverlap compare_activations(runtime::Stream& stream, const Tensor& useful, const Tensor& harmful,
                                      const std::vector<double>& energies, bool center,
                                      const runtime::linalg::BasisOptions& basis, const std::string& label) {
  std::vector<Tensor> states = {useful, harmful};
  if (useful.size(1) >= 2) states.insert(states.end(), {every_column(useful, 0, 2), every_column(useful, 1, 2)});
  if (useful.size(1) >= 2 && harmful.size(1) >= 2) states.push_back(every_column(harmful, 1, 2));
  const std::vector<LeftBasis> bases = bases_of(
      stream, states.size(), [&](size_t i) { return centered(states[i], center); }, basis, label);
  ActivationOverlap result;
  result.pair = compare_subspaces(stream, bases[0], bases[1], energies);
  if (bases.size() > 3) result.control = compare_subspaces(stream, bases[2], bases[3], energies);
  if (bases.size() > 4) result.halves = compare_subspaces(stream, bases[2], bases[4], energies);
  result.method = name(bases[0].method());
  if (bases[1].method() != bases[0].method()) result.method += fmt::format("/{}", name(bases[1].method()));
  result.residual = std::max(bases[0].residual(), bases[1].residual());
  return result;
}

std::vector<statistics::Interval> resampled_overlaps(RunContext& context, const Tensor& useful, const Tensor& harmful,
                                                     const std::vector<EnergyOverlap>& overlaps,
                                                     const ResampleOptions& options) {
  std::vector<double> energies;
  for (const EnergyOverlap& overlap : overlaps) energies.push_back(overlap.energy);
  const auto count = static_cast<size_t>(options.resamples);
  std::vector<std::vector<double>> msos(energies.size(), std::vector<double>(count));
  const auto resampled = [&](size_t resample, bool first) {
    const Tensor& states = first ? useful : harmful;
    const std::string sequence =
        fmt::format("resample/{}/{}/{}", options.label, resample, first ? "useful" : "harmful");
    return resampled_columns(states, statistics::resample_counts(states.size(1), options.seed, sequence),
                             options.center);
  };
  const int64_t bytes = factor_workspace_bytes(useful.shape(), 0) + factor_workspace_bytes(harmful.shape(), 0);
  runtime::linalg::for_each_range_within(
      context.stream, count, runtime::available_memory(context.stream) / 2, [&](size_t) { return bytes; },
      [&](size_t begin, size_t end) {
        const std::vector<LeftBasis> bases = bases_of(
            context.stream, 2 * (end - begin), [&](size_t i) { return resampled(begin + i / 2, i % 2 == 0); },
            options.basis, options.label);
        for (size_t r = begin; r < end; ++r) {
          const size_t at = 2 * (r - begin);
          const std::vector<EnergyOverlap> rows = compare_subspaces(context.stream, bases[at], bases[at + 1], energies);
          for (size_t i = 0; i < rows.size(); ++i) msos[i][r] = rows[i].mso;
        }
      },
      [&] { context.stop_if_interrupted(); });
  std::vector<statistics::Interval> intervals;
  for (size_t i = 0; i < overlaps.size(); ++i) {
    intervals.push_back(statistics::recentred_interval(msos[i], overlaps[i].mso, 0.0, 1.0));
  }
  return intervals;
}

}  // namespace subspect::experiments::subspace
