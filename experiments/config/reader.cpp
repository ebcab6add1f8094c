// Reading: walks the fields of a config beside the nodes of a document.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "experiments/config/config.h"
#include "runtime/error.h"
#include "runtime/nearest.h"

namespace subspect::experiments {

using runtime::UsageError;

namespace {

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

bool in_range(double value, const Rule& rule) {
  const bool above = rule.open_minimum ? value > rule.minimum : value >= rule.minimum;
  const bool below = rule.open_maximum ? value < rule.maximum : value <= rule.maximum;
  return above && below;
}

class Reader : public Fields {
 public:
  Reader(const Node& root, const ReadOptions& options) : options_(options), current_(&root) {}

  void read(const VisitFunction& visit) {
    begin_mapping();
    mappings_.back().known.emplace_back("kind");
    visit(*this);
    end_mapping();
  }

  bool reading() const override { return true; }

  void check(bool ok, std::string_view name, const std::string& what, const std::string& advice) override {
    if (ok) return;
    const Node& mapping = *mappings_.back().node;
    const Node* node = mapping.find(name);
    throw UsageError(what, node != nullptr ? node->where() : mapping.where(), advice);
  }

 protected:
  bool begin_field(std::string_view name, std::string_view doc, const Rule& rule) override {
    Mapping& mapping = mappings_.back();
    if (std::find(mapping.known.begin(), mapping.known.end(), name) == mapping.known.end()) {
      mapping.known.emplace_back(name);
    }
    const Node* node = mapping.node->find(name);
    if (node == nullptr) {
      if (!rule.is_required) return false;
      throw UsageError(fmt::format("the key '{}' is missing: {}", full_name(name), doc), mapping.node->where(),
                       fmt::format("add {}: ...", name));
    }
    path_.emplace_back(name);
    outer_.push_back(current_);
    current_ = node;
    return true;
  }

  void end_field() override { leave(); }

  void leaf(bool& variable, const Rule&) override {
    if (!is_plain_scalar() || !reads_as_bool(current_->text, variable)) wrong_type("true or false");
  }

  void leaf(int64_t& variable, const Rule& rule) override {
    if (!is_plain_scalar() || !reads_as_integer(current_->text, variable)) wrong_type("a whole number");
    check_range(static_cast<double>(variable), rule);
  }

  void leaf(double& variable, const Rule& rule) override {
    if (!is_plain_scalar() || !reads_as_double(current_->text, variable)) wrong_type("a number");
    check_range(variable, rule);
  }

  void leaf(std::string& variable, const Rule& rule) override {
    if (current_->kind != Node::Kind::scalar) wrong_type("a string");
    variable = current_->text;
    if (rule.choices.empty() || std::find(rule.choices.begin(), rule.choices.end(), variable) != rule.choices.end()) {
      return;
    }
    const std::string near = runtime::nearest(variable, rule.choices);
    throw UsageError(fmt::format("'{}' cannot be '{}'", full_name(), variable), current_->where(),
                     near.empty() ? "use one of " + join(rule.choices)
                                  : fmt::format("did you mean '{}'? It is one of {}", near, join(rule.choices)));
  }

  void leaf(Scalar& variable, const Rule&) override {
    bool truth = false;
    int64_t integer = 0;
    double number = 0;
    const std::string& text = current_->text;
    if (current_->kind == Node::Kind::null) {
      variable = std::monostate();
    } else if (current_->kind != Node::Kind::scalar) {
      wrong_type("a string, a number, true or false");
    } else {
      variable = text;
      if (current_->quoted) return;
      if (reads_as_bool(text, truth)) {
        variable = truth;
      } else if (text.find_first_of(".eE") == std::string::npos && reads_as_integer(text, integer)) {
        variable = integer;
      } else if (reads_as_double(text, number)) {
        variable = number;
      }
    }
  }

  void leaf(Path& variable, PathKind kind, const Rule& rule) override {
    const bool is_model = kind == PathKind::model;
    if (current_->kind != Node::Kind::scalar) wrong_type(is_model ? "a model's directory or name" : "a path");
    if (current_->text.empty()) {
      if (rule.is_required) wrong_type(is_model ? "a model's directory or name" : "a path");
      variable = {};
      return;
    }
    if (options_.named_output) {
      if (auto output = options_.named_output(*current_, is_model)) {
        variable = *output;
        return;
      }
    }
    variable = resolve_path(*current_, is_model);
  }

