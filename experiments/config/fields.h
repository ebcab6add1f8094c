// Fields: the one list of an experiment's configuration. A config struct has a single function that visits each field
// once; the same visit reads YAML, writes the resolved YAML, documents every key and fingerprints the inputs.
//
//   struct OptimizerConfig {
//     std::string name = "adamw";
//     double lr = 1e-5;
//     void visit(Fields& f) {
//       f.field("name", name, "the update rule", Rule().one_of({"adamw", "sgd"}));
//       f.field("lr", lr, "peak learning rate", Rule().above(0));
//     }
//   };
//
// A field may be: bool, an integer, float or double, std::string, an enum (`choice`), InputPath, ModelPath, Scalar,
// std::optional<T>, std::vector<T>, std::array<T, N>, Named<T> (an ordered mapping name -> T), AllOr<T> ("all" or T),
// and any struct with `void visit(Fields&)`. A struct that also has `auto& shorthand()` and
// `bool uses_shorthand() const` may be given as that one value: `model: DIR` beside `model: {config: ..., init: ...}`.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace subspect::experiments {

/// A path as the configuration resolves it. Text as written is resolved against the folder of the YAML file that holds
/// it; in a study a path whose first component names a stage refers to that stage's output.
class Path {
 public:
  Path() = default;
  Path(std::string resolved, std::string stage = {}) : resolved_(std::move(resolved)), stage_(std::move(stage)) {}
  Path(const char* resolved) : resolved_(resolved) {}

  bool empty() const { return resolved_.empty(); }
  const std::string& string() const { return resolved_; }
  std::filesystem::path filesystem() const { return resolved_; }
  /// The stage of the study that makes this path; empty for what exists before the study.
  const std::string& stage() const { return stage_; }
  bool operator==(const Path&) const = default;

 private:
  std::string resolved_;
  std::string stage_;
};

/// A file that is read; where a field says so also a folder or a glob.
class InputPath : public Path {
 public:
  using Path::Path;
};

/// A Hugging Face directory, a hub id ("meta-llama/Llama-3.2-1B"), or, in a study, the name of a model or stage.
class ModelPath : public Path {
 public:
  using Path::Path;
};

/// A value whose type the YAML decides (filters on data rows).
using Scalar = std::variant<std::monostate, bool, int64_t, double, std::string>;

/// An ordered mapping from names to T.
template <class T>
using Named = std::vector<std::pair<std::string, T>>;

/// Either the word `all` or a T.
template <class T>
struct AllOr {
  bool all = false;
  T value{};
};

/// What a field's value must satisfy. Ranges apply to each number of a list.
class Rule {
 public:
  Rule& required() { return is_required = true, *this; }
  Rule& at_least(double bound) { return minimum = bound, *this; }
  Rule& above(double bound) { return minimum = bound, open_minimum = true, *this; }
  Rule& at_most(double bound) { return maximum = bound, *this; }
  Rule& below(double bound) { return maximum = bound, open_maximum = true, *this; }
  Rule& one_of(std::vector<std::string> allowed) { return choices = std::move(allowed), *this; }
  /// A list or mapping with no items is an error.
  Rule& not_empty() { return needs_items = true, *this; }
  /// Does not change what a finished run contains (concurrency, an API key's variable): left out of fingerprints.
  Rule& cosmetic() { return is_cosmetic = true, *this; }

  bool is_required = false;
  bool needs_items = false;
  bool is_cosmetic = false;
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool open_minimum = false;
  bool open_maximum = false;
  std::vector<std::string> choices;
};

namespace detail {
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsNamed : std::false_type {};
template <class T>
struct IsNamed<std::vector<std::pair<std::string, T>>> : std::true_type {};
template <class T>
struct IsArray : std::false_type {};
template <class T, size_t N>
struct IsArray<std::array<T, N>> : std::true_type {};
template <class T>
struct IsAllOr : std::false_type {};
template <class T>
struct IsAllOr<AllOr<T>> : std::true_type {};
template <class>
inline constexpr bool always_false = false;
}  // namespace detail

/// The visitor. Reader, writer, documenter and fingerprint implement the private half.
class Fields {
 public:
  virtual ~Fields() = default;

  /// One field: its key, the variable, one sentence of documentation (no full stop), and what it must satisfy.
  template <class T>
  void field(std::string_view name, T& variable, std::string_view doc, const Rule& rule = {}) {
    if (!begin_field(name, doc, rule)) return;
    value(variable, rule);
    end_field();
  }

  /// An enum, written as one of the given words.
  template <class E>
  void choice(std::string_view name, E& variable,
              std::initializer_list<std::pair<const char*, std::type_identity_t<E>>> words, std::string_view doc,
              Rule rule = {}) {
    std::string word;
    for (const auto& item : words) {
      rule.choices.emplace_back(item.first);
      if (item.second == variable) word = item.first;
    }
    field(name, word, doc, rule);
    for (const auto& item : words) {
      if (word == item.first) variable = item.second;
    }
  }

  /// Guards fields that exist only under a condition on fields visited before:
  /// `if (f.when(name == "gsm8k", "name is gsm8k")) { f.field(...); }`. True for documentation.
  virtual bool when(bool condition, std::string_view /*description*/) { return condition; }

  /// After the fields it concerns: where reading and `ok` is false, throws a UsageError at the line of the key `name`.
  virtual void check(bool /*ok*/, std::string_view /*name*/, const std::string& /*what*/,
                     const std::string& /*advice*/) {}

