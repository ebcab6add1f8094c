// Text of YAML: how scalars read, and how a tree of nodes is written.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "experiments/config/document.h"

namespace subspect::experiments {

namespace {

constexpr size_t line_width = 100;

template <class... Words>
bool is_any(std::string_view text, Words... words) {
  return ((text == words) || ...);
}

bool needs_quotes(std::string_view text) {
  double number = 0;
  bool truth = false;
  if (text.empty() || reads_as_null(text) || reads_as_bool(text, truth) || reads_as_double(text, number)) return true;
  if (is_any(text, "yes", "no", "on", "off", "y", "n", "Yes", "No", "On", "Off", "=", "<<")) return true;
  if (text.front() == ' ' || text.back() == ' ' || text.back() == ':') return true;
  if (std::string_view("-?:,[]{}#&*!|>'\"%@`0123456789.+=<~").find(text.front()) != std::string_view::npos) {
    const bool plain_path = text.front() == '.' || (text.front() >= '0' && text.front() <= '9');
    if (!plain_path) return true;
  }
  const auto special = [](unsigned char c) { return c < 0x20 || c == 0x7f || c == '"' || c == '\\'; };
  return std::any_of(text.begin(), text.end(), special) || text.find(": ") != std::string_view::npos ||
         text.find(" #") != std::string_view::npos || text.find_first_of(",[]{}") != std::string_view::npos ||
         text.find("${") != std::string_view::npos;
}

bool is_leaf(const Node& node) {
  return node.kind == Node::Kind::null || node.kind == Node::Kind::scalar || node.children.empty();
}

std::string leaf_text(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "null";
    case Node::Kind::sequence:
      return "[]";
    case Node::Kind::mapping:
      return "{}";
    case Node::Kind::scalar:
      break;
  }
  return node.quoted ? quote_yaml(node.text) : node.text;
}

/// A list of leaves in brackets; empty where it does not fit on a line.
std::string flow_text(const Node& node) {
  if (node.kind != Node::Kind::sequence) return {};
  std::string text = "[";
  for (const Node& child : node.children) {
    const std::string item = is_leaf(child) ? leaf_text(child) : flow_text(child);
    if (item.empty()) return {};
    if (text.size() > 1) text += ", ";
    text += item;
  }
  text += "]";
  return text.size() <= line_width ? text : std::string();
}

void write_children(const Node& node, size_t indent, std::string& out);

/// Writes what follows `key:` or `-`, the line break included.
void write_value(const Node& node, size_t indent, bool after_dash, std::string& out) {
  const std::string flow = is_leaf(node) ? leaf_text(node) : flow_text(node);
  if (!flow.empty()) {
    out += " " + flow + "\n";
    return;
  }
  if (after_dash && node.kind == Node::Kind::mapping) {
    std::string block;
    write_children(node, indent, block);
    out += " " + block.substr(indent);  // the first key stands on the dash's line
    return;
  }
  out += "\n";
  write_children(node, indent, out);
}

void write_children(const Node& node, size_t indent, std::string& out) {
  const std::string margin(indent, ' ');
  for (const Node& child : node.children) {
    const bool item = node.kind == Node::Kind::sequence;
    out += margin + (item ? "-" : quote_yaml_key(child.key) + ":");
    write_value(child, indent + 2, item, out);
  }
}

}  // namespace

bool reads_as_null(std::string_view text) {
  return is_any(text, "", "~", "null", "Null", "NULL");
}

bool reads_as_bool(std::string_view text, bool& value) {
  value = is_any(text, "true", "True", "TRUE");
  return value || is_any(text, "false", "False", "FALSE");
}

bool reads_as_double(std::string_view text, double& value) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const size_t digits = text.starts_with('-') ? 1 : 0;
  if (text.size() <= digits || std::string_view("0123456789.").find(text[digits]) == std::string_view::npos) {
    return false;
  }
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

bool reads_as_integer(std::string_view text, int64_t& value) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return true;
  double number = 0;  // 1e3 is a whole number too
  if (!reads_as_double(text, number) || std::floor(number) != number || std::fabs(number) > 9.0e15) return false;
  value = static_cast<int64_t>(number);
  return true;
}

std::string quote_yaml_key(std::string_view text) {
  if (!needs_quotes(text)) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string quote_yaml(std::string_view text) {
  std::string quoted = quote_yaml_key(text);
  for (size_t at = quoted.find("${"); at != std::string::npos; at = quoted.find("${", at + 3)) quoted.insert(at, "$");
  return quoted;
}

std::string format_double(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".in") != std::string::npos) return text;
  const size_t exponent = text.find('e');
  if (exponent != std::string::npos) return text.insert(exponent, ".0");
  return text + ".0";
}

std::string write_yaml(const Node& root) {
  std::string out;
  if (root.children.empty()) return root.kind == Node::Kind::mapping ? "{}\n" : leaf_text(root) + "\n";
  write_children(root, 0, out);
  return out;
}

}  // namespace subspect::experiments
