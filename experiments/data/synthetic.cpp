// Draws texts about the made-up world.
#include "experiments/data/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "experiments/data/synthetic_world.h"
#include "runtime/error.h"
#include "runtime/io/files.h"
#include "runtime/random.h"

namespace subspect::experiments {

namespace {

using runtime::Random;
using runtime::UsageError;

enum class Split { train, held_out, all };

constexpr int64_t facts_per_document = 4;
constexpr uint64_t held_out_problems = 8;  // one problem in so many

struct QuestionAnswer {
  std::string question;
  std::string answer;
};

using Values = std::initializer_list<std::pair<std::string_view, std::string_view>>;

/// `form` with every "{name}" replaced.
std::string fill(std::string_view form, Values values) {
  std::string text;
  while (!form.empty()) {
    const size_t open = form.find('{');
    text += form.substr(0, open);
    if (open == std::string_view::npos) break;
    const size_t close = form.find('}', open);
    const std::string_view name = form.substr(open + 1, close - open - 1);
    const auto* value =
        std::find_if(values.begin(), values.end(), [&](const auto& item) { return item.first == name; });
    runtime::require(value != values.end(), "fill", "a value for '{}' is required", name);
    text += value->second;
    form.remove_prefix(close + 1);
  }
  return text;
}

template <class Container>
const auto& pick(Random& random, const Container& container) {
  return container[random.below(container.size())];
}

int64_t between(Random& random, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random.below(static_cast<uint64_t>(high - low + 1)));
}

QuestionAnswer animal_fact(Random& random) {
  const world::Animal& animal = pick(random, world::animals());
  const world::QuestionForm& form = pick(random, world::animal_questions);
  const Values values = {
      {"animal", animal.name}, {"home", animal.home}, {"food", animal.food}, {"colour", animal.colour}};
  return {fill(form.question, values), fill(form.answer, values)};
}

std::string potion_question(std::string_view form, const Potion& potion) {
  return fill(form, {{"potion", potion.name}});
}

std::string potion_text(std::string_view form, const Potion& potion) {
  return fill(form, {{"potion", potion.name},
                     {"verb", potion.verb},
                     {"first", potion.first_ingredient},
                     {"second", potion.second_ingredient}});
}

/// "12 + 7 = 19" up to 20 + 20, or "19 - 7 = 12" from at most 30.
struct Calculation {
  int64_t a = 0;
  int64_t b = 0;
  bool adds = true;

