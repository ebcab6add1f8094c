// Documenting: walks the fields of a default config and prints a commented YAML. A documentation line starts with "# ",
// a key that is there only under a condition, or an example entry of an empty list, with "#" and no space.
#include <fmt/format.h>

#include <set>
#include <sstream>

#include "experiments/config/config.h"

namespace subspect::experiments {

namespace {

constexpr size_t line_width = 110;

std::string ranged(const std::string& type, const Rule& rule) {
  const std::string range = range_text(rule);
  return range.empty() ? type : type + " " + range;
}

class Documenter : public Fields {
 public:
  /// @param unconditional names of the fields that a pass before this one found outside of every `when`; that pass is
  ///        made with nullptr, visits no conditional fields, and its text is of no use.
  explicit Documenter(const std::set<std::string>* unconditional) : unconditional_(unconditional) {}

  std::string text() const { return out_; }
  const std::set<std::string>& visited() const { return visited_; }

  bool when(bool, std::string_view description) override {
    if (unconditional_ == nullptr) return false;
    flush("");
    unsigned& commented = conditions_.back();
    if (commented == 0) ++comment_;
    commented = 1;
    out_ += fmt::format("{}# --- where {}:\n", margin(), description);
    return true;
  }

 protected:
  bool begin_field(std::string_view name, std::string_view doc, const Rule& rule) override {
    enter(std::string(name));
    if (unconditional_ != nullptr && unconditional_->contains(full_name()) && conditions_.back() > 0) {
      conditions_.back() = 0;  // the fields of the condition before this one are over
      --comment_;
    }
    pending_key_ = std::string(name) + ":";
    pending_doc_ = doc;
    pending_required_ = rule.is_required;
    has_pending_ = true;
    alternatives_.clear();
    return true;
  }
  void end_field() override { path_.pop_back(); }

  void leaf(bool& variable, const Rule&) override { value("true or false", variable ? "true" : "false"); }
  void leaf(int64_t& variable, const Rule& rule) override {
    value(ranged("whole number", rule), std::to_string(variable));
  }
  void leaf(double& variable, const Rule& rule) override { value(ranged("number", rule), format_double(variable)); }
  void leaf(std::string& variable, const Rule& rule) override {
    std::string type = "string";
    for (const std::string& word : rule.choices) {
      type += (type == "string" ? ": " : " | ") + (word.empty() ? "\"\"" : word);
    }
    const bool placeholder = variable.empty() && pending_required_;
    value(type, placeholder ? (rule.choices.empty() ? "NAME" : rule.choices.front()) : quote_yaml(variable));
  }
  void leaf(Scalar&, const Rule&) override { value("string, number, true or false", "VALUE"); }
  void leaf(Path& variable, PathKind kind, const Rule&) override {
    const bool is_model = kind == PathKind::model;
    const bool placeholder = variable.empty() && (pending_required_ || in_example_ > 0);
    value(is_model ? "model: a directory, a hub id, in a study a name" : "path",
          placeholder ? (is_model ? "DIR" : "FILE") : quote_yaml(variable.string()));
  }

  bool begin_optional(bool present) override {
    if (!present) {
      alternatives_ += "optional; ";
      optional_ = true;
    }
    return true;
  }
  bool choose_word(bool is_word) override {
    if (!is_word) alternatives_ += "or one word instead; ";
    return is_word;
  }

  bool begin_alternative() override {
    open_mapping(1);
    out_ += margin() + "# --- or a mapping of:\n";
    return true;
  }

  void begin_mapping() override {
    if (!groups_.empty()) groups_.back().leaves = false;
    flush("mapping");
    open_mapping(0);
  }
  void end_mapping() override {
    indent_ -= 2;
    comment_ -= conditions_.back() + alternatives_open_.back();
    conditions_.pop_back();
    alternatives_open_.pop_back();
  }

  size_t begin_list(size_t count, int64_t fixed, const Rule&) override {
    open_group(fixed >= 0 ? fmt::format("list of {}", fixed) : "list", "[]", count);
    return count == 0 ? 1 : count;
  }
  void begin_item(size_t) override {
    enter("-");
    pending_key_ = "-";
    pending_doc_.clear();
    has_pending_ = true;
  }
  void end_item() override { path_.pop_back(); }
  void end_list() override { close_group(); }

  size_t begin_named(size_t count, const Rule&) override {
    open_group("mapping from names to values", "{}", count);
    return count == 0 ? 1 : count;
  }
  void begin_entry(size_t, std::string& name) override {
    enter("*");
    if (name.empty()) name = "NAME";
    pending_key_ = name + ":";
    pending_doc_.clear();
    has_pending_ = true;
  }
  void end_entry() override { path_.pop_back(); }
  void end_named() override { close_group(); }

 private:
  void enter(std::string name) {
    path_.push_back(std::move(name));
    visited_.insert(full_name());
  }

  std::string full_name() const {
    std::string name;
    for (const std::string& part : path_) name += part + "/";
    return name;
  }

  void open_mapping(unsigned alternative) {
    conditions_.push_back(0);
    alternatives_open_.push_back(alternative);
    comment_ += alternative;
    indent_ += 2;
  }

  std::string margin() const { return std::string(indent_, ' '); }

