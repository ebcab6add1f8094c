// The registry of architectures: a new family is one file in this folder and one line of the list below.
#include <algorithm>
#include <array>

#include "model/architectures/architecture.h"

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage): one line declares and lists a family
#define SUBSPECT_ARCHITECTURES(family) family(llama) family(mistral) family(qwen2) family(qwen3) family(seed_oss)

namespace subspect::model {

#define SUBSPECT_DECLARE(family) extern const Architecture family##_architecture;
SUBSPECT_ARCHITECTURES(SUBSPECT_DECLARE)
#undef SUBSPECT_DECLARE

namespace {

#define SUBSPECT_LIST(family) &family##_architecture,
constexpr std::array registry = {SUBSPECT_ARCHITECTURES(SUBSPECT_LIST)};
#undef SUBSPECT_LIST

}  // namespace

std::span<const Architecture* const> architectures() {
  return registry;
}

const Architecture* find_architecture(std::string_view model_type) {
  const auto* found = std::find_if(registry.begin(), registry.end(),
                                   [&](const Architecture* entry) { return entry->model_type == model_type; });
  return found == registry.end() ? nullptr : *found;
}

}  // namespace subspect::model
