// Datasets for fine-tuning and prompts for experiments: rows of files (records.h) or of the program's own corpora
// (synthetic.h), filtered, shuffled and cut in an order that depends on the seed alone. mixture.h mixes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/config/fields.h"

namespace subspect::experiments {

/// One training example or prompt.
struct Example {
  std::string prompt;
  std::string response;  ///< empty for prompts
  std::string source;    ///< file, or "synthetic:useful"
  int64_t index = 0;     ///< number of the record in its source
};

/// Where examples come from: an entry of `data:`.
struct DataSource {
  InputPath path;         ///< a file, a folder or a glob; or else:
  std::string synthetic;  ///< the name of a corpus that the program generates
  std::string split = "train";
  int64_t count = 0;  ///< examples of the corpus
  std::string prompt_field = "prompt";
  std::string response_field = "response";
  Named<Scalar> where;  ///< (dotted) field -> value it must have; all must hold
  bool shuffle = false;
  int64_t limit = 0;  ///< 0: all
  double weight = 0;  ///< share of the mixture, in proportion to the others'; 0: all examples

  void visit(Fields& f);
};

/// What became of the rows of one source.
struct SourceReport {
  std::string source;
  int64_t rows = 0;             ///< read
  int64_t filtered = 0;         ///< left out by `where`
  int64_t empty_responses = 0;  ///< left out because there is nothing to learn from
  int64_t duplicates = 0;       ///< left out because the mixture had them already
  int64_t beyond_limit = 0;     ///< left out by `limit`
  int64_t beyond_share = 0;     ///< left out because the source's weight asks for fewer
  int64_t examples = 0;         ///< kept

  std::string text() const;  ///< one line for the log
};

struct Dataset {
  std::vector<Example> examples;
  std::vector<SourceReport> reports;
};

/// The examples of one source: read in file order, filtered, rows with an empty (or blank) response left out and
/// counted, shuffled by `seed` if asked, then the first `limit`.
///
/// A record whose prompt field is "messages" (a list of {role, content}: an optional system message, one user and one
/// assistant message) needs no response field. Throws Error as `read_records` and `text_field`, and when nothing is
/// left.
Dataset read_source(const DataSource& source, uint64_t seed);

/// Texts for prompts: the field of every record that passes `where`; with `count` > 0, so many of them drawn without
/// replacement by `seed` (Error when there are fewer), in the order drawn; otherwise all in file order.
std::vector<std::string> read_texts(const std::filesystem::path& path, const std::string& field, int64_t count = 0,
                                    uint64_t seed = 0, const Named<Scalar>& where = {});

}  // namespace subspect::experiments
