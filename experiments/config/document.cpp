// Loading of YAML: yaml-cpp parses, everything after that works on our own nodes.
#include "experiments/config/document.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "runtime/error.h"

namespace subspect::experiments {

using runtime::UsageError;

namespace {

constexpr int max_depth = 64;
constexpr int max_nodes = 1'000'000;

std::string place(const Source& source, int line) {
  return line > 0 ? fmt::format("{}:{}", source.name, line) : source.name;
}

bool is_variable_name(std::string_view name) {
  const auto word = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !name.empty() && word(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return word(c) || digit(c); });
}

/// The value of what stands between ${ and }: `NAME` or `NAME:-default`.
std::string variable_value(const std::string& body, const std::string& where) {
  const size_t separator = body.find(":-");
  const std::string name = body.substr(0, separator);
  if (!is_variable_name(name)) {
    throw UsageError(fmt::format("'${{{}}}' is not an environment variable", body), where,
                     "write ${NAME} or ${NAME:-default}; $${ is a literal ${");
  }
  const char* value = std::getenv(name.c_str());
  if (value != nullptr && (*value != '\0' || separator == std::string::npos)) return value;
  if (separator != std::string::npos) return body.substr(separator + 2);
  throw UsageError(fmt::format("the environment variable {} is not set", name), where,
                   fmt::format("set it, or write ${{{}:-default}}", name));
}

std::string expand_environment(const std::string& text, const std::string& where) {
  std::string result;
  size_t position = 0;
  while (position < text.size()) {
    const size_t dollar = text.find('$', position);
    result += text.substr(position, dollar - position);
    if (dollar == std::string::npos) break;
    if (text.compare(dollar, 3, "$${") == 0) {
      result += "${";
      position = dollar + 3;
    } else if (text.compare(dollar, 2, "${") == 0) {
      const size_t end = text.find('}', dollar);
      if (end == std::string::npos) throw UsageError("'${' without '}' in '" + text + "'", where, "close it with '}'");
      result += variable_value(text.substr(dollar + 2, end - dollar - 2), where);
      position = end + 1;
    } else {
      result += '$';
      position = dollar + 1;
    }
  }
  return result;
}

/// Turns yaml-cpp's nodes into ours.
class Converter {
 public:
  explicit Converter(std::shared_ptr<const Source> source) : source_(std::move(source)) {}

  Node convert(const YAML::Node& yaml, int depth = 0) {
    Node node;
    node.source = source_;
    node.line = yaml.Mark().line + 1;
    if (depth > max_depth || ++nodes_ > max_nodes) {
      throw UsageError("the YAML is nested too deeply or refers to itself", place(*source_, node.line),
                       "remove the alias that contains itself");
    }
    if (yaml.IsScalar()) {
      convert_scalar(yaml, node);
    } else if (yaml.IsSequence()) {
      node.kind = Node::Kind::sequence;
      for (const auto& item : yaml) node.children.push_back(convert(item, depth + 1));
    } else if (yaml.IsMap()) {
      convert_mapping(yaml, node, depth);
    }
    return node;
  }

 private:
  void convert_scalar(const YAML::Node& yaml, Node& node) const {
    node.quoted = yaml.Tag() == "!" || yaml.Tag() == "tag:yaml.org,2002:str";
    if (!node.quoted && reads_as_null(yaml.Scalar())) return;
    node.kind = Node::Kind::scalar;
    node.text = expand_environment(yaml.Scalar(), place(*source_, node.line));
    // Quotes are needed around ${...} inside {} and []; they do not make its value a string.
    if (node.text != yaml.Scalar() && yaml.Scalar().find("$${") == std::string::npos) node.quoted = false;
  }

