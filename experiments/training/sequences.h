// Training sequences: examples as token ids, with the target that each position learns.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiments/data/dataset.h"
#include "model/prompts.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/log.h"

namespace subspect::experiments {

/// One sequence. `targets[t]` is the id that position t predicts, or runtime::ops::ignored_target: prompt tokens and
/// the last position learn nothing.
struct TrainingSequence {
  std::vector<int32_t> ids;
  std::vector<int32_t> targets;
  int64_t predicted = 0;  ///< targets that count
};

struct SequenceCounts {
  int64_t examples = 0;          ///< given
  int64_t sequences = 0;         ///< that are trained on
  int64_t truncated = 0;         ///< responses that were shortened (their EOS stays)
  int64_t prompts_too_long = 0;  ///< left out: no room for any of the response
  int64_t tokens = 0;
  int64_t predicted = 0;
};

struct TrainingData {
  std::vector<TrainingSequence> sequences;
  std::vector<int64_t> lengths;  ///< tokens of every example given, before any was shortened or left out
  SequenceCounts counts;

  /// A number that changes with any token or target, to notice data that changed between two runs.
  uint64_t fingerprint() const;
};

struct SequenceOptions {
  int64_t max_seq_length = 0;          ///< tokens of a sequence, BOS and EOS included; 0: no limit
  int64_t vocab_size = 0;              ///< of the model; ids at or above it are errors
  std::optional<int32_t> eos_id = {};  ///< of the model's config.json: ends a sequence where the tokenizer names no EOS
  bool prompt_length = false;          ///< the deviation of that name (experiments/deviations.h)
  int threads = 0;                     ///< 0: one per core; results do not depend on it
};

/// Tokenizes examples. A sequence is prompt, response and one EOS; one that is too long loses the end of its response,
/// never the EOS. An example without a prompt is plain text: all of it is learned (but for a first token that nothing
/// precedes), and the tokenizer's own EOS ends it. Throws Error naming the example for text that is not UTF-8, or a
/// tokenizer that does not fit the model.
TrainingData make_sequences(const model::Tokenizer& tokenizer, const model::PromptFormat& format,
                            const std::vector<Example>& examples, const SequenceOptions& options);

/// Logs the numbers; a warning where something was left out or shortened.
void report_counts(const SequenceCounts& counts, int64_t max_seq_length, runtime::Log& log);

}  // namespace subspect::experiments