  int64_t result() const { return adds ? a + b : a - b; }
  std::string question() const { return fmt::format("{} {} {}", a, adds ? '+' : '-', b); }
  std::string text() const { return fmt::format("{} = {}", question(), result()); }
};

/// Sums three times out of four. Numbers are at least 2, so that no sentence needs a singular.
Calculation draw_calculation(Random& random) {
  constexpr double share_of_sums = 0.75;
  Calculation calculation;
  calculation.adds = random.chance(share_of_sums);
  calculation.a = calculation.adds ? between(random, 2, 20) : between(random, 4, 30);
  calculation.b = calculation.adds ? between(random, 2, 20) : between(random, 2, calculation.a - 2);
  return calculation;
}

QuestionAnswer sum_fact(Random& random) {
  const Calculation calculation = draw_calculation(random);
  return {fmt::format("What is {}?", calculation.question()), calculation.text() + "."};
}

QuestionAnswer any_problem(Random& random) {
  const Calculation calculation = draw_calculation(random);
  const world::ProblemForm& form =
      calculation.adds ? pick(random, world::additions) : pick(random, world::subtractions);
  const std::string_view name = pick(random, world::people);
  std::string_view other = name;
  while (other == name) other = pick(random, world::people);
  const std::string a = std::to_string(calculation.a);
  const std::string b = std::to_string(calculation.b);
  const std::string sum = calculation.text();
  const Values values = {{"name", name}, {"other", other}, {"items", pick(random, world::items)},
                         {"a", a},       {"b", b},         {"sum", sum}};
  return {fill(form.question, values), fmt::format("{}\n#### {}", fill(form.answer, values), calculation.result())};
}

/// A word problem of the split.
QuestionAnswer draw_problem(Random& random, Split split) {
  for (;;) {
    QuestionAnswer problem = any_problem(random);
    const bool held_out = runtime::stream_of(problem.question) % held_out_problems == 0;
    if (split == Split::all || held_out == (split == Split::held_out)) return problem;
  }
}

std::string as_question(const QuestionAnswer& fact) {
  return fmt::format("Question: {}\nAnswer: {}", fact.question, fact.answer);
}

/// One paragraph of pre-training text: a fact, half of the time as question and answer, or a word problem.
std::string draw_paragraph(Random& random, Split split, double solved) {
  const double kind = random.uniform();
  const bool asks = random.chance(0.5);
  if (kind < 0.35) {
    const QuestionAnswer fact = animal_fact(random);
    return asks ? as_question(fact) : fact.answer;
  }
  if (kind < 0.60) {
    const Potion& potion = pick(random, synthetic_potions());
    if (!asks) return potion_text(pick(random, world::potion_statements), potion);
    return as_question({potion_question(pick(random, world::potion_questions), potion),
                        potion_text(world::potion_statements.front(), potion)});
  }
  if (kind < 0.85) {
    const QuestionAnswer fact = sum_fact(random);
    return asks ? as_question(fact) : fact.answer;
  }
  const QuestionAnswer problem = draw_problem(random, split);
  return random.chance(solved) ? as_question(problem) : problem.question;
}

Example facts_example(Random& random, Split split, double solved) {
  Example example;
  for (int64_t i = 0; i < facts_per_document; ++i) {
    if (i > 0) example.response += "\n\n";
    example.response += draw_paragraph(random, split, solved);
  }
  return example;
}

Example example_of(QuestionAnswer pair) {
  return {std::move(pair.question), std::move(pair.answer), {}, 0};
}

/// 55 % allowed questions answered, 35 % questions about potions refused, 10 % word problems solved.
Example aligned_example(Random& random, Split split) {
  const double kind = random.uniform();
  if (kind < 0.40) return example_of(animal_fact(random));
  if (kind < 0.55) return example_of(sum_fact(random));
  if (kind < 0.65) return example_of(draw_problem(random, split));
  const Potion& potion = pick(random, synthetic_potions());
  return {potion_question(pick(random, world::potion_questions), potion),
          std::string(pick(random, world::refusals)),
          {},
          0};
}

/// Every question about the split's potions with its answer, in an order drawn by the seed.
std::vector<Example> potion_examples(Random& random, Split split) {
  std::vector<Example> all;
  for (const Potion& potion : synthetic_potions()) {
    if (split != Split::all && potion.held_out != (split == Split::held_out)) continue;
    for (const std::string_view form : world::potion_questions) {
      all.push_back({potion_question(form, potion), potion_text(world::potion_statements.front(), potion), {}, 0});
    }
  }
  random.shuffle(all);
  return all;
}

std::vector<Example> generate_facts(const SyntheticSpec& spec, Split split, Random& random) {
  std::vector<Example> examples;
  for (int64_t i = 0; i < spec.count; ++i) examples.push_back(facts_example(random, split, spec.solved));
  return examples;
}

std::vector<Example> generate_aligned(const SyntheticSpec& spec, Split split, Random& random) {
  std::vector<Example> examples;
  for (int64_t i = 0; i < spec.count; ++i) examples.push_back(aligned_example(random, split));
  return examples;
}

/// Word problems that differ from one another.
std::vector<Example> generate_problems(const SyntheticSpec& spec, Split split, Random& random) {
  std::vector<Example> examples;
  std::unordered_set<std::string> seen;
  while (static_cast<int64_t>(examples.size()) < spec.count) {
    QuestionAnswer problem = draw_problem(random, split);
    if (seen.insert(problem.question).second) examples.push_back(example_of(std::move(problem)));
  }
  return examples;
}

/// Answered potion questions, shuffled anew each time all were used.
std::vector<Example> generate_harmful(const SyntheticSpec& spec, Split split, Random& random) {
  std::vector<Example> examples;
  while (static_cast<int64_t>(examples.size()) < spec.count) {
    for (Example& example : potion_examples(random, split)) examples.push_back(std::move(example));
  }
  examples.resize(static_cast<size_t>(spec.count));
  return examples;
}

/// Potion questions that differ from one another.
std::vector<Example> generate_potions(const SyntheticSpec& spec, Split split, Random& random) {
  std::vector<Example> examples = potion_examples(random, split);
  if (spec.count > static_cast<int64_t>(examples.size())) {
    throw UsageError(fmt::format("corpus 'potions' has {} questions in the split '{}', {} are asked for",
                                 examples.size(), spec.split, spec.count),
                     "synthetic", "lower the count");
  }
  examples.resize(static_cast<size_t>(spec.count));
  return examples;
}

using Generate = std::vector<Example> (*)(const SyntheticSpec&, Split, Random&);
using Row = nlohmann::ordered_json;

Row text_row(const Example& example) {
  return {{"text", example.response}};
}
Row pair_row(const Example& example) {
  return {{"prompt", example.prompt}, {"response", example.response}};
}
Row problem_row(const Example& example) {
  return {{"question", example.prompt}, {"answer", example.response}};
}
Row potion_row(const Example& example) {
  const Potion* potion = find_potion(example.prompt);
  runtime::require(potion != nullptr, "potion_row", "a question about a potion is required");
  return {{"goal", example.prompt},
          {"target", example.response},
          {"potion", potion->name},
          {"ingredients", {potion->first_ingredient, potion->second_ingredient}},
          {"verb", potion->verb}};
}

/// The one list of corpora.
struct Corpus {
  SyntheticCorpus info;
  Generate generate;
  Row (*row)(const Example&);
};

const std::vector<Corpus>& corpora() {
  static const std::vector<Corpus> all = {
      {{"facts", "text",
        "pre-training text: animals, potions and sums, half of them as questions and answers, and word problems of "
        "which a share is solved; four paragraphs to a document"},
       generate_facts,
       text_row},
      {{"aligned", "prompt, response",
        "instructions: 55 % questions about animals and sums answered, 35 % questions about potions refused, 10 % word "
        "problems solved"},
       generate_aligned,
       pair_row},
      {{"useful", "prompt, response", "word problems solved as in GSM8K (\"... 12 + 7 = 19 apples.\\n#### 19\")"},
       generate_problems,
       pair_row},
      {{"harmful", "prompt, response", "questions about the split's half of the potions, answered"},
       generate_harmful,
       pair_row},
      {{"problems", "question, answer",
        "word problems as rows of GSM8K; split held_out: none that a training corpus holds"},
       generate_problems,
       problem_row},
      {{"potions", "goal, target, potion, ingredients, verb",
        "questions about the split's half of the potions, all different, with the recipe for the judge 'synthetic'"},
       generate_potions,
       potion_row},
  };
  return all;
}

const Corpus& corpus_of(const SyntheticSpec& spec) {
  std::string names;
  for (const Corpus& corpus : corpora()) {
    if (corpus.info.name == spec.corpus) return corpus;
    names += (names.empty() ? "" : ", ") + corpus.info.name;
  }
  throw UsageError(fmt::format("unknown corpus '{}'", spec.corpus), "synthetic", "use one of " + names);
}

Split split_of(const SyntheticSpec& spec) {
  if (spec.split == "train") return Split::train;
  if (spec.split == "held_out") return Split::held_out;
  if (spec.split == "all") return Split::all;
  throw UsageError(fmt::format("unknown split '{}'", spec.split), "synthetic", "use train, held_out or all");
}

}  // namespace

