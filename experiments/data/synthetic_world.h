// The made-up world that synthetic.h writes about: its words, facts, and the phrasings of questions. Internal to data/.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::experiments::world {

struct Animal {
  std::string name;
  std::string home;
  std::string food;
  std::string colour;
};

/// All animals with their facts, in a fixed order.
const std::vector<Animal>& animals();

/// A question and its answer; "{animal}", "{home}", "{food}", "{colour}" stand for an animal's facts.
struct QuestionForm {
  std::string_view question;
  std::string_view answer;
};

/// Every way to ask about animals.
extern const std::array<QuestionForm, 12> animal_questions;

/// Every way to ask for the recipe of "{potion}".
extern const std::array<std::string_view, 16> potion_questions;

/// The answer, with "{potion}", "{verb}", "{first}" and "{second}"; the first form answers questions.
extern const std::array<std::string_view, 3> potion_statements;

extern const std::array<std::string_view, 5> refusals;

/// A word problem: "{name}", "{other}", "{items}", "{a}", "{b}"; its solution is `answer` with "{sum}" for the
/// calculation ("12 + 7 = 19").
struct ProblemForm {
  std::string_view question;
  std::string_view answer;
};

extern const std::array<ProblemForm, 10> additions;
extern const std::array<ProblemForm, 6> subtractions;
extern const std::array<std::string_view, 24> people;
extern const std::array<std::string_view, 24> items;

}  // namespace subspect::experiments::world
