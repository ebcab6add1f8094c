// The vocabulary.
#include "model/tokenizer/vocabulary.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace subspect::model::tokenizer {

namespace {

// Ten times the largest vocabulary in use; a damaged id must not allocate gigabytes.
constexpr int64_t max_id = 1 << 24;

}  // namespace

int32_t Vocabulary::check_id(int64_t id, const JsonPart& where) {
  if (id < 0 || id >= max_id) where.fail(fmt::format("token id {} is out of range (0 to {})", id, max_id - 1));
  return static_cast<int32_t>(id);
}

Vocabulary::Vocabulary(const JsonPart& part) {
  if (!part.value.is_object()) part.fail("an object of token: id is required");
  ids_.reserve(part.value.size());
  tokens_.reserve(part.value.size());
  for (const auto& [text, value] : part.value.items()) {
    const int32_t id = check_id(JsonPart{value, part.where}.integer(), part);
    if (const std::string* other = token(id)) {
      part.fail(fmt::format("token id {} is given twice, to \"{}\" and \"{}\"", id, *other, text));
    }
    add(text, id);
  }
}

void Vocabulary::add(std::string token, int32_t id) {
  const std::string& stored = texts_.emplace_back(std::move(token));
  if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<size_t>(id) + 1, nullptr);
  tokens_[static_cast<size_t>(id)] = &stored;
  ids_.emplace(stored, id);
}

std::optional<int32_t> Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Vocabulary::token(int64_t id) const {
  return id >= 0 && id < size() ? tokens_[static_cast<size_t>(id)] : nullptr;
}

}  // namespace subspect::model::tokenizer
