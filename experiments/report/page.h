// The pieces of the HTML page: figures, tables, findings, and the page around them. Everything that comes from files is
// escaped here or in plot.cpp; nothing from files is put into a script or a style.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "experiments/report/csv_table.h"
#include "experiments/report/findings.h"
#include "experiments/report/plot.h"

namespace subspect::experiments::report {

/// Rows of a table that the page shows; the rest is in the CSV.
constexpr int64_t shown_rows = 200;

/// A plot drawn twice, for wide and for narrow screens (CSS shows one), with title, caption and a link to `file`.
std::string figure_html(const Plot& plot, const std::string& file);

/// A sortable table in a container that scrolls sideways. `file` is the CSV's path relative to the report, or "".
std::string table_html(const CsvTable& table, const std::string& caption, const std::string& file);

/// A table of names and values, not sortable.
std::string pairs_html(const std::vector<std::pair<std::string, std::string>>& pairs);

/// The findings as a list, each with its verdict.
std::string findings_html(const std::vector<Finding>& findings);

/// `inner` (HTML) behind a summary (plain text) that opens it.
std::string details_html(const std::string& summary, const std::string& inner, bool open = false);

/// A part of the page below its own heading.
struct Section {
  std::string id;
  std::string title;  ///< plain text
  std::string html;
};

/// What the page says at the top, in plain text, and its sections.
struct Page {
  std::string title;
  std::string kicker;              ///< above the title: what kind of run
  std::string headline;            ///< one sentence
  std::vector<std::string> facts;  ///< status, device, version, duration, ...
  std::string opening;             ///< HTML: findings and picture
  std::vector<Section> sections;
};

/// The whole document: style and script inline, no reference to anything outside but links to the run's own files.
std::string page_html(const Page& page);

/// The page's style sheet and script.
std::string_view page_style();
std::string_view page_script();

}  // namespace subspect::experiments::report
