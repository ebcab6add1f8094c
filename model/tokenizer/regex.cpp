// PCRE2 behind Oniguruma's syntax.
//
// With UTF and UCP both engines read the expressions of the supported families alike but for: \s, which in PCRE2
// includes U+180E; \w, which in Oniguruma is Alphabetic, Mark, Decimal_Number and Connector_Punctuation; \h, which is a
// hexadecimal digit in one and horizontal space in the other; and ^ and $, which in Oniguruma's Ruby syntax match at
// every line. These are translated, and the categories L, M and N are brought to the Unicode version of `tokenizers`.
// Nested character classes and && are refused.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer/regex.h"

#include <pcre2.h>

#include <array>
#include <cctype>

#include "model/tokenizer/json_reader.h"
#include "model/tokenizer/unicode_supplement.h"
#include "runtime/error.h"

namespace subspect::model::tokenizer {

using runtime::Error;

namespace {

constexpr std::string_view space_class =
    "\\t-\\r\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";
constexpr std::string_view not_space_class =
    "\\x{0}-\\x{8}\\x{E}-\\x{1F}\\x{21}-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}"
    "\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{10FFFF}";
constexpr std::string_view word_extra =
    "\\p{Pc}\\p{Nl}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}"
    "\\x{1F170}-\\x{"
    "1F189}";

template <class Ranges>
std::string spell(const Ranges& ranges) {
  std::string text;
  for (const CodeRange& range : ranges) {
    text +=
        fmt::format("\\x{{{:X}}}-\\x{{{:X}}}", static_cast<uint32_t>(range.first), static_cast<uint32_t>(range.last));
  }
  return text;
}

/// The members of a general category, in all its parts; empty for those that are left to PCRE2.
std::string category(std::string_view name) {
  if (name == "L") return "\\p{L}" + spell(newer_letters);
  if (name == "M") return "\\p{M}" + spell(newer_marks);
  if (name == "Nd") return "\\p{Nd}" + spell(newer_digits);
  if (name == "N") return "\\p{N}" + spell(newer_digits) + spell(newer_numbers);
  return "";
}

/// What \w matches.
const std::string& word() {
  static const std::string members = category("L") + category("M") + category("Nd") + std::string(word_extra);
  return members;
}

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    for (; position_ < pattern_.size(); ++position_) {
      const char c = pattern_[position_];
      if (c == '\\') {
        escape();
      } else if (c == '[') {
        open_class();
      } else if (c == ']') {
        in_class_ = false;
        out_ += c;
      } else {
        if (in_class_ && c == '&' && pattern_.substr(position_, 2) == "&&") refuse("&& in a character class");
        out_ += c;
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(fmt::format("{} in the regular expression {} is not supported", what, pattern_), where_,
                "use a tokenizer of the Llama, Mistral or Qwen families");
  }

  void open_class() {
    if (in_class_) refuse("a nested character class");
    in_class_ = true;
    out_ += '[';
    if (position_ + 1 < pattern_.size() && pattern_[position_ + 1] == '^') {
      out_ += '^';
      ++position_;
    }
    if (position_ + 1 < pattern_.size() && pattern_[position_ + 1] == ']') {  // a literal bracket
      out_ += "\\]";
      ++position_;
    }
  }

  void set(std::string_view members, bool negated) {
    if (!in_class_) {
      out_ += fmt::format("[{}{}]", negated ? "^" : "", members);
    } else if (!negated) {
      out_ += members;
    } else {
      refuse("a negated escape inside a character class");
    }
  }

  void escape() {
    if (position_ + 1 == pattern_.size()) refuse("a backslash at the end");
    const char c = pattern_[++position_];
    switch (c) {
      case 's':
        return set(space_class, false);
      case 'S':
        return in_class_ ? set(not_space_class, false) : set(space_class, true);
      case 'w':
        return set(word(), false);
      case 'W':
        return set(word(), true);
      case 'd':
        return set(category("Nd"), false);
      case 'p':
      case 'P':
        if (property(c == 'P')) return;
        break;
      case 'h':
        return set("0-9a-fA-F", false);
      case 'H':
        return set("0-9a-fA-F", true);
      case 'b':
      case 'B':
        if (!in_class_) return boundary(c == 'B');
        break;
      default:
        break;
    }
    out_ += '\\';
    out_ += c;
  }

  /// Spells out \p{NAME} or \P{NAME}; false where PCRE2's own reading will do.
  bool property(bool negated) {
    const std::string_view rest = pattern_.substr(position_ + 1);
    const size_t end = rest.find('}');
    if (!rest.starts_with('{') || end == std::string_view::npos || (negated && in_class_)) return false;
    const std::string members = category(rest.substr(1, end - 1));
    if (members.empty()) return false;
    set(members, negated);
    position_ += end + 1;
    return true;
  }

  void boundary(bool negated) {
    if (negated) {
      out_ += fmt::format("(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))", word());
    } else {
      out_ += fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", word());
    }
  }

  std::string_view pattern_;
  const std::string& where_;
  std::string out_;
  size_t position_ = 0;
  bool in_class_ = false;
};

std::string message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

std::string translate_oniguruma(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

struct RegexScratch::State {
  // The machine stack serves short matches; long ones may need more, up to this.
  static constexpr size_t jit_stack_bytes = 64 << 20;

  State() {
    data = pcre2_match_data_create(1, nullptr);
    context = pcre2_match_context_create(nullptr);
    stack = pcre2_jit_stack_create(32 << 10, jit_stack_bytes, nullptr);
    if (data == nullptr || context == nullptr) throw std::bad_alloc();
    pcre2_set_match_limit(context, UINT32_MAX);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

RegexScratch::RegexScratch() : state_(std::make_unique<State>()) {}
RegexScratch::~RegexScratch() = default;
RegexScratch::RegexScratch(RegexScratch&&) noexcept = default;

struct Regex::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* code;
};

Regex::Regex(std::string_view pattern, const std::string& where) {
  compile(translate_oniguruma(pattern, where), pattern, where);
}

Regex Regex::literal(std::string_view text, const std::string& where) {
  std::string quoted;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && std::isalnum(static_cast<unsigned char>(c)) == 0) quoted += '\\';
    quoted += c;
  }
  Regex result;
  result.compile(quoted, text, where);
  return result;
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

void Regex::compile(const std::string& translated, std::string_view pattern, const std::string& where) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    throw Error(fmt::format("the regular expression {} does not compile: {}", pattern, message(error)), where,
                "the file is damaged or of an unsupported family");
  }
  code_ = std::make_unique<Code>(code);
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without a JIT, pcre2_match interprets
}

void Regex::find_all(std::string_view text, RegexScratch& scratch, Ranges& matches) const {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* ovector = pcre2_get_ovector_pointer(scratch.state_->data);
  PCRE2_SIZE position = 0;
  while (position < text.size()) {
    const int status = pcre2_match(code_->code, subject, text.size(), position, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                                   scratch.state_->data, scratch.state_->context);
    if (status == PCRE2_ERROR_NOMATCH) return;
    if (status < 0) {
      throw Error(fmt::format("matching failed: {}", message(status)), "tokenizer regular expression",
                  "split the text into shorter parts");
    }
    matches.emplace_back(ovector[0], ovector[1]);
    position = ovector[1];
  }
}

Regex read_pattern(const JsonPart& part) {
  if (part.has("Regex")) return {part.at("Regex").text(), part.where};
  const std::string text = part.at("String").text();
  if (text.empty()) part.fail("an empty pattern");
  return Regex::literal(text, part.where);
}

}  // namespace subspect::model::tokenizer
