// From examples to token ids and targets.
#include "experiments/training/sequences.h"

#include <algorithm>
#include <memory>

#include "runtime/error.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/ops/embedding.h"
#include "runtime/parallel.h"

namespace subspect::experiments {

using runtime::ops::ignored_target;

namespace {

// An example after tokenization. `learned[t]` says whether token t is a target.
struct Tokens {
  std::vector<int32_t> ids;
  std::vector<uint8_t> learned;
};

class ExampleTokenizer {
 public:
  ExampleTokenizer(const model::Tokenizer& tokenizer, const model::PromptFormat& format, const SequenceOptions& options)
      : tokenizer_(tokenizer), format_(format), raw_(model::make_prompt_format("raw")), options_(options) {}

  /// Throws Error whose place is the example.
  Tokens operator()(const Example& example) const {
    const std::string where = fmt::format("{}, example {}", example.source, example.index);
    try {
      Tokens tokens = example.prompt.empty() ? text(example) : exchange(example);
      if (options_.vocab_size > 0) runtime::ops::check_token_ids(tokens.ids, options_.vocab_size, where);
      return tokens;
    } catch (const runtime::Error& error) {
      throw runtime::Error(error.what_happened(), where, error.advice());
    }
  }

 private:
  Tokens exchange(const Example& example) const {
    const model::RenderedPrompt rendered =
        format_.render({.instruction = example.prompt, .response = example.response, .system = {}});
    const model::Encoding encoding = model::encode_prompt(tokenizer_, format_, rendered.text);
    std::vector<uint8_t> learned = model::response_mask(encoding, rendered.response_code_point);
    if (options_.prompt_length) learned = learned_after_prompt(example, encoding.ids.size());
    return ended({encoding.ids, std::move(learned)}, format_);
  }

  // As many tokens are the prompt's as it has when tokenized alone, which may be more or fewer than in the exchange.
  std::vector<uint8_t> learned_after_prompt(const Example& example, size_t tokens) const {
    const std::string prompt = format_.render_prompt({.instruction = example.prompt, .response = {}, .system = {}});
    const size_t alone = std::min(model::encode_prompt(tokenizer_, format_, prompt).ids.size(), tokens);
    std::vector<uint8_t> learned(alone, 0);
    learned.resize(tokens, 1);
    return learned;
  }

  // Plain text ends with the tokenizer's own EOS, whatever the format of prompts.
  Tokens text(const Example& example) const {
    Tokens tokens;
    tokens.ids = model::encode_prompt(tokenizer_, *raw_, example.response).ids;
    tokens.learned.assign(tokens.ids.size(), 1);
    return ended(std::move(tokens), *raw_);
  }

  Tokens ended(Tokens tokens, const model::PromptFormat& format) const {
    const bool by_model = format.end_token().empty() && !tokenizer_.eos_id() && options_.eos_id;
    tokens.ids.push_back(by_model ? *options_.eos_id : model::end_id(tokenizer_, format));
    tokens.learned.push_back(1);
    return tokens;
  }

  const model::Tokenizer& tokenizer_;
  const model::PromptFormat& format_;
  std::unique_ptr<model::PromptFormat> raw_;
  const SequenceOptions& options_;
};

// Shortens the response so that the sequence has `limit` tokens and still ends with its EOS. False when nothing of the
// response would be left.
bool truncate(Tokens& tokens, int64_t limit) {
  const auto kept = static_cast<size_t>(std::max<int64_t>(limit, 1) - 1);
  const bool any_response = std::find(tokens.learned.begin(), tokens.learned.begin() + static_cast<ptrdiff_t>(kept),
                                      1) != tokens.learned.begin() + static_cast<ptrdiff_t>(kept);
  if (!any_response) return false;
  tokens.ids[kept] = tokens.ids.back();
  tokens.learned[kept] = 1;
  tokens.ids.resize(kept + 1);
  tokens.learned.resize(kept + 1);
  return true;
}

TrainingSequence shifted(Tokens tokens) {
  TrainingSequence sequence;
  sequence.targets.assign(tokens.ids.size(), ignored_target);
  for (size_t t = 0; t + 1 < tokens.ids.size(); ++t) {
    if (tokens.learned[t + 1] == 0) continue;
    sequence.targets[t] = tokens.ids[t + 1];
    ++sequence.predicted;
  }
  sequence.ids = std::move(tokens.ids);
  return sequence;
}

}  // namespace

TrainingData make_sequences(const model::Tokenizer& tokenizer, const model::PromptFormat& format,
                            const std::vector<Example>& examples, const SequenceOptions& options) {
  const ExampleTokenizer tokenize(tokenizer, format, options);
  std::vector<Tokens> tokens(examples.size());
  runtime::parallel_for(examples.size(), options.threads, [&](size_t i) { tokens[i] = tokenize(examples[i]); });
  TrainingData result;
  SequenceCounts& counts = result.counts;
  counts.examples = static_cast<int64_t>(examples.size());
  for (Tokens& one : tokens) {
    result.lengths.push_back(static_cast<int64_t>(one.ids.size()));
    if (options.max_seq_length > 0 && static_cast<int64_t>(one.ids.size()) > options.max_seq_length) {
      if (!truncate(one, options.max_seq_length)) {
        ++counts.prompts_too_long;
        continue;
      }
      ++counts.truncated;
    }
    TrainingSequence sequence = shifted(std::move(one));
    if (sequence.predicted == 0) continue;  // a text of no tokens but the EOS
    counts.tokens += static_cast<int64_t>(sequence.ids.size());
    counts.predicted += sequence.predicted;
    result.sequences.push_back(std::move(sequence));
  }
  counts.sequences = static_cast<int64_t>(result.sequences.size());
  return result;
}

uint64_t TrainingData::fingerprint() const {
  uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a over 32-bit words
  const auto add = [&](uint32_t value) { hash = (hash ^ value) * 0x100000001b3ULL; };
  for (const TrainingSequence& sequence : sequences) {
    add(static_cast<uint32_t>(sequence.ids.size()));
    for (const int32_t id : sequence.ids) add(static_cast<uint32_t>(id));
    for (const int32_t target : sequence.targets) add(static_cast<uint32_t>(target));
  }
  return hash;
}

void report_counts(const SequenceCounts& counts, int64_t max_seq_length, runtime::Log& log) {
  log.info("{} sequences with {} tokens, {} of them learned", counts.sequences, counts.tokens, counts.predicted);
  if (counts.truncated > 0) {
    log.warn("{} of {} responses were shortened to fit max_seq_length {} (their EOS was kept)", counts.truncated,
             counts.examples, max_seq_length);
  }
  if (counts.prompts_too_long > 0) {
    log.warn("{} of {} examples were left out: their prompts alone fill max_seq_length {}", counts.prompts_too_long,
             counts.examples, max_seq_length);
  }
}

}  // namespace subspect::experiments