  void convert_mapping(const YAML::Node& yaml, Node& node, int depth) {
    node.kind = Node::Kind::mapping;
    for (const auto& entry : yaml) {
      const int line = entry.first.Mark().line + 1;
      if (!entry.first.IsScalar()) {
        throw UsageError("a key must be a word", place(*source_, line), "write it as name: value");
      }
      const std::string& key = entry.first.Scalar();
      if (node.find(key) != nullptr) {
        throw UsageError(fmt::format("the key '{}' is given twice", key), place(*source_, line),
                         fmt::format("remove one; the first is on line {}", node.find(key)->key_line));
      }
      Node child = convert(entry.second, depth + 1);
      child.key = key;
      child.key_line = line;
      node.children.push_back(std::move(child));
    }
  }

  std::shared_ptr<const Source> source_;
  int nodes_ = 0;
};

Node parse_text(const std::string& yaml, const std::shared_ptr<const Source>& source) {
  try {
    return Converter(source).convert(YAML::Load(yaml));
  } catch (const YAML::Exception& error) {
    throw UsageError("this is not YAML: " + error.msg, place(*source, error.mark.line + 1), "correct the line");
  }
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream || std::filesystem::is_directory(file)) {
    throw UsageError("cannot read the configuration", file.string(), "check the path");
  }
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

/// `over` wins; mappings are merged key by key.
void merge(Node& base, Node over) {
  if (base.kind != Node::Kind::mapping || over.kind != Node::Kind::mapping) {
    base = std::move(over);
    return;
  }
  base.source = over.source;
  base.line = over.line;
  for (Node& entry : over.children) {
    if (Node* mine = base.find(entry.key)) {
      merge(*mine, std::move(entry));
    } else {
      base.children.push_back(std::move(entry));
    }
  }
}

using Chain = std::vector<std::filesystem::path>;

Node load_file(const std::filesystem::path& file, Chain chain, const std::string& where);

/// The files a mapping extends: one, or a list of which later ones win.
std::vector<const Node*> parents_of(const Node& extends) {
  std::vector<const Node*> parents;
  if (extends.kind == Node::Kind::sequence) {
    for (const Node& item : extends.children) parents.push_back(&item);
  } else {
    parents.push_back(&extends);
  }
  for (const Node* parent : parents) {
    if (parent->kind != Node::Kind::scalar) {
      throw UsageError("'extends' must name YAML files, not " + parent->description(), parent->where(),
                       "write extends: other.yaml");
    }
  }
  return parents;
}

void resolve_extends(Node& node, const Chain& chain) {
  if (node.kind != Node::Kind::mapping) return;
  const Node* extends = node.find("extends");
  if (extends == nullptr) return;
  Node merged;
  for (const Node* parent : parents_of(*extends)) {
    merge(merged, load_file(parent->source->folder / parent->text, chain, parent->where()));
  }
  std::erase_if(node.children, [](const Node& child) { return child.key == "extends"; });
  const std::string key = node.key;
  const int key_line = node.key_line;
  merge(merged, std::move(node));
  node = std::move(merged);
  node.key = key;
  node.key_line = key_line;
}

/// `extends` is understood at the top of a file and at the top of each stage of a study.
void resolve_all_extends(Node& root, const Chain& chain) {
  resolve_extends(root, chain);
  if (Node* stages = root.find("stages"); stages != nullptr && stages->kind == Node::Kind::mapping) {
    for (Node& stage : stages->children) resolve_extends(stage, chain);
  }
}

Node load_file(const std::filesystem::path& file, Chain chain, const std::string& where) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) {
    throw UsageError(fmt::format("there is no configuration '{}'", file.string()), where, "check the path");
  }
  const std::filesystem::path canonical = std::filesystem::weakly_canonical(file);
  if (std::find(chain.begin(), chain.end(), canonical) != chain.end()) {
    std::string names;
    for (const auto& link : chain) names += link.filename().string() + " -> ";
    throw UsageError("'extends' forms a cycle: " + names + canonical.filename().string(), where,
                     "remove one of these 'extends'");
  }
  chain.push_back(canonical);
  const auto source =
      std::make_shared<const Source>(Source{file.string(), std::filesystem::absolute(file).parent_path()});
  Node root = parse_text(read_text(file), source);
  if (root.kind == Node::Kind::null) root.kind = Node::Kind::mapping;
  if (root.kind != Node::Kind::mapping) {
    throw UsageError("a configuration is a mapping of keys, not " + root.description(), file.string(),
                     "start it with kind: ...");
  }
  resolve_all_extends(root, chain);
  return root;
}

