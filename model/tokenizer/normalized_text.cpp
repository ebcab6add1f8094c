// Changing a text while keeping its alignment with the original.
#include "model/tokenizer/normalized_text.h"

#include "model/tokenizer/unicode.h"

namespace subspect::model::tokenizer {

NormalizedText::NormalizedText(const NormalizedText& source, size_t begin, size_t end)
    : text_(source.text_, begin, end - begin), begin_(source.original(begin, end).begin) {
  if (source.alignment_.empty()) return;
  alignment_.assign(source.alignment_.begin() + static_cast<std::ptrdiff_t>(begin),
                    source.alignment_.begin() + static_cast<std::ptrdiff_t>(end));
}

ByteSpan NormalizedText::original(size_t begin, size_t end) const {
  if (!alignment_.empty()) return {alignment_[begin].begin, alignment_[end - 1].end};
  while (begin > 0 && is_continuation(text_[begin])) --begin;
  while (end < text_.size() && is_continuation(text_[end])) ++end;
  return {begin_ + static_cast<uint32_t>(begin), begin_ + static_cast<uint32_t>(end)};
}

void NormalizedText::align() {
  if (!alignment_.empty()) return;
  alignment_.reserve(text_.size());
  for (size_t position = 0; position < text_.size();) {
    const size_t length = sequence_length(text_[position]);
    const auto begin = begin_ + static_cast<uint32_t>(position);
    alignment_.insert(alignment_.end(), length, {begin, begin + static_cast<uint32_t>(length)});
    position += length;
  }
}

ByteSpan NormalizedText::before(size_t position) const {
  return position == 0 ? ByteSpan{begin_, begin_} : alignment_[position - 1];
}

void NormalizedText::prepend(std::string_view prefix) {
  if (text_.empty()) return;
  align();
  const ByteSpan first = alignment_.front();
  alignment_.insert(alignment_.begin(), prefix.size(), first);
  text_.insert(0, prefix);
}

void NormalizedText::replace(const std::vector<std::pair<size_t, size_t>>& ranges, std::string_view content) {
  if (ranges.empty()) return;
  align();
  std::string text;
  std::vector<ByteSpan> alignment;
  text.reserve(text_.size() + ranges.size() * content.size());
  alignment.reserve(text.capacity());
  const auto keep = [&](size_t begin, size_t end) {
    text.append(text_, begin, end - begin);
    alignment.insert(alignment.end(), alignment_.begin() + static_cast<std::ptrdiff_t>(begin),
                     alignment_.begin() + static_cast<std::ptrdiff_t>(end));
  };
  size_t position = 0;
  for (const auto& [begin, end] : ranges) {
    keep(position, begin);
    text.append(content);
    alignment.insert(alignment.end(), content.size(), before(end));
    position = end;
  }
  keep(position, text_.size());
  text_ = std::move(text);
  alignment_ = std::move(alignment);
}

void NormalizedText::transform(const std::vector<CharChange>& changes, size_t removed) {
  align();
  std::string text;
  std::vector<ByteSpan> alignment;
  text.reserve(text_.size());
  alignment.reserve(text_.size());
  size_t position = 0;  // of the next old character
  const auto skip = [&](size_t count) {
    for (; count > 0 && position < text_.size(); --count) position += sequence_length(text_[position]);
  };
  skip(removed);
  for (const CharChange& change : changes) {
    const bool is_new = change.change > 0 || position >= text_.size();
    const ByteSpan span = is_new ? before(position) : alignment_[position];
    append_utf8(text, change.code_point);
    alignment.resize(text.size(), span);
    if (change.change <= 0) skip(1 + static_cast<size_t>(-change.change));
  }
  text_ = std::move(text);
  alignment_ = std::move(alignment);
}

}  // namespace subspect::model::tokenizer
