// Byte-pair encoding with a heap of candidate merges: O(n log n) in the length of a piece.
#include "model/tokenizer/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/unicode.h"
#include "runtime/error.h"

namespace subspect::model::tokenizer {

using runtime::Error;

namespace {

constexpr std::string_view metaspace_text = "\xE2\x96\x81";  // U+2581
constexpr size_t max_cached_bytes = 256;                     // of a word
constexpr size_t max_cached_words = 1 << 16;

}  // namespace

MergeTable::MergeTable(size_t count) : slots_(std::bit_ceil(2 * count + 2)), mask_(slots_.size() - 1) {}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = make_key(left, right);
  size_t slot = hash(key) & mask_;
  while (slots_[slot].key != empty_key && slots_[slot].key != key) slot = (slot + 1) & mask_;
  slots_[slot] = {key, merge};
}

Bpe::Bpe(const Vocabulary& vocabulary, const std::vector<NamedMerge>& merges, BpeOptions options,
         const std::string& where)
    : vocabulary_(vocabulary), options_(std::move(options)), merges_(merges.size()) {
  const auto need = [&](const std::string& token, size_t rank) {
    if (const auto id = vocabulary_.find(token)) return *id;
    throw Error(fmt::format("merge {} needs the token \"{}\", which is not in the vocabulary", rank, token), where,
                "the file is damaged: fetch it again");
  };
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const int32_t left_id = need(left, rank);
    const int32_t right_id = need(right, rank);
    merges_.insert(left_id, right_id, {static_cast<uint32_t>(rank), need(left + right, rank)});
  }
  if (!options_.unk_token.empty()) {
    const auto unk = vocabulary_.find(options_.unk_token);
    if (!unk) {
      throw Error(fmt::format("the unknown token \"{}\" is not in the vocabulary", options_.unk_token), where,
                  "the file is damaged: fetch it again");
    }
    unk_ = *unk;
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    byte_characters_[byte] = vocabulary_.find(spell_bytes(std::string(1, static_cast<char>(byte)))).value_or(-1);
    byte_tokens_[byte] = vocabulary_.find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
    has_all_bytes_ = has_all_bytes_ && byte_characters_[byte] >= 0;
  }
  find_word_boundary(merges);
}

void Bpe::find_word_boundary(const std::vector<NamedMerge>& merges) {
  splits_at_metaspace_ = vocabulary_.find(metaspace_text).has_value() && !options_.ignore_merges;
  for (const auto& [left, right] : merges) {
    if (right.starts_with(metaspace_text) && !left.ends_with(metaspace_text)) splits_at_metaspace_ = false;
  }
}

void Bpe::encode(std::string_view piece, bool bytes, BpeScratch& scratch, std::vector<TokenLength>& out) const {
  if (bytes || !splits_at_metaspace_) return encode_word(piece, bytes, scratch, out);
  // A word is a run of U+2581 and what follows it up to the next.
  size_t begin = 0;
  while (begin < piece.size()) {
    size_t end = begin;
    while (piece.substr(end).starts_with(metaspace_text)) end += metaspace_text.size();
    end = std::min(piece.find(metaspace_text, end), piece.size());
    encode_word(piece.substr(begin, end - begin), bytes, scratch, out);
    begin = end;
  }
}