  /// True while YAML is being read (derived members can be filled in then).
  virtual bool reading() const { return false; }

 private:
  template <class T>
  void value(T& variable, const Rule& rule);
  template <class T>
  void list(T& variable, const Rule& rule);
  template <class T>
  void named(T& variable, const Rule& rule);
  template <class T>
  void structure(T& variable, const Rule& rule);

 protected:
  enum class PathKind { input, model };

  /// False: the field is absent and keeps its default.
  virtual bool begin_field(std::string_view name, std::string_view doc, const Rule& rule) = 0;
  virtual void end_field() = 0;

  virtual void leaf(bool& variable, const Rule& rule) = 0;
  virtual void leaf(int64_t& variable, const Rule& rule) = 0;
  virtual void leaf(double& variable, const Rule& rule) = 0;
  virtual void leaf(std::string& variable, const Rule& rule) = 0;
  virtual void leaf(Scalar& variable, const Rule& rule) = 0;
  virtual void leaf(Path& variable, PathKind kind, const Rule& rule) = 0;

  /// For an optional: whether there is a value (`present` is the variable's state); false writes or reads null.
  virtual bool begin_optional(bool present) = 0;
  /// For a value that may be one word or something larger: whether it is the word (`is_word`: the variable's state).
  virtual bool choose_word(bool is_word) = 0;

  /// After a word that stands for a struct: true where the struct is to be visited as well (documentation).
  virtual bool begin_alternative() { return false; }

  virtual void begin_mapping() = 0;
  virtual void end_mapping() = 0;
  /// Both return the number of items to visit; `fixed` is the required length of an array, or -1.
  virtual size_t begin_list(size_t count, int64_t fixed, const Rule& rule) = 0;
  virtual void begin_item(size_t index) = 0;
  virtual void end_item() = 0;
  virtual void end_list() = 0;
  virtual size_t begin_named(size_t count, const Rule& rule) = 0;
  /// Reads or writes the name of entry `index` and enters it.
  virtual void begin_entry(size_t index, std::string& name) = 0;
  virtual void end_entry() = 0;
  virtual void end_named() = 0;
};

/// What may stand for a whole struct in the YAML.
template <class T>
concept HasShorthand = requires(T& structure) {
  structure.shorthand();
  { structure.uses_shorthand() } -> std::same_as<bool>;
};

template <class T>
void Fields::value(T& variable, const Rule& rule) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::string> || std::is_same_v<T, Scalar>) {
    leaf(variable, rule);
  } else if constexpr (std::is_integral_v<T>) {
    int64_t number = static_cast<int64_t>(variable);
    Rule bounded = rule;
    bounded.minimum = std::max(rule.minimum, static_cast<double>(std::numeric_limits<T>::min()));
    bounded.maximum = std::min(rule.maximum, static_cast<double>(std::numeric_limits<T>::max()));
    leaf(number, bounded);
    variable = static_cast<T>(number);
  } else if constexpr (std::is_floating_point_v<T>) {
    double number = static_cast<double>(variable);
    leaf(number, rule);
    variable = static_cast<T>(number);
  } else if constexpr (std::is_same_v<T, InputPath>) {
    leaf(variable, PathKind::input, rule);
  } else if constexpr (std::is_same_v<T, ModelPath>) {
    leaf(variable, PathKind::model, rule);
  } else if constexpr (detail::IsOptional<T>::value) {
    if (begin_optional(variable.has_value())) {
      if (!variable.has_value()) variable.emplace();
      value(*variable, rule);
    } else {
      variable.reset();
    }
  } else if constexpr (detail::IsAllOr<T>::value) {
    variable.all = choose_word(variable.all);
    if (variable.all) {
      std::string word = "all";
      leaf(word, Rule(rule).one_of({"all"}));
    } else {
      value(variable.value, rule);
    }
  } else if constexpr (detail::IsNamed<T>::value) {
    named(variable, rule);
  } else if constexpr (detail::IsVector<T>::value || detail::IsArray<T>::value) {
    list(variable, rule);
  } else if constexpr (requires { variable.visit(*this); }) {
    structure(variable, rule);
  } else {
    static_assert(detail::always_false<T>, "a field of this type cannot be visited");
  }
}

template <class T>
void Fields::list(T& variable, const Rule& rule) {
  constexpr bool is_array = detail::IsArray<T>::value;
  const size_t count = begin_list(variable.size(), is_array ? static_cast<int64_t>(variable.size()) : -1, rule);
  if constexpr (!is_array) {
    if (reading()) variable.clear();
    variable.resize(count);
  }
  for (size_t index = 0; index < count && index < variable.size(); ++index) {
    begin_item(index);
    value(variable[index], rule);
    end_item();
  }
  end_list();
}

template <class T>
void Fields::named(T& variable, const Rule& rule) {
  const size_t count = begin_named(variable.size(), rule);
  if (reading()) variable.clear();
  variable.resize(count);
  for (size_t index = 0; index < count; ++index) {
    begin_entry(index, variable[index].first);
    value(variable[index].second, rule);
    end_entry();
  }
  end_named();
}

template <class T>
void Fields::structure(T& variable, const Rule& rule) {
  if constexpr (HasShorthand<T>) {
    if (choose_word(variable.uses_shorthand())) {
      if (reading()) variable = T{};
      value(variable.shorthand(), rule);
      if (!begin_alternative()) return;
      variable.visit(*this);
      end_mapping();
      return;
    }
  }
  begin_mapping();
  variable.visit(*this);
  end_mapping();
}

}  // namespace subspect::experiments
