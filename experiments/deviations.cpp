// The list of deviations, and where a configuration asks for them.
#include "experiments/deviations.h"

#include <fmt/format.h>

#include <algorithm>

#include "experiments/config/document.h"

namespace subspect::experiments {

namespace {

constexpr Deviation float16_updates = {"projection", "rounding: float16",
                                       "projected updates are cast to float16 before they are added"};

void add_once(std::vector<std::string>& found, const Deviation& deviation) {
  const std::string text = fmt::format("{}: {}", deviation.name, deviation.what);
  if (std::find(found.begin(), found.end(), text) == found.end()) found.push_back(text);
}

void collect(const Node& node, std::vector<std::string>& found) {
  if (node.key == "rounding" && node.text == "float16") add_once(found, float16_updates);
  if (node.key == "deviations") {
    for (const Node& item : node.children) {
      for (const Deviation& deviation : known_deviations()) {
        if (item.text == deviation.name) add_once(found, deviation);
      }
    }
  }
  for (const Node& child : node.children) collect(child, found);
}

}  // namespace

const std::vector<Deviation>& known_deviations() {
  static const std::vector<Deviation> all = {
      {"finetune", "prompt_length", "as many leading tokens are left unlearned as the prompt has when tokenized alone"},
      {"projection", "align_cosine", "cosine_task_align is divided by sqrt(<D, V>) instead of ||D||"},
      {"projection", "layer_names", "layers.csv groups by the first component of the name, which is 'model'"},
      {"projection", "tied_twice", "tied embeddings count twice, as embedding and as lm_head"},
      {"overlap", "layer_pattern", "granularity layer matches no tensor and gives no rows"},
      {"activations", "padded_last", "states are read at the last position of a right-padded batch"},
      {"activations", "masked_eos", "every token with the pad token's id, EOS, is masked as if it were padding"},
      {"advbench", "comma_lines", "lines of the prompts' file are split at the first comma, quotes and all"},
      {"advbench", "last_dropped", "the last prompt is left out"},
  };
  return all;
}

void visit_deviations(Fields& f, std::string_view kind, std::vector<std::string>& chosen) {
  std::string doc = "mistakes of the study's scripts that are made on purpose, to match published figures";
  std::vector<std::string> names;
  for (const Deviation& deviation : known_deviations()) {
    if (deviation.kind != kind) continue;
    doc += fmt::format("; {}: {}", deviation.name, deviation.what);
    names.emplace_back(deviation.name);
  }
  f.field("deviations", chosen, doc, Rule().one_of(names));
}

bool deviates(const std::vector<std::string>& chosen, std::string_view name) {
  return std::find(chosen.begin(), chosen.end(), name) != chosen.end();
}

std::vector<std::string> deviations_of(std::string_view resolved_yaml) {
  std::vector<std::string> found;
  collect(parse_document(resolved_yaml), found);
  return found;
}

}  // namespace subspect::experiments