void Bpe::encode_word(std::string_view word, bool bytes, BpeScratch& scratch, std::vector<TokenLength>& out) const {
  const bool cacheable = word.size() <= max_cached_bytes;
  if (cacheable) {
    const auto found = scratch.cache_.find(word);
    if (found != scratch.cache_.end()) {
      out.insert(out.end(), found->second.begin(), found->second.end());
      return;
    }
  }
  const size_t first = out.size();
  const auto whole = options_.ignore_merges ? vocabulary_.find(bytes ? spell_bytes(word) : std::string(word))
                                            : std::optional<int32_t>();
  if (whole) {
    out.push_back({*whole, static_cast<uint32_t>(word.size())});
  } else {
    scratch.symbols_.clear();
    if (bytes) {
      for (const char byte : word) {
        const auto position = static_cast<int32_t>(scratch.symbols_.size());
        scratch.symbols_.push_back({byte_characters_[static_cast<unsigned char>(byte)], position - 1, position + 1, 1});
      }
    } else {
      add_characters(word, scratch);
    }
    merge_all(scratch);
    for (const auto& symbol : scratch.symbols_) {
      if (symbol.bytes > 0) out.push_back({symbol.id, symbol.bytes});
    }
  }
  if (!cacheable) return;
  if (scratch.cache_.size() >= max_cached_words) scratch.cache_.clear();
  scratch.cache_.emplace(word, std::vector<TokenLength>(out.begin() + static_cast<std::ptrdiff_t>(first), out.end()));
}

void Bpe::add_characters(std::string_view word, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols_;
  const auto add = [&](int32_t id, uint32_t bytes) {
    const auto position = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, position - 1, position + 1, bytes});
  };
  uint32_t unknown = 0;  // bytes of the unknown token that waits to be added
  for (size_t position = 0; position < word.size();) {
    const std::string_view character = word.substr(position, sequence_length(word[position]));
    position += character.size();
    const auto length = static_cast<uint32_t>(character.size());
    if (const auto id = vocabulary_.find(character)) {
      if (unknown > 0) add(unk_, std::exchange(unknown, 0));
      add(*id, length);
    } else if (options_.byte_fallback && add_byte_tokens(character, scratch)) {
      continue;  // an unknown token that waits is added later: so does `tokenizers`
    } else if (unk_ >= 0) {
      if (unknown > 0 && !options_.fuse_unk) add(unk_, std::exchange(unknown, 0));
      unknown += length;
    }
  }
  if (unknown > 0) add(unk_, unknown);
}

bool Bpe::add_byte_tokens(std::string_view character, BpeScratch& scratch) const {
  for (const char byte : character) {
    if (byte_tokens_[static_cast<unsigned char>(byte)] < 0) return false;
  }
  for (const char byte : character) {
    const auto position = static_cast<int32_t>(scratch.symbols_.size());
    scratch.symbols_.push_back({byte_tokens_[static_cast<unsigned char>(byte)], position - 1, position + 1, 1});
  }
  return true;
}

void Bpe::merge_all(BpeScratch& scratch) const {
  auto& symbols = scratch.symbols_;
  auto& heap = scratch.heap_;
  if (symbols.empty()) return;
  symbols.back().next = -1;
  heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    const auto merge = merges_.find(symbols[i].id, symbols[i + 1].id);
    if (merge.id >= 0) heap.push_back({merge.rank, static_cast<int32_t>(i), merge.id});
  }
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const auto candidate = heap.back();
    heap.pop_back();
    ++scratch.candidates_;
    merge_at(candidate, scratch);
  }
}

void Bpe::merge_at(const BpeScratch::Candidate& candidate, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols_;
  const auto at = [&](int32_t i) -> auto& {
    return symbols[static_cast<size_t>(i)];
  };
  auto& left = at(candidate.position);
  if (left.bytes == 0 || left.next < 0) return;
  auto& right = at(left.next);
  // A candidate is stale when its pair has changed, unless what is there now becomes the same token.
  if (merges_.find(left.id, right.id).id != candidate.id) return;
  left.id = candidate.id;
  left.bytes += right.bytes;
  left.next = right.next;
  right.bytes = 0;
  if (left.next >= 0) at(left.next).previous = candidate.position;
  const auto offer = [&](int32_t position) {
    const auto merge = merges_.find(at(position).id, at(at(position).next).id);
    if (merge.id < 0) return;
    scratch.heap_.push_back({merge.rank, position, merge.id});
    std::push_heap(scratch.heap_.begin(), scratch.heap_.end());
  };
  if (left.previous >= 0) offer(left.previous);
  if (left.next >= 0) offer(candidate.position);
}

}  // namespace subspect::model::tokenizer
