// What a judge answers: any text gives a score from 1 to 5, or none.
#include "experiments/judge/model_judge.h"
#include "tests/fuzz/fuzz.h"

namespace subspect::fuzz {

void fuzz_one(std::string_view input) {
  const experiments::Judgement judgement = experiments::parse_judgement(input);
  FUZZ_CHECK(judgement.score >= 0 && judgement.score <= 5);
  FUZZ_CHECK(experiments::parse_judgement(input) == judgement);
}

}  // namespace subspect::fuzz