  bool begin_optional(bool) override { return current_->kind != Node::Kind::null; }
  bool choose_word(bool) override { return current_->kind == Node::Kind::scalar; }

  void begin_mapping() override {
    if (current_->kind != Node::Kind::mapping) wrong_type("a mapping of keys");
    mappings_.push_back({current_, {}});
  }

  void end_mapping() override {
    const Mapping& mapping = mappings_.back();
    for (const Node& child : mapping.node->children) {
      if (std::find(mapping.known.begin(), mapping.known.end(), child.key) != mapping.known.end()) continue;
      const std::string near = runtime::nearest(child.key, mapping.known);
      throw UsageError(fmt::format("unknown key '{}'", full_name(child.key)), child.where_key(),
                       near.empty() ? "known here: " + join(mapping.known) : fmt::format("did you mean '{}'?", near));
    }
    mappings_.pop_back();
  }

  size_t begin_list(size_t, int64_t fixed, const Rule& rule) override {
    const bool is_list = current_->kind == Node::Kind::sequence;
    const size_t count = current_->children.size();
    if (fixed >= 0 && (!is_list || count != static_cast<size_t>(fixed))) {
      wrong_type(fmt::format("a list of {} values", fixed), is_list ? fmt::format("a list of {}", count) : "");
    }
    if (!is_list) wrong_type("a list");
    require_items(count, rule);
    return count;
  }

  void begin_item(size_t index) override { enter(index, std::to_string(index)); }
  void end_item() override { leave(); }
  void end_list() override {}

  size_t begin_named(size_t, const Rule& rule) override {
    if (current_->kind != Node::Kind::mapping) wrong_type("a mapping from names to values");
    require_items(current_->children.size(), rule);
    return current_->children.size();
  }

  void begin_entry(size_t index, std::string& name) override {
    name = current_->children[index].key;
    enter(index, name);
  }
  void end_entry() override { leave(); }
  void end_named() override {}

 private:
  struct Mapping {
    const Node* node;
    std::vector<std::string> known;
  };

  void enter(size_t index, std::string name) {
    path_.push_back(std::move(name));
    outer_.push_back(current_);
    current_ = &current_->children[index];
  }

  void leave() {
    path_.pop_back();
    current_ = outer_.back();
    outer_.pop_back();
  }

  std::string full_name(std::string_view last = {}) const {
    std::string name;
    for (const std::string& part : path_) name += (name.empty() ? "" : ".") + part;
    if (!last.empty()) name += (name.empty() ? "" : ".") + std::string(last);
    return name.empty() ? "the configuration" : name;
  }

  bool is_plain_scalar() const { return current_->kind == Node::Kind::scalar && !current_->quoted; }

  [[noreturn]] void wrong_type(const std::string& expected, std::string got = {}) const {
    if (got.empty()) got = current_->description();
    throw UsageError(fmt::format("'{}' must be {}, not {}", full_name(), expected, got), current_->where(),
                     "correct the value");
  }

  void check_range(double value, const Rule& rule) const {
    if (in_range(value, rule)) return;
    throw UsageError(fmt::format("'{}' is {}", full_name(), current_->text), current_->where(),
                     "it must be " + range_text(rule));
  }

  void require_items(size_t count, const Rule& rule) const {
    if (!rule.needs_items || count > 0) return;
    throw UsageError(fmt::format("'{}' is empty", full_name()), current_->where(), "give at least one");
  }

  const ReadOptions& options_;
  const Node* current_;
  std::vector<const Node*> outer_;
  std::vector<Mapping> mappings_;
  std::vector<std::string> path_;
};

}  // namespace

Path resolve_path(const Node& node, bool is_model) {
  std::string text = node.text;
  if (text == "~" || text.starts_with("~/")) {
    const char* home = std::getenv("HOME");
    if (home != nullptr) text = home + text.substr(1);
  }
  const std::filesystem::path path(text);
  if (path.is_absolute()) return Path(path.lexically_normal().string());
  const std::filesystem::path joined = (node.source->folder / path).lexically_normal();
  std::error_code ignored;
  const bool may_be_hub_id = is_model && !text.starts_with('.') && std::count(text.begin(), text.end(), '/') <= 1;
  if (may_be_hub_id && !std::filesystem::exists(joined, ignored)) return Path(text);
  return Path(joined.string());
}

void read_fields(const Node& root, const VisitFunction& visit, const ReadOptions& options) {
  Reader(root, options).read(visit);
}

}  // namespace subspect::experiments
