// HTML of figures, tables, findings and the page.
#include "experiments/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "experiments/report/markup.h"

namespace subspect::experiments::report {

namespace {

constexpr Canvas wide_width{520, 330, 12.5};
constexpr Canvas narrow_width{340, 310, 12};

struct VerdictText {
  const char* css;
  const char* sign;
  const char* word;
};

VerdictText verdict_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::yes:
      return {"yes", "✓", "Yes"};
    case Verdict::partly:
      return {"partly", "≈", "Partly"};
    case Verdict::no:
      return {"no", "✕", "No"};
    case Verdict::unsupported:
      return {"unsupported", "±", "Unclear"};
    case Verdict::unmeasured:
      return {"unmeasured", "?", "Open"};
    case Verdict::fact:
      break;
  }
  return {"fact", "•", ""};
}

std::string cell_html(const CsvTable& table, int64_t row, size_t column, bool numeric) {
  const std::string& text = table.text(row, column);
  if (!numeric) return fmt::format("<td>{}</td>", escape(text));
  if (text.empty()) return "<td class=\"n\"></td>";
  return fmt::format("<td class=\"n\" data-v=\"{}\">{}</td>", escape(text), format_number(table.number(row, column)));
}

std::string header_html(const CsvTable& table, const std::vector<bool>& numeric) {
  std::string out = "<thead><tr>";
  for (size_t c = 0; c < table.columns().size(); ++c) {
    out += fmt::format(
        "<th scope=\"col\"{} aria-sort=\"none\"><button type=\"button\">{}<i aria-hidden=\"true\"></i></button></th>",
        numeric[c] ? " class=\"n\"" : "", escape(table.columns()[c]));
  }
  return out + "</tr></thead>\n";
}

std::string navigation(const Page& page) {
  if (page.sections.size() < 2) return "";
  std::string out = "<nav aria-label=\"Sections\"><ul>";
  for (const Section& section : page.sections) {
    out += fmt::format("<li><a href=\"#{}\">{}</a></li>", escape(section.id), escape(section.title));
  }
  return out + "</ul></nav>\n";
}

std::string masthead(const Page& page) {
  std::string facts;
  for (const std::string& fact : page.facts) facts += fmt::format("<li>{}</li>", escape(fact));
  return fmt::format(
      "<header class=\"masthead\">\n<div class=\"bar\"><p class=\"kicker\">{}</p>"
      "<button type=\"button\" id=\"theme\" aria-label=\"Colour theme\">Theme: auto</button></div>\n"
      "<h1>{}</h1>\n<ul class=\"facts\">{}</ul>\n</header>\n",
      escape(page.kicker), escape(page.title), facts);
}

}  // namespace

std::string figure_html(const Plot& plot, const std::string& file) {
  std::string out = fmt::format("<figure class=\"card\">\n<figcaption>{}</figcaption>\n", escape(plot.title));
  out += "<div class=\"wide\">" + render_svg(plot, wide_width) + "</div>\n";
  out += "<div class=\"narrow\">" + render_svg(plot, narrow_width) + "</div>\n";
  out += fmt::format("<p class=\"caption\">{}{}<a href=\"{}\">SVG</a></p>\n</figure>\n", escape(plot.caption),
                     plot.caption.empty() ? "" : " ", escape(file));
  return out;
}

std::string table_html(const CsvTable& table, const std::string& caption, const std::string& file) {
  std::vector<bool> numeric;
  for (size_t c = 0; c < table.columns().size(); ++c) numeric.push_back(table.is_numeric(c));
  const int64_t shown = std::min(table.rows(), shown_rows);
  std::string out = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">\n<table class=\"sortable\">\n",
      escape(caption));
  out += header_html(table, numeric) + "<tbody>\n";
  for (int64_t row = 0; row < shown; ++row) {
    out += "<tr>";
    for (size_t c = 0; c < table.columns().size(); ++c) out += cell_html(table, row, c, numeric[c]);
    out += "</tr>\n";
  }
  out += "</tbody></table></div>\n";
  std::string note =
      table.rows() < 2 ? "" : fmt::format("{} rows. A click on a heading sorts them.", format_count(table.rows()));
  if (shown < table.rows()) {
    note = fmt::format("The first {} of {} rows; {} more are in the file. A click on a heading sorts the rows shown.",
                       shown, format_count(table.rows()), format_count(table.rows() - shown));
  }
  const std::string link = file.empty() ? "" : fmt::format(" <a href=\"{}\">CSV</a>", escape(file));
  return out + fmt::format("<p class=\"caption\">{}{}</p>\n", note, link);
}

std::string pairs_html(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string out =
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Names and values\"><table "
      "class=\"pairs\"><tbody>\n";
  for (const auto& pair : pairs) {
    out += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escape(pair.first), escape(pair.second));
  }
  return out + "</tbody></table></div>\n";
}

std::string findings_html(const std::vector<Finding>& findings) {
  if (findings.empty()) return "";
  std::string out = "<ul class=\"findings\">\n";
  for (const Finding& finding : findings) {
    const VerdictText text = verdict_text(finding.verdict);
    out += fmt::format("<li class=\"{}\"><span class=\"verdict\"><b aria-hidden=\"true\">{}</b>{}</span>", text.css,
                       text.sign, text.word);
    out += fmt::format("<div><h3>{}</h3><p>{}</p></div></li>\n", escape(finding.claim), escape(finding.numbers));
  }
  return out + "</ul>\n";
}

std::string details_html(const std::string& summary, const std::string& inner, bool open) {
  return fmt::format("<details{}><summary>{}</summary>\n{}</details>\n", open ? " open" : "", escape(summary), inner);
}

std::string page_html(const Page& page) {
  std::string out = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  out +=
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">\n";
  out += "<meta name=\"color-scheme\" content=\"light dark\">\n";
  out += fmt::format("<title>{} · subspect</title>\n<style>\n", escape(page.title));
  out += fmt::format(
      ":root{{color-scheme:light;{0}}}\n@media (prefers-color-scheme:dark){{:root:not([data-theme=light])"
      "{{color-scheme:dark;{1}}}}}\n:root[data-theme=dark]{{color-scheme:dark;{1}}}\n",
      palette_light(), palette_dark());
  out += fmt::format("{}{}</style>\n</head>\n<body>\n<main>\n", plot_style(), page_style());
  out += masthead(page);
  out += "<section id=\"found\" aria-labelledby=\"found-title\">\n<h2 id=\"found-title\">What was found</h2>\n";
  if (!page.headline.empty()) out += fmt::format("<p class=\"headline\">{}</p>\n", escape(page.headline));
  out += page.opening + "</section>\n" + navigation(page);
  for (const Section& section : page.sections) {
    const std::string id = escape(section.id);
    out += fmt::format(
        "<section id=\"{0}\" aria-labelledby=\"{0}-title\">\n<h2 id=\"{0}-title\">{1}</h2>\n{2}</section>\n", id,
        escape(section.title), section.html);
  }
  out +=
      "<footer><p>Made by subspect from the tables of this run. The study follows “Safety Subspaces are Not Linearly "
      "Distinct” (arXiv 2505.14185).</p></footer>\n</main>\n<script>\n";
  return out + std::string(page_script()) + "</script>\n</body>\n</html>\n";
}

}  // namespace subspect::experiments::report