bool is_index(std::string_view text) {
  return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// The child that one component of an override names; makes it where a mapping does not have it.
Node& child_for_override(Node& parent, const std::string& component, const std::string& where) {
  if (parent.kind == Node::Kind::sequence) {
    const size_t count = parent.children.size();
    if (!is_index(component) || std::stoul(component) >= count) {
      throw UsageError(fmt::format("there is no item '{}' in a list of {}", component, count), where,
                       "items are numbered from 0");
    }
    return parent.children[std::stoul(component)];
  }
  if (parent.kind != Node::Kind::mapping) {
    parent.kind = Node::Kind::mapping;
    parent.children.clear();
    parent.text.clear();
  }
  if (Node* child = parent.find(component)) return *child;
  Node child;
  child.key = component;
  parent.children.push_back(std::move(child));
  return parent.children.back();
}

void apply_override(Node& root, const std::string& assignment) {
  const std::string where = "--set " + assignment;
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw UsageError("an override has the form key=value", where, "write for example --set optimizer.lr=1.0e-4");
  }
  const auto source = std::make_shared<const Source>(Source{where, std::filesystem::current_path()});
  Node value = parse_text(assignment.substr(equals + 1), source);
  const auto forget_lines = [](auto&& self, Node& node) -> void {
    node.line = node.key_line = 0;
    for (Node& child : node.children) self(self, child);
  };
  forget_lines(forget_lines, value);
  Node* target = &root;
  std::istringstream path(assignment.substr(0, equals));
  for (std::string component; std::getline(path, component, '.');) {
    target = &child_for_override(*target, component, where);
    if (!target->source) target->source = source;
  }
  value.key = target->key;
  *target = std::move(value);
}

}  // namespace

const Node* Node::find(std::string_view name) const {
  if (kind != Kind::mapping) return nullptr;
  const auto entry = std::find_if(children.begin(), children.end(), [&](const Node& c) { return c.key == name; });
  return entry == children.end() ? nullptr : &*entry;
}

Node* Node::find(std::string_view name) {
  return const_cast<Node*>(static_cast<const Node*>(this)->find(name));
}

std::string Node::where() const {
  return source ? place(*source, line) : std::string();
}

std::string Node::where_key() const {
  return source ? place(*source, key_line) : std::string();
}

std::string Node::description() const {
  double number = 0;
  bool truth = false;
  switch (kind) {
    case Kind::null:
      return "nothing";
    case Kind::sequence:
      return "a list";
    case Kind::mapping:
      return "a mapping";
    case Kind::scalar:
      break;
  }
  if (!quoted && (reads_as_double(text, number) || reads_as_bool(text, truth))) return text;
  return fmt::format("the string \"{}\"", text);
}

Node load_document(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  Node root = load_file(file, {}, file.string());
  for (const std::string& assignment : overrides) apply_override(root, assignment);
  return root;
}

Node parse_document(std::string_view yaml, std::string_view name, const std::filesystem::path& folder,
                    const std::vector<std::string>& overrides) {
  const auto start = folder.empty() ? std::filesystem::current_path() : std::filesystem::absolute(folder);
  Node root = parse_text(std::string(yaml), std::make_shared<const Source>(Source{std::string(name), start}));
  if (root.kind == Node::Kind::null) root.kind = Node::Kind::mapping;
  resolve_all_extends(root, {});
  for (const std::string& assignment : overrides) apply_override(root, assignment);
  return root;
}

}  // namespace subspect::experiments
