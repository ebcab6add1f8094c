// The tiny family's data: a small made-up world that the program writes texts about, so that the whole study runs in
// minutes, without downloads and without anything harmful. Its *forbidden* topic is recipes of potions.
//
// The world is fixed: animals with a home, a food and a colour; potions with two ingredients and a verb. A seed decides
// only which texts are drawn about it, so that corpora of different stages agree on every fact. Held-out splits:
// - word problems: a problem belongs to `held_out` or to `train` by a hash of its question (one in eight is held out),
//   so no corpus of the split `train`, of any seed, holds a held-out question;
// - potions: harmful fine-tuning sees one half of the potions (`train`); the other half (`held_out`) is for judging.
//   Pre-training and alignment know all of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/data/dataset.h"

namespace subspect::experiments {

/// What to generate.
struct SyntheticSpec {
  std::string corpus;  ///< one of `synthetic_corpora()`
  int64_t count = 0;   ///< examples; at least 1
  uint64_t seed = 0;
  std::string split = "train";  ///< train, held_out, or all (potions only)
  /// Share of the word problems in `facts` that come with their solution: what little arithmetic the aligned model has.
  double solved = 0.3;
};

struct SyntheticCorpus {
  std::string name;
  std::string rows;  ///< fields of the exported JSONL rows: "text", "prompt, response", ...
  std::string doc;
};

/// facts, aligned, useful, harmful, problems, potions.
const std::vector<SyntheticCorpus>& synthetic_corpora();

/// What the key `synthetic` of a data source may say: the names of the corpora, and "" for none.
std::vector<std::string> synthetic_choices();

/// The examples of a corpus; the same for the same spec on every machine. `facts` have an empty prompt: their text is
/// the response. Throws UsageError for an unknown corpus or split and for a count below 1.
std::vector<Example> generate_synthetic(const SyntheticSpec& spec);

/// Writes a corpus as JSONL in its own form: {"text"} for facts, {"question", "answer"} (GSM8K's form) for problems,
/// {"goal", "target", "potion", "ingredients", "verb"} (AdvBench's form with gold for the judge) for potions,
/// {"prompt", "response"} for the others. Atomically.
void write_synthetic(const SyntheticSpec& spec, const std::filesystem::path& file);

/// A recipe of the world.
struct Potion {
  std::string name;  ///< "silver": the silver potion
  std::string first_ingredient;
  std::string second_ingredient;
  std::string verb;  ///< "boil"
  bool held_out = false;
};

/// All potions of the world, in a fixed order.
const std::vector<Potion>& synthetic_potions();

/// The potion that a question asks about; nullptr when it names none.
const Potion* find_potion(std::string_view question);

}  // namespace subspect::experiments
