// A hostile tokenizer.json, with text to tokenize behind its last line: what loads must encode any text in bounds, and
// decode its own ids.
#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace subspect::fuzz {

namespace {

constexpr std::string_view fixed_text =
    "The quick  brown fox's 12345 jumps,\n\tna\xc3\xafve \xe6\x97\xa5\xe6\x9c\xac <s>!";

void use(const model::Tokenizer& tokenizer, std::string_view text) {
  const model::Encoding encoding = tokenizer.encode(text);
  FUZZ_CHECK(encoding.ids.size() == encoding.offsets.size());
  for (const model::TextSpan& span : encoding.offsets) {
    FUZZ_CHECK(span.begin >= 0 && span.begin <= span.end && span.end <= static_cast<int64_t>(text.size()));
  }
  tokenizer.decode(encoding.ids);
}

}  // namespace

void fuzz_one(std::string_view input) {
  const size_t split = input.rfind('\n');
  const std::string_view json = input.substr(0, split);
  const auto tokenizer = model::Tokenizer::parse(std::string(json), "", "tokenizer.json");
  use(tokenizer, fixed_text);
  if (split != std::string_view::npos) use(tokenizer, input.substr(split + 1));
}

}  // namespace subspect::fuzz
