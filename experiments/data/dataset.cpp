// Reads, filters, shuffles and cuts examples.
#include "experiments/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "experiments/data/records.h"
#include "experiments/data/synthetic.h"
#include "runtime/error.h"
#include "runtime/random.h"

namespace subspect::experiments {

using nlohmann::json;
using runtime::Error;

namespace {

/// True when a field's value is `wanted`. CSV knows text only, so text equals a number or boolean that is written so.
bool equals(const json& value, const Scalar& wanted) {
  if (std::holds_alternative<std::monostate>(wanted)) return value.is_null();
  if (const auto* text = std::get_if<std::string>(&wanted)) return value.is_string() && value == *text;
  const json number = std::visit(
      [](const auto& item) -> json {
        if constexpr (std::is_same_v<std::decay_t<decltype(item)>, std::monostate>)
          return nullptr;
        else
          return item;
      },
      wanted);
  if (!value.is_string()) return value == number;
  std::string text = value.get<std::string>();
  if (std::holds_alternative<bool>(wanted)) {
    std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
    return text == number.dump();
  }
  const json parsed = json::parse(text, nullptr, false);
  return parsed.is_number() && parsed == number;
}

/// The field's value; throws Error, naming the fields there are, when it is absent.
const json& present_field(const json& record, const std::string& field, const RecordPlace& place) {
  const json* value = find_field(record, field);
  if (value != nullptr) return *value;
  text_field(record, field, place);
  throw std::logic_error("text_field finds a field that find_field does not");
}

bool passes(const json& record, const Named<Scalar>& where, const RecordPlace& place) {
  for (const auto& [field, wanted] : where) {
    if (!equals(present_field(record, field, place), wanted)) return false;
  }
  return true;
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

[[noreturn]] void throw_bad_chat(const RecordPlace& place) {
  throw Error("messages must be an optional system message, one of the user and one of the assistant", place.text(),
              "split conversations of several turns into one record per turn");
}

/// An example from {"messages": [{"role": ..., "content": ...}, ...]}; a system message goes before the prompt.
Example chat_example(const json& messages, const RecordPlace& place) {
  Example example;
  std::string system;
  size_t next = 0;
  const auto content_of = [&](const char* role) -> std::string {
    if (next >= messages.size() || !messages[next].is_object() || messages[next].value("role", json()) != role)
      return {};
    return text_field(messages[next++], "content", place);
  };
  if (!messages.is_array()) throw_bad_chat(place);
  system = content_of("system");
  const size_t before = next;
  example.prompt = content_of("user");
  example.response = content_of("assistant");
  if (next != before + 2 || next != messages.size()) throw_bad_chat(place);
  if (!system.empty()) example.prompt = system + "\n\n" + example.prompt;
  return example;
}

Example example_of(const json& record, const DataSource& source, const RecordPlace& place) {
  if (source.prompt_field == "messages") {
    return chat_example(present_field(record, source.prompt_field, place), place);
  }
  Example example;
  // Plain text (pre-training) has no prompt.
  if (!source.prompt_field.empty()) example.prompt = text_field(record, source.prompt_field, place);
  example.response = text_field(record, source.response_field, place);
  return example;
}

/// Takes a row's example, or counts it as empty.
void keep(Example example, Dataset& data) {
  SourceReport& report = data.reports.front();
  if (is_blank(example.response)) {
    ++report.empty_responses;
  } else {
    data.examples.push_back(std::move(example));
  }
}

void read_files(const DataSource& source, Dataset& data) {
  SourceReport& report = data.reports.front();
  const bool may_stop = source.limit > 0 && !source.shuffle;
  read_records(source.path.filesystem(), [&](const json& record, const RecordPlace& place) {
    ++report.rows;
    if (!passes(record, source.where, place)) {
      ++report.filtered;
      return true;
    }
    Example example = example_of(record, source, place);
    example.source = place.file;
    example.index = place.index;
    keep(std::move(example), data);
    return !may_stop || static_cast<int64_t>(data.examples.size()) < source.limit;
  });
}

void check_not_empty(const DataSource& source, const Dataset& data) {
  if (!data.examples.empty()) return;
  const SourceReport& report = data.reports.front();
  throw Error(fmt::format("no examples: {}", report.text()), report.source,
              source.where.empty() ? "check the fields and the file" : "check `where` and the fields");
}

}  // namespace

void DataSource::visit(Fields& f) {
  f.field("path", path,
          "a .jsonl, .json, .csv (each also .gz, .xz, .zst) or .parquet file, a folder or a glob of them");
  f.field("synthetic", synthetic, "instead of path: a corpus that the program generates",
          Rule().one_of(synthetic_choices()));
  f.check(path.empty() != synthetic.empty(), "path", "a data source is either a path or synthetic",
          "give exactly one of the two");
  if (f.when(!synthetic.empty(), "synthetic is given")) {
    f.field("count", count, "examples to generate", Rule().at_least(0));
    f.field("split", split, "which part of the made-up world", Rule().one_of({"train", "held_out", "all"}));
    f.check(synthetic.empty() || count > 0, "synthetic", "a synthetic source needs a count", "add count: N");
  }
  if (f.when(synthetic.empty(), "path is given")) {
    f.field("prompt_field", prompt_field,
            "(dotted) field of the prompt; \"\" for plain text; messages for chats of one turn");
    f.field("response_field", response_field, "(dotted) field of the response, which the loss is taken on");
    f.field("where", where, "only rows whose (dotted) fields have these values");
  }
  f.field("shuffle", shuffle, "shuffle by the seed before the limit is applied");
  f.field("limit", limit, "keep so many examples; 0 = all", Rule().at_least(0));
  f.field("weight", weight,
          "share of the mixture, in proportion to the other sources' weights, which need one too; 0 = "
          "every example",
          Rule().at_least(0));
}

std::string SourceReport::text() const {
  std::string line = fmt::format("{}: {} examples of {} rows", source, examples, rows);
  if (filtered > 0) line += fmt::format(", {} filtered out", filtered);
  if (empty_responses > 0) line += fmt::format(", {} with an empty response left out", empty_responses);
  if (duplicates > 0) line += fmt::format(", {} duplicates left out", duplicates);
  if (beyond_limit > 0) line += fmt::format(", {} beyond the limit", beyond_limit);
  if (beyond_share > 0) line += fmt::format(", {} beyond its share", beyond_share);
  return line;
}

Dataset read_source(const DataSource& source, uint64_t seed) {
  Dataset data;
  SourceReport& report = data.reports.emplace_back();
  if (source.synthetic.empty()) {
    report.source = source.path.string();
    read_files(source, data);
  } else {
    report.source = "synthetic:" + source.synthetic;
    data.examples =
        generate_synthetic({.corpus = source.synthetic, .count = source.count, .seed = seed, .split = source.split});
    report.rows = static_cast<int64_t>(data.examples.size());
  }
  if (source.shuffle) runtime::Random(seed, runtime::stream_of("data.source")).shuffle(data.examples);
  if (source.limit > 0 && static_cast<int64_t>(data.examples.size()) > source.limit) {
    report.beyond_limit = static_cast<int64_t>(data.examples.size()) - source.limit;
    data.examples.resize(static_cast<size_t>(source.limit));
  }
  report.examples = static_cast<int64_t>(data.examples.size());
  check_not_empty(source, data);
  return data;
}

std::vector<std::string> read_texts(const std::filesystem::path& path, const std::string& field, int64_t count,
                                    uint64_t seed, const Named<Scalar>& where) {
  std::vector<std::string> texts;
  read_records(path, [&](const json& record, const RecordPlace& place) {
    if (passes(record, where, place)) texts.push_back(text_field(record, field, place));
    return true;
  });
  if (count <= 0) return texts;
  if (count > static_cast<int64_t>(texts.size())) {
    throw Error(fmt::format("{} texts are asked for, there are {}", count, texts.size()), path.string(),
                "lower the count, or give more texts");
  }
  const std::vector<int64_t> order =
      runtime::random_permutation(static_cast<int64_t>(texts.size()), seed, runtime::stream_of("data.texts"));
  std::vector<std::string> drawn;
  for (int64_t i = 0; i < count; ++i)
    drawn.push_back(std::move(texts[static_cast<size_t>(order[static_cast<size_t>(i)])]));
  return drawn;
}

}  // namespace subspect::experiments
