// The graph of stages: names to paths, order, keys, and running what is not done.
#include "experiments/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "experiments/launch.h"
#include "experiments/registry.h"
#include "runtime/error.h"
#include "runtime/io/files.h"
#include "runtime/io/hash.h"

namespace subspect::experiments {

namespace fs = std::filesystem;
using runtime::UsageError;

namespace {

/// Where a study keeps a stage.
fs::path stage_directory(const fs::path& study, std::string_view stage) {
  return study / "stages" / stage;
}

/// A path of a stage's output without the study's folder: "aligned/model". Stays the same when the study moves.
std::string symbolic(const Path& path) {
  const std::string marker = "/stages/" + path.stage();
  return path.stage() + path.string().substr(path.string().find(marker) + marker.size());
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Resolves names of a study's YAML; keeps its own copy of what it needs of the document.
struct Names {
  fs::path directory;
  std::vector<std::string> stages;
  std::vector<Node> models;
  const Node* first_model = nullptr;  // the study's own `models:`, whose entries cannot refer to themselves
  const Node* last_model = nullptr;
  std::map<const Source*, std::string>
      suffixes;  // of the copies that a study's seeds made: each has sources of its own

  /// `text` names a stage or an output of it; in a copy of a stage first of all those of the same copy.
  std::optional<Path> stage_output(const std::string& text, const Source* source, bool is_model) const {
    const size_t slash = text.find('/');
    std::string name = text.substr(0, slash);
    const auto suffix = suffixes.find(source);
    if (suffix != suffixes.end() && contains(stages, name + suffix->second)) name += suffix->second;
    if (!contains(stages, name)) return std::nullopt;
    fs::path path = stage_directory(directory, name);
    if (slash != std::string::npos) {
      path /= text.substr(slash + 1);
    } else if (is_model) {
      path /= "model";
    }
    return Path(path.lexically_normal().string(), name);
  }

  std::optional<Path> resolve(const Node& node, bool is_model) const {
    const bool defines = first_model != nullptr && &node >= first_model && &node < last_model;
    if (is_model && !defines) {
      for (const Node& model : models) {
        if (model.key != node.text) continue;
        const auto output = stage_output(model.text, node.source.get(), true);
        return output ? *output : resolve_path(model, true);
      }
    }
    return stage_output(node.text, node.source.get(), is_model);
  }
};

std::string seed_suffix(const std::string& seed) {
  return "-seed" + seed;
}

template <class Visit>
void visit_nodes(const Node& node, const Visit& visit) {
  visit(node);
  for (const Node& child : node.children) visit_nodes(child, visit);
}

Node scalar(const std::string& key, const std::string& text, const Node& like) {
  Node node;
  node.kind = Node::Kind::scalar;
  node.key = key;
  node.text = text;
  node.source = like.source;
  node.line = node.key_line = like.line;
  return node;
}

void set_scalar(Node& mapping, const std::string& key, const std::string& text) {
  std::erase_if(mapping.children, [&](const Node& child) { return child.key == key; });
  mapping.children.push_back(scalar(key, text, mapping));
}

/// The stage under another name; its nodes come from sources of their own, which tell the copy.
Node copy_of_stage(const Node& stage, const std::string& seed, const std::vector<std::string>& repeated) {
  Node copy = stage;
  std::map<const Source*, std::shared_ptr<const Source>> sources;
  const auto rename = [&](const auto& self, Node& node) -> void {
    if (node.source) {
      auto& own = sources[node.source.get()];
      if (!own) own = std::make_shared<const Source>(*node.source);
      node.source = own;
    }
    for (Node& child : node.children) self(self, child);
  };
  rename(rename, copy);
  copy.key = stage.key + seed_suffix(seed);
  if (Node* needs = copy.find("needs")) {
    for (Node& need : needs->children) {
      if (contains(repeated, need.text)) need.text += seed_suffix(seed);
    }
  }
  set_scalar(copy, "copy_of", stage.key);
  set_scalar(copy, "copy_seed", seed);
  return copy;
}

/// One table of all rows of the copies' tables FILE, with the column `seed` first.
void join_tables(const std::vector<std::pair<int64_t, fs::path>>& copies, const fs::path& target) {
  std::optional<Table> all;
  for (const auto& [seed, file] : copies) {
    if (!fs::is_regular_file(file)) return;
    const Table table = Table::read_csv(file);
    if (!all) {
      std::vector<std::string> columns = table.columns();
      columns.insert(columns.begin(), "seed");
      all.emplace(std::move(columns));
    }
    for (const Row& row : table.rows()) {
      NamedCells cells = {{"seed", seed}};
      for (size_t i = 0; i < row.size(); ++i) cells.emplace_back(table.columns()[i], row[i]);
      all->append(cells);
    }
  }
  if (!all) return;
  fs::create_directories(target.parent_path());
  runtime::io::write_file_atomically(target, all->to_csv());
}

}  // namespace

ReadOptions study_read_options(const Node& root, const fs::path& directory) {
  Names names;
  names.directory = directory;
  if (const Node* stages = root.find("stages")) {
    for (const Node& stage : stages->children) names.stages.push_back(stage.key);
  }
  if (const Node* models = root.find("models"); models != nullptr && !models->children.empty()) {
    names.models = models->children;
    names.first_model = models->children.data();
    names.last_model = names.first_model + models->children.size();
  }
  if (const Node* stages = root.find("stages")) {
    for (const Node& stage : stages->children) {
      const Node* seed = stage.find("copy_seed");
      if (seed == nullptr) continue;
      visit_nodes(stage, [&](const Node& node) { names.suffixes[node.source.get()] = seed_suffix(seed->text); });
    }
  }
  ReadOptions options;
  options.named_output = [names](const Node& node, bool is_model) { return names.resolve(node, is_model); };
  return options;
}

void SeedsConfig::visit(Fields& f) {
  f.field("values", values,
          "seeds: each of the stages runs once with each, and so does every stage that reads from them");
  f.field("stages", stages, "stages that get the seed; none: every fine-tuning");
}

void Stage::visit(Fields& f) {
  std::vector<std::string> kinds = experiment_names();
  std::erase(kinds, "study");
  f.field("kind", kind, "which experiment; its own keys stand beside these", Rule().required().one_of(kinds));
  f.field("needs", needs, "stages that must be done first, besides those whose outputs are named in its paths");
  f.field("copy_of", copy_of, "written by seeds: the stage that this is a copy of");
  if (f.when(!copy_of.empty(), "copy_of is given"))
    f.field("copy_seed", copy_seed, "written by seeds: the copy's seed");
  if (f.reading()) experiment = make_experiment(kind, "");
  if (experiment) experiment->visit(f);
}

void Study::visit(Fields& f) {
  f.field("models", models_, "names for models: a directory, a hub id, or the stage that makes it");
  f.field("stages", stages_, "experiments by name; they run in the order of their dependencies",
          Rule().required().not_empty());
  f.field("seeds", seeds_, "repeats fine-tunings with other seeds; results get intervals over them");
  for (const std::string& name : seeds_.stages) {
    const bool known = std::any_of(stages_.begin(), stages_.end(), [&](const auto& s) { return s.first == name; });
    f.check(known, "seeds", fmt::format("there is no stage '{}'", name), "name one of the stages");
  }
  for (const auto& entry : stages_) {
    for (const std::string& need : entry.second.needs) {
      const bool known = std::any_of(stages_.begin(), stages_.end(), [&](const auto& s) { return s.first == need; });
      f.check(known, "stages", fmt::format("stage '{}' needs '{}', which is no stage", entry.first, need),
              "name one of the stages");
    }
    const bool plain = entry.first.find_first_of("/\\") == std::string::npos && !entry.first.starts_with('.');
    f.check(plain, "stages", fmt::format("'{}' cannot name a stage", entry.first), "use letters, digits, - and _");
  }
  if (f.reading()) order();  // a cycle is a mistake in the configuration
}

const Stage& Study::stage(std::string_view name) const {
  const auto found = std::find_if(stages_.begin(), stages_.end(), [&](const auto& s) { return s.first == name; });
  runtime::require(found != stages_.end(), "Study", "there is no stage '{}'.", name);
  return found->second;
}

std::vector<std::string> Study::dependencies(const Stage& stage) const {
  std::vector<std::string> names = stage.needs;
  WriteOptions options;
  options.path_text = [&names](const Path& path, bool) {
    if (!path.stage().empty() && !contains(names, path.stage())) names.push_back(path.stage());
    return std::string();
  };
  if (stage.experiment) {
    write_fields(
        "", [&](Fields& f) { stage.experiment->visit(f); }, options);
  }
  return names;
}

std::vector<std::string> Study::order() const {
  std::vector<std::string> done, path;
  const auto visit_stage = [&](const auto& self, const std::string& name) -> void {
    if (contains(done, name)) return;
    if (contains(path, name)) {
      std::string cycle;
      for (auto link = std::find(path.begin(), path.end(), name); link != path.end(); ++link) cycle += *link + " -> ";
      throw UsageError("the stages form a cycle: " + cycle + name, "stages", "remove one of these dependencies");
    }
    path.push_back(name);
    for (const std::string& need : dependencies(stage(name))) self(self, need);
    path.pop_back();
    done.push_back(name);
  };
  for (const auto& entry : stages_) visit_stage(visit_stage, entry.first);
  return done;
}

std::vector<std::string> Study::repeated() const {
  std::vector<std::string> names = seeds_.stages;
  for (const auto& entry : stages_) {
    if (seeds_.stages.empty() && entry.second.kind == "finetune") names.push_back(entry.first);
  }
  for (const std::string& name : order()) {
    if (contains(names, name)) continue;
    const std::vector<std::string> needs = dependencies(stage(name));
    if (std::any_of(needs.begin(), needs.end(), [&](const std::string& need) { return contains(names, need); })) {
      names.push_back(name);
    }
  }
  return names;
}

Node Study::with_copies(const Node& root) const {
  const std::vector<std::string> names = repeated();
  std::vector<std::string> seeded = seeds_.stages;
  for (const auto& entry : stages_) {
    if (seeds_.stages.empty() && entry.second.kind == "finetune") seeded.push_back(entry.first);
  }
  Node result = root;
  std::erase_if(result.children, [](const Node& child) { return child.key == "seeds"; });
  Node* stages = result.find("stages");
  std::vector<Node> all;
  for (const Node& written : stages->children) {
    if (!contains(names, written.key)) {
      all.push_back(written);
      continue;
    }
    const Node resolved = parse_document(resolved_yaml(*stage(written.key).experiment));
    const bool takes_seed = contains(seeded, written.key);
    if (takes_seed && resolved.find("seed") == nullptr) {
      throw UsageError(fmt::format("the stage '{}' has no seed", written.key), written.where_key(),
                       "leave it out of seeds.stages: stages that read from others are repeated with them");
    }
    for (const int64_t seed : seeds_.values) {
      all.push_back(copy_of_stage(written, std::to_string(seed), names));
      if (takes_seed) set_scalar(all.back(), "seed", std::to_string(seed));
    }
  }
  stages->children = std::move(all);
  return result;
}

void Study::write_seed_tables(const fs::path& directory) const {
  std::map<std::string, std::vector<std::pair<int64_t, fs::path>>> copies;
  for (const auto& entry : stages_) {
    if (entry.second.copy_of.empty()) continue;
    copies[entry.second.copy_of].emplace_back(entry.second.copy_seed, stage_directory(directory, entry.first));
  }
  for (const auto& [name, folders] : copies) {
    for (const auto& file : fs::directory_iterator(folders.front().second)) {
      if (file.path().extension() != ".csv") continue;
      std::vector<std::pair<int64_t, fs::path>> tables;
      for (const auto& [seed, folder] : folders) tables.emplace_back(seed, folder / file.path().filename());
      join_tables(tables, directory / "seeds" / name / file.path().filename());
    }
  }
}

std::map<std::string, std::string> Study::keys() const {
  std::map<std::string, std::string> keys;
  for (const std::string& name : order()) {
    const Stage& one = stage(name);
    WriteOptions options;
    options.skip_cosmetic = true;
    options.path_text = [&](const Path& path, bool) {
      if (path.empty()) return std::string();
      if (!path.stage().empty()) return symbolic(path) + " " + keys.at(path.stage());
      return path.filesystem().filename().string() + " " + fingerprint(path);
    };
    std::string text = write_yaml(write_fields(
        one.kind, [&](Fields& f) { one.experiment->visit(f); }, options));
    for (const std::string& need : one.needs) text += need + " " + keys.at(need) + "\n";
    keys[name] = runtime::io::sha256(text);
  }
  return keys;
}

RunDirOptions Study::stage_options(const std::string& name, const std::string& key, const fs::path& directory) const {
  const Stage& one = stage(name);
  RunDirOptions options;
  options.path = stage_directory(directory, name);
  options.kind = one.kind;
  options.config_yaml = resolved_yaml(*one.experiment);
  options.identity = key;
  options.replace_changed = true;
  int64_t seed = -1;
  const Node config = parse_document(options.config_yaml);
  if (const Node* node = config.find("seed"); node != nullptr && reads_as_integer(node->text, seed)) {
    options.seed = seed;
  }
  return options;
}

Plan Study::plan(const PlanContext& context) const {
  Plan total;
  std::map<std::string, std::string> outputs;
  std::string not_estimated;
  PlanContext inner = context;
  inner.planned_model = [&outputs](const Path& path) { return outputs[path.stage()]; };
  for (const std::string& name : order()) {
    const Stage& one = stage(name);
    const Plan plan = one.experiment->plan(inner);
    outputs[name] = plan.model_config;
    if (plan.flops == 0 && plan.seconds == 0) not_estimated += (not_estimated.empty() ? "" : ", ") + name;
    total.parameters = std::max(total.parameters, plan.parameters);
    if (plan.device_bytes > total.device_bytes) {
      total.device_bytes = plan.device_bytes;
      total.device_uses = plan.device_uses;
    }
    total.host_bytes = std::max(total.host_bytes, plan.host_bytes);
    total.disk_bytes += plan.disk_bytes;
    total.flops += plan.flops;
    const bool estimable = plan.seconds == 0 && context.flops_per_second > 0;
    total.seconds += estimable ? plan.flops / context.flops_per_second : plan.seconds;
    std::string line = fmt::format("{} ({})", name, one.kind);
    const auto needs = dependencies(one);
    for (size_t index = 0; index < needs.size(); ++index) line += (index == 0 ? " after " : ", ") + needs[index];
    if (plan.flops > 0) line += fmt::format(", {:.3g} flop", plan.flops);
    for (const auto& fact : plan.facts) line += fmt::format(", {}: {}", fact.first, fact.second);
    total.steps.push_back(line);
    for (const std::string& warning : plan.warnings) total.warnings.push_back(name + ": " + warning);
  }
  total.facts.emplace_back("stages", std::to_string(stages_.size()));
  if (!not_estimated.empty()) total.facts.emplace_back("time not known of", not_estimated);
  return total;
}

void Study::run(RunContext& context) {
  auto stage_keys = context.leads() ? keys() : std::map<std::string, std::string>();
  nlohmann::ordered_json record = nlohmann::ordered_json::array();
  const auto names = order();
  for (size_t index = 0; index < names.size(); ++index) {
    context.stop_if_interrupted();
    const std::string& name = names[index];
    RunDirOptions options = stage_options(name, stage_keys[name], context.dir.path());
    options.device = context.stream.device().to_string();
    options.threads = context.stream.threads();
    options.ranks = context.ranks == nullptr ? 1 : context.ranks->size();
    const bool begun = fs::exists(options.path / "config.yaml");
    const auto found = RunDir::look(options);
    const std::string label = fmt::format("stage {} of {}, {} ({})", index + 1, names.size(), name, options.kind);
    if (context.agree(found == RunDir::Found::finished)) {
      context.log.info("{}: done before", label);
    } else {
      context.log.info("{}{}", label, begun && found == RunDir::Found::other ? ": changed, begins anew" : "");
      run_in_directory(*stage(name).experiment, options,
                       {context.stream, context.log, context.progress, context.ranks, context.downloads});
    }
    if (!context.leads()) continue;
    record.push_back({{"stage", name}, {"kind", options.kind}, {"key", stage_keys.at(name)}});
    if (!stage(name).copy_of.empty()) {
      record.back()["copy_of"] = stage(name).copy_of;
      record.back()["copy_seed"] = stage(name).copy_seed;
    }
    runtime::io::write_file_atomically(context.dir.path() / "stages.json", record.dump(1) + "\n");
  }
  write_seed_tables(context.dir.path());
}

}  // namespace subspect::experiments
