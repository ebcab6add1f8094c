// GSM8K (Cobbe et al., arXiv 2110.14168) exactly as lm-evaluation-harness scores it (task gsm8k, version 3.0): prompts
// with shots drawn as Python's random draws them, both filters, exact match. No generation here.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::experiments {

/// Python's random.Random(seed): MT19937 seeded by init_by_array with the 32-bit words of the seed.
class PythonRandom {
 public:
  explicit PythonRandom(uint64_t seed);

  uint32_t next_u32();
  uint64_t getrandbits(int bits);  ///< 0 to 64
  uint64_t below(uint64_t count);  ///< Random._randbelow
  /// Random.sample(range(count), size): indices without replacement, by the same choice of method.
  std::vector<int64_t> sample(int64_t count, int64_t size);

 private:
  static constexpr int state_words = 624;

  void seed_by_number(uint32_t seed);
  void seed_by_array(const std::vector<uint32_t>& key);
  void refill();

  std::array<uint32_t, state_words> state_ = {};
  int position_ = state_words;
};

struct Gsm8kRow {
  std::string question;
  std::string answer;
};

/// Rows with the fields `question` and `answer`. Errors as read_records.
std::vector<Gsm8kRow> read_gsm8k(const std::filesystem::path& path);

struct Gsm8kPromptOptions {
  int64_t shots = 1;
  int64_t limit = 0;  ///< first rows of the test split; 0: all
  uint64_t seed = 1234;
};

/// For each test row in turn, the indices of its shots in the train split.
std::vector<std::vector<int64_t>> gsm8k_shots(int64_t train_rows, int64_t test_rows, const Gsm8kPromptOptions& options);

/// "Question: {train q}\nAnswer: {train a}\n\nQuestion: {q}\nAnswer:" for each test row. `train` may be empty when
/// there are no shots. Throws Error when there are fewer training rows than shots.
std::vector<std::string> gsm8k_prompts(const std::vector<Gsm8kRow>& train, const std::vector<Gsm8kRow>& test,
                                       const Gsm8kPromptOptions& options = {});

inline constexpr int64_t gsm8k_max_new_tokens = 256;
/// Stop strings besides the model's EOS ids.
const std::vector<std::string>& gsm8k_stops();

/// `text` up to the first occurrence of each stop string.
std::string cut_at_stops(std::string text, const std::vector<std::string>& stops);

/// Filter strict-match: the first match of `#### (\-?[0-9\.\,]+)`, or "[invalid]".
std::string gsm8k_strict_match(std::string_view completion);
/// Filter flexible-extract: the last match of `(-?[$0-9.,]{2,})|(-?[0-9]+)`, or "[invalid]".
std::string gsm8k_flexible_extract(std::string_view completion);
/// What exact_match compares: without `,`, `$`, everything up to the last "#### ", and a full stop at the end.
std::string gsm8k_normalise(std::string_view answer);

struct Gsm8kVerdict {
  std::string strict;  ///< what the filters took
  std::string flexible;
  bool strict_correct = false;
  bool flexible_correct = false;
};

/// @param completion already cut at the stops. @param gold the whole gold answer.
Gsm8kVerdict score_gsm8k(std::string_view completion, std::string_view gold);

/// A share with its standard error sqrt(p (1 - p) / (n - 1)); NaN where n < 1, or n < 2 for the error.
struct Proportion {
  double value = 0;
  double standard_error = 0;
  int64_t n = 0;
};
Proportion proportion(int64_t hits, int64_t n);

}  // namespace subspect::experiments
