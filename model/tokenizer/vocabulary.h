// Vocabulary: token texts and ids, both ways.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/json_reader.h"

namespace subspect::model::tokenizer {

class Vocabulary {
 public:
  Vocabulary() = default;
  /// Reads an object of token: id. Throws Error for ids that are negative, huge or given twice.
  explicit Vocabulary(const JsonPart& part);
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  /// Checks that `id` can be one. @param where says whose it is.
  static int32_t check_id(int64_t id, const JsonPart& where);

  /// Adds a token that is new, with an id that is free.
  void add(std::string token, int32_t id);

  std::optional<int32_t> find(std::string_view token) const;
  /// The token, or null for an id that has none.
  const std::string* token(int64_t id) const;
  /// One more than the highest id.
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }

 private:
  std::deque<std::string> texts_;           // stable addresses
  std::vector<const std::string*> tokens_;  // by id; null where there is none
  std::unordered_map<std::string_view, int32_t> ids_;
};

}  // namespace subspect::model::tokenizer
