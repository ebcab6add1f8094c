// Writing: walks the fields of a config and builds the tree of its resolved values.
#include "experiments/config/config.h"

namespace subspect::experiments {

namespace {

class Writer : public Fields {
 public:
  Writer(Node& root, const WriteOptions& options) : options_(options), stack_{&root} {}

 protected:
  bool begin_field(std::string_view name, std::string_view, const Rule& rule) override {
    if (rule.is_cosmetic && options_.skip_cosmetic) return false;
    push(std::string(name));
    return true;
  }
  void end_field() override { stack_.pop_back(); }

  void leaf(bool& variable, const Rule&) override { scalar(variable ? "true" : "false", false); }
  void leaf(int64_t& variable, const Rule&) override { scalar(std::to_string(variable), false); }
  void leaf(double& variable, const Rule&) override { scalar(format_double(variable), false); }
  void leaf(std::string& variable, const Rule&) override { scalar(variable, true); }

  void leaf(Scalar& variable, const Rule& rule) override {
    if (std::holds_alternative<bool>(variable)) leaf(std::get<bool>(variable), rule);
    if (std::holds_alternative<int64_t>(variable)) leaf(std::get<int64_t>(variable), rule);
    if (std::holds_alternative<double>(variable)) leaf(std::get<double>(variable), rule);
    if (std::holds_alternative<std::string>(variable)) leaf(std::get<std::string>(variable), rule);
  }

  void leaf(Path& variable, PathKind kind, const Rule&) override {
    scalar(options_.path_text ? options_.path_text(variable, kind == PathKind::model) : variable.string(), true);
  }

  bool begin_optional(bool present) override { return present; }
  bool choose_word(bool is_word) override { return is_word; }

  void begin_mapping() override { top().kind = Node::Kind::mapping; }
  void end_mapping() override {}
  size_t begin_list(size_t count, int64_t, const Rule&) override {
    top().kind = Node::Kind::sequence;
    return count;
  }
  void begin_item(size_t) override { push({}); }
  void end_item() override { stack_.pop_back(); }
  void end_list() override {}
  size_t begin_named(size_t count, const Rule&) override {
    top().kind = Node::Kind::mapping;
    return count;
  }
  void begin_entry(size_t, std::string& name) override { push(name); }
  void end_entry() override { stack_.pop_back(); }
  void end_named() override {}

 private:
  Node& top() { return *stack_.back(); }

  void push(std::string key) {
    Node child;
    child.key = std::move(key);
    top().children.push_back(std::move(child));
    stack_.push_back(&top().children.back());  // stays valid: siblings are pushed only after this one is popped
  }

  void scalar(std::string text, bool is_string) {
    top().kind = Node::Kind::scalar;
    top().text = std::move(text);
    top().quoted = is_string;
  }

  const WriteOptions& options_;
  std::vector<Node*> stack_;
};

}  // namespace

Node write_fields(std::string_view kind, const VisitFunction& visit, const WriteOptions& options) {
  Node root;
  root.kind = Node::Kind::mapping;
  if (!kind.empty()) {
    Node node;
    node.kind = Node::Kind::scalar;
    node.key = "kind";
    node.text = kind;
    node.quoted = true;
    root.children.push_back(std::move(node));
  }
  Writer writer(root, options);
  visit(writer);
  return root;
}

}  // namespace subspect::experiments
