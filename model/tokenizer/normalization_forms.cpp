// Normalization forms: decomposition, canonical ordering and composition over code points, with utf8proc's data.
#include "model/tokenizer/normalization_forms.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>

#include "model/tokenizer/unicode.h"

namespace subspect::model::tokenizer {

namespace {

// STABLE keeps the composition exclusions.
constexpr auto compose_option = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);

int combining_class(char32_t c) {
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

/// The full decomposition of one code point, canonical or compatible; its length.
size_t decompose(char32_t c, bool compatible, std::array<utf8proc_int32_t, 32>& out) {
  int boundary = 0;
  const auto options = compatible ? UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT : UTF8PROC_DECOMPOSE;
  const auto length = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), out.data(), out.size(),
                                              static_cast<utf8proc_option_t>(options), &boundary);
  if (length >= 1 && length <= static_cast<utf8proc_ssize_t>(out.size())) return static_cast<size_t>(length);
  out[0] = static_cast<utf8proc_int32_t>(c);
  return 1;
}

/// The primary composite of a pair, or 0.
char32_t compose(char32_t first, char32_t second) {
  std::array<utf8proc_int32_t, 3> pair = {static_cast<utf8proc_int32_t>(first), static_cast<utf8proc_int32_t>(second),
                                          0};
  const auto length = utf8proc_normalize_utf32(pair.data(), 2, compose_option);
  return length == 1 ? static_cast<char32_t>(pair[0]) : 0;
}

/// Whether a code point can stand in a text of a form whatever surrounds it: it does not decompose (for the composing
/// forms: comes back when composed), is no combining mark and composes with nothing before it.
bool compute_inert(char32_t c, NormalizationForm form) {
  if (combining_class(c) != 0) return false;
  const bool compatible = form == NormalizationForm::nfkc || form == NormalizationForm::nfkd;
  std::array<utf8proc_int32_t, 32> parts;
  size_t length = decompose(c, compatible, parts);
  if (form == NormalizationForm::nfd || form == NormalizationForm::nfkd) {
    return length == 1 && static_cast<char32_t>(parts[0]) == c;
  }
  const auto composed = utf8proc_normalize_utf32(parts.data(), static_cast<utf8proc_ssize_t>(length), compose_option);
  if (composed != 1 || static_cast<char32_t>(parts[0]) != c) return false;
  // utf8proc marks second halves of pairs in comb_index; Hangul vowels and trailing consonants compose by rule.
  const auto index = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->comb_index;
  const bool second_half = index != UINT16_MAX && (index & 0x8000) != 0;
  return !second_half && !(c >= 0x1161 && c <= 0x11FF);
}

/// `compute_inert`, remembered per code point: 0 unknown, 1 no, 2 yes.
bool is_inert(char32_t c, NormalizationForm form) {
  constexpr size_t code_points = 0x110000;
  static const auto known = std::make_unique<std::array<std::array<std::atomic<uint8_t>, code_points>, 4>>();
  auto& entry = (*known)[static_cast<size_t>(form)][c];
  uint8_t state = entry.load(std::memory_order_relaxed);
  if (state == 0) {
    state = compute_inert(c, form) ? 2 : 1;
    entry.store(state, std::memory_order_relaxed);
  }
  return state == 2;
}

bool is_normalized(const std::string& text, NormalizationForm form) {
  const bool compatible = form == NormalizationForm::nfkc || form == NormalizationForm::nfkd;
  const bool composing = form == NormalizationForm::nfc || form == NormalizationForm::nfkc;
  const char32_t first_unsafe = compatible ? 0xA0 : composing ? 0x300 : 0xC0;
  for (size_t position = 0; position < text.size();) {
    if (static_cast<unsigned char>(text[position]) < 0x80) {
      ++position;
      continue;
    }
    const char32_t c = next_code_point(text, position);
    if (c >= first_unsafe && !is_inert(c, form)) return false;
  }
  return true;
}

std::vector<CharChange> decomposed(const std::string& text, bool compatible) {
  std::vector<CharChange> result;
  result.reserve(text.size());
  std::array<utf8proc_int32_t, 32> parts;
  for (size_t position = 0; position < text.size();) {
    const char32_t c = next_code_point(text, position);
    if (c < 0x80) {
      result.push_back({c, 0});
      continue;
    }
    const size_t length = decompose(c, compatible, parts);
    for (size_t i = 0; i < length; ++i) result.push_back({static_cast<char32_t>(parts[i]), i == 0 ? 0 : 1});
  }
  return result;
}

/// Canonical ordering: each run of combining marks sorted stably by class.
void order(std::vector<CharChange>& changes) {
  for (size_t begin = 0; begin < changes.size();) {
    if (combining_class(changes[begin].code_point) == 0) {
      ++begin;
      continue;
    }
    size_t end = begin;
    while (end < changes.size() && combining_class(changes[end].code_point) != 0) ++end;
    std::stable_sort(changes.begin() + static_cast<std::ptrdiff_t>(begin),
                     changes.begin() + static_cast<std::ptrdiff_t>(end), [](const CharChange& a, const CharChange& b) {
                       return combining_class(a.code_point) < combining_class(b.code_point);
                     });
    begin = end;
  }
}

/// Canonical composition. A mark that is absorbed counts as one more old character that its starter replaces.
std::vector<CharChange> composed(const std::vector<CharChange>& changes) {
  std::vector<CharChange> result;
  result.reserve(changes.size());
  constexpr size_t no_starter = SIZE_MAX;
  size_t starter = no_starter;  // index in result
  int last_class = -1;          // of what stands between the starter and here; -1: nothing
  for (const CharChange& change : changes) {
    const int own_class = combining_class(change.code_point);
    if (starter != no_starter && (last_class == -1 || last_class < own_class)) {
      const char32_t composite = compose(result[starter].code_point, change.code_point);
      if (composite != 0) {
        result[starter] = {composite, result[starter].change + change.change - 1};
        continue;
      }
    }
    if (own_class == 0) {
      starter = result.size();
      last_class = -1;
    } else {
      last_class = own_class;
    }
    result.push_back(change);
  }
  return result;
}

}  // namespace

void normalize(NormalizedText& text, NormalizationForm form) {
  if (is_normalized(text.text(), form)) return;
  const bool compatible = form == NormalizationForm::nfkc || form == NormalizationForm::nfkd;
  const bool composing = form == NormalizationForm::nfc || form == NormalizationForm::nfkc;
  std::vector<CharChange> changes = decomposed(text.text(), compatible);
  order(changes);
  text.transform(composing ? composed(changes) : changes);
}

}  // namespace subspect::model::tokenizer