  void key_line(const std::string& line) { out_ += margin() + (comment_ > 0 ? "#" : "") + line + "\n"; }

  void doc_lines(const std::string& type) {
    std::string sentence = pending_doc_;
    if (!type.empty()) {
      const std::string details = alternatives_ + type + (pending_required_ ? "; required" : "");
      sentence += (sentence.empty() ? "" : " ") + fmt::format("[{}]", details);
    }
    std::istringstream words(sentence);
    std::string line = margin() + "#";
    for (std::string word; words >> word;) {
      if (line.size() + 1 + word.size() > line_width) {
        out_ += line + "\n";
        line = margin() + "#  ";
      }
      line += " " + word;
    }
    if (!sentence.empty()) out_ += line + "\n";
  }

  /// Prints the pending key with its documentation and no value.
  void flush(const std::string& type) {
    if (!has_pending_) return;
    if (pending_key_ != "-" && (!pending_doc_.empty() || !alternatives_.empty())) doc_lines(type);
    key_line(pending_key_);
    forget_pending();
  }

  void forget_pending() {
    has_pending_ = pending_required_ = optional_ = false;
    pending_doc_.clear();
    alternatives_.clear();
  }

  void value(const std::string& type, const std::string& text) {
    const bool absent = optional_;
    if (!groups_.empty() && pending_key_ == "-") groups_.back().item_type = type;
    if (!pending_doc_.empty()) doc_lines(type);
    comment_ += absent ? 1 : 0;
    key_line(pending_key_ + " " + text);
    comment_ -= absent ? 1 : 0;
    forget_pending();
  }

  /// A list or mapping of names under construction: its header is printed once its items are known.
  struct Group {
    size_t start = 0;  ///< where its items begin in out_
    std::string type, empty_text, key, doc, alternatives, item_type;
    bool required = false;
    bool example = false;  ///< empty: one entry is shown as an example
    bool leaves = true;    ///< only single values
  };

  static unsigned commented(const Group& group) { return group.example && !group.required ? 1 : 0; }

  void open_group(const std::string& type, const std::string& empty_text, size_t count) {
    if (!groups_.empty()) groups_.back().leaves = groups_.back().leaves && empty_text == "[]";
    Group group;
    group.start = out_.size();
    group.type = type;
    group.empty_text = empty_text;
    group.key = pending_key_;
    group.doc = pending_doc_;
    group.alternatives = alternatives_;
    group.required = pending_required_;
    group.example = count == 0;
    groups_.push_back(group);
    comment_ += commented(group);
    in_example_ += 1;
    indent_ += 2;
    forget_pending();
  }

  void close_group() {
    const Group group = groups_.back();
    groups_.pop_back();
    comment_ -= commented(group);
    in_example_ -= 1;
    indent_ -= 2;
    const std::string items = out_.substr(group.start);
    out_.resize(group.start);
    pending_doc_ = group.doc;
    pending_required_ = group.required;
    alternatives_ = group.alternatives;
    const std::string of = group.item_type.empty() ? "" : fmt::format(" of {}", group.item_type);
    if (!group.doc.empty()) doc_lines(group.type + of);
    const bool flat = group.leaves && group.empty_text == "[]";
    if (flat) {
      key_line(group.key + " " + flow_list(items, group));
    } else {
      key_line(group.key + (commented(group) > 0 ? " " + group.empty_text : ""));
      out_ += items;
    }
    forget_pending();
    if (!groups_.empty() && flat && group.key == "-") groups_.back().item_type = "list" + of;
  }

  /// "[a, b]" from the lines "  - a", "  - b".
  static std::string flow_list(const std::string& items, const Group& group) {
    if (commented(group) > 0) return "[]";
    std::string text;
    std::istringstream lines(items);
    for (std::string line; std::getline(lines, line);) {
      text += (text.empty() ? "" : ", ") + line.substr(line.find("- ") + 2);
    }
    return "[" + text + "]";
  }

  std::string out_;
  size_t indent_ = 0;
  unsigned comment_ = 0;
  unsigned in_example_ = 0;
  const std::set<std::string>* unconditional_;
  std::set<std::string> visited_;
  std::vector<std::string> path_;
  std::vector<unsigned> conditions_ = {0};         ///< per mapping: 1 while under a `when`
  std::vector<unsigned> alternatives_open_ = {0};  ///< per mapping: 1 when it is shown beside the word that replaces it
  std::vector<Group> groups_;
  std::string pending_key_;
  std::string pending_doc_;
  std::string alternatives_;
  bool pending_required_ = false;
  bool has_pending_ = false;
  bool optional_ = false;
};

}  // namespace

std::string range_text(const Rule& rule) {
  std::string text;
  if (rule.minimum > -1e9) text += fmt::format("{} {}", rule.open_minimum ? ">" : ">=", rule.minimum);
  if (rule.maximum < 1e9) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " and ", rule.open_maximum ? "<" : "<=", rule.maximum);
  }
  return text;
}

std::string document_fields(std::string_view kind, const VisitFunction& visit_new) {
  Documenter unconditional(nullptr);
  visit_new(unconditional);
  Documenter documenter(&unconditional.visited());
  visit_new(documenter);
  return fmt::format("kind: {}\n\n{}", kind, documenter.text());
}

}  // namespace subspect::experiments