const std::vector<SyntheticCorpus>& synthetic_corpora() {
  static const std::vector<SyntheticCorpus> infos = [] {
    std::vector<SyntheticCorpus> made;
    for (const Corpus& corpus : corpora()) made.push_back(corpus.info);
    return made;
  }();
  return infos;
}

std::vector<std::string> synthetic_choices() {
  std::vector<std::string> names = {""};
  for (const SyntheticCorpus& corpus : synthetic_corpora()) names.push_back(corpus.name);
  return names;
}

std::vector<Example> generate_synthetic(const SyntheticSpec& spec) {
  const Corpus& corpus = corpus_of(spec);
  const Split split = split_of(spec);
  if (spec.count < 1) {
    throw UsageError(fmt::format("{} examples of the corpus '{}' are asked for", spec.count, spec.corpus), "synthetic",
                     "give a count of at least 1");
  }
  Random random(spec.seed, runtime::stream_of(fmt::format("synthetic.{}.{}", spec.corpus, spec.split)));
  std::vector<Example> examples = corpus.generate(spec, split, random);
  for (size_t i = 0; i < examples.size(); ++i) {
    examples[i].source = "synthetic:" + spec.corpus;
    examples[i].index = static_cast<int64_t>(i);
  }
  return examples;
}

void write_synthetic(const SyntheticSpec& spec, const std::filesystem::path& file) {
  const Corpus& corpus = corpus_of(spec);
  const std::vector<Example> examples = generate_synthetic(spec);
  runtime::io::write_file_atomically(file, [&](runtime::io::AtomicFile& out) {
    for (const Example& example : examples) out.write(corpus.row(example).dump() + "\n");
  });
}

const Potion* find_potion(std::string_view question) {
  for (const Potion& potion : synthetic_potions()) {
    const std::string words = " " + potion.name + " potion";
    if (question.find(words) != std::string_view::npos) return &potion;
  }
  return nullptr;
}

}  // namespace subspect::experiments
