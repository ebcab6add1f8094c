// Byte-pair encoding: merges the pair of lowest rank, leftmost first, until none is left.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/vocabulary.h"

namespace subspect::model::tokenizer {

/// A token and the number of bytes of the piece that it stands for.
struct TokenLength {
  int32_t id;
  uint32_t bytes;
};

/// Pairs of tokens, their ranks and what they become: an open-addressing hash table.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank = 0;
    int32_t id = -1;  ///< -1: no such merge
  };

  explicit MergeTable(size_t count = 0);
  /// Adds a pair; a pair that is there already takes the new rank.
  void insert(int32_t left, int32_t right, Merge merge);

  Merge find(int32_t left, int32_t right) const {
    const uint64_t key = make_key(left, right);
    for (size_t slot = hash(key) & mask_;; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].merge;
      if (slots_[slot].key == empty_key) return {};
    }
  }

 private:
  static constexpr uint64_t empty_key = UINT64_MAX;
  struct Slot {
    uint64_t key = empty_key;
    Merge merge;
  };

  static uint64_t make_key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  static size_t hash(uint64_t key) {
    key *= 0x9E3779B97F4A7C15ULL;
    return static_cast<size_t>(key ^ (key >> 32));
  }

  std::vector<Slot> slots_;
  size_t mask_;
};

/// What encoding needs besides the model, one per thread: work space, and the words seen so far.
class BpeScratch {
 public:
  /// Candidate merges looked at so far, which the time of a long piece grows with.
  uint64_t candidates() const { return candidates_; }

 private:
  friend class Bpe;

  struct Symbol {
    int32_t id;
    int32_t previous;
    int32_t next;
    uint32_t bytes;  ///< 0: merged away
  };
  struct Candidate {
    uint32_t rank;
    int32_t position;
    int32_t id;

    /// The heap's order: lowest rank, then leftmost.
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
  uint64_t candidates_ = 0;
  std::unordered_map<std::string, std::vector<TokenLength>, TextHash, std::equal_to<>> cache_;
};

struct BpeOptions {
  std::string unk_token;  ///< empty: characters outside the vocabulary vanish
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;  ///< a piece that is in the vocabulary is one token
};

/// A merge as the file writes it.
struct NamedMerge {
  std::string left;
  std::string right;
};

class Bpe {
 public:
  /// @param vocabulary outlives this. @param where names the file in errors. Throws Error for merges of tokens, or into
  /// tokens, that the vocabulary does not have.
  Bpe(const Vocabulary& vocabulary, const std::vector<NamedMerge>& merges, BpeOptions options,
      const std::string& where);

  /// Appends the tokens of a piece of UTF-8, or, with `bytes`, of bytes to be read in the byte-level alphabet.
  void encode(std::string_view piece, bool bytes, BpeScratch& scratch, std::vector<TokenLength>& out) const;

  /// Whether the vocabulary has all 256 characters of the byte-level alphabet.
  bool has_all_bytes() const { return has_all_bytes_; }
  const BpeOptions& options() const { return options_; }

 private:
  void encode_word(std::string_view word, bool bytes, BpeScratch& scratch, std::vector<TokenLength>& out) const;
  void add_characters(std::string_view word, BpeScratch& scratch) const;
  bool add_byte_tokens(std::string_view character, BpeScratch& scratch) const;
  void merge_all(BpeScratch& scratch) const;
  void merge_at(const BpeScratch::Candidate& candidate, BpeScratch& scratch) const;
  void find_word_boundary(const std::vector<NamedMerge>& merges);

  const Vocabulary& vocabulary_;
  BpeOptions options_;
  MergeTable merges_;
  int32_t unk_ = -1;
  int32_t byte_characters_[256];  // ids of the byte-level alphabet
  int32_t byte_tokens_[256];      // ids of <0x00> to <0xFF>
  bool has_all_bytes_ = true;
  /// No merge crosses from another character into U+2581, so that words can be encoded one by one.
  bool splits_at_metaspace_ = false;
};

}  // namespace subspect::model::tokenizer
