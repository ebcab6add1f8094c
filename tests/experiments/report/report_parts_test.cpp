// The parts of the report: escaping, numbers, tables, statistics, ticks and plots.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "experiments/report/charts.h"
#include "experiments/report/csv_table.h"
#include "experiments/report/markup.h"
#include "experiments/report/plot.h"
#include "experiments/report/rows.h"
#include "runtime/error.h"
#include "tests/experiments/report/synthetic_runs.h"

namespace subspect::experiments::report {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(ReportMarkup, EscapesEveryCharacterThatHtmlOrSvgReads) {
  EXPECT_EQ(escape("<a href=\"x\" title='y'>&</a>"), "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;&lt;/a&gt;");
  EXPECT_EQ(escape("naïve 数学\t\n"), "naïve 数学\t\n");
}

TEST(ReportMarkup, ReplacesControlCharactersAndInvalidUtf8) {
  EXPECT_EQ(escape(std::string("a\x01z\x7F\0!", 6)), "a\uFFFDz\uFFFD\uFFFD!");
  EXPECT_EQ(escape("\xC3"), "\uFFFD");                                // cut off
  EXPECT_EQ(escape("\xC0\xBC"), "\uFFFD\uFFFD");                      // an overlong '<'
  EXPECT_EQ(escape("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");            // a surrogate
  EXPECT_EQ(escape("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");  // beyond U+10FFFF
}

TEST(ReportMarkup, FormatsNumbersAsPeopleReadThem) {
  EXPECT_EQ(format_number(128), "128");
  EXPECT_EQ(format_number(0.123456), "0.1235");
  EXPECT_EQ(format_number(1.5e-7), "1.5e-07");
  EXPECT_EQ(format_number(nan), "–");
  EXPECT_EQ(format_fixed(-0.001, 2), "0.00");
  EXPECT_EQ(format_fixed(-0.01, 2), "-0.01");
  EXPECT_EQ(format_count(1234567), "1\u202F234\u202F567");
  EXPECT_EQ(format_count(12), "12");
  EXPECT_EQ(format_duration(3725), "1 h 2 min");
  EXPECT_EQ(format_duration(59.8), "1 min 0 s");
}

TEST(ReportMarkup, MakesFileNamesFromAnything) {
  EXPECT_EQ(slug("<script>/../etc"), "script-etc");
  EXPECT_EQ(slug("Qwen2.5-1.5B"), "qwen2-5-1-5b");
  EXPECT_EQ(slug("数学"), "x");
  EXPECT_EQ(shorten("数学数学", 3), "数学…");
  EXPECT_EQ(shorten("abc", 3), "abc");
}

/// A table read from a file with this text.
CsvTable table_of(const std::string& text) {
  const testing::TemporaryFolder folder;
  testing::write_text(folder.path() / "t.csv", text);
  return CsvTable::read(folder.path() / "t.csv");
}

TEST(ReportTable, ReadsQuotedCellsNumbersAndEmptyCells) {
  const CsvTable table = table_of("\xEF\xBB\xBFmodel,value,n\r\n\"a, \"\"b\"\"\nc\",1.5e-3,\r\nd,,7\n");
  EXPECT_THAT(table.columns(), ElementsAre("model", "value", "n"));
  ASSERT_EQ(table.rows(), 2);
  EXPECT_EQ(table.text(0, "model"), "a, \"b\"\nc");
  EXPECT_EQ(table.number(0, "value"), 1.5e-3);
  EXPECT_TRUE(std::isnan(table.number(1, "value")));
  EXPECT_TRUE(std::isnan(table.number(0, "absent")));
  EXPECT_EQ(table.number(1, "n"), 7);
  EXPECT_FALSE(table.is_numeric(0));
  EXPECT_TRUE(table.is_numeric(1));
  EXPECT_EQ(table_of("").rows(), 0);
}

TEST(ReportTable, NamesTheLineOfAWrongRow) {
  try {
    table_of("a,b\n\"1\n2\",3\n4\n");
    FAIL() << "no error";
  } catch (const runtime::Error& error) {
    EXPECT_THAT(error.where(), ::testing::EndsWith("t.csv:4"));
    EXPECT_THAT(error.what_happened(), HasSubstr("1 cells where the header has 2"));
  }
  EXPECT_THROW(table_of("a,b\n\"1,2\n"), runtime::Error);
}

TEST(ReportRows, OverlapsOfRightSubspacesAreNotMixedWithLeftOnes) {
  const CsvTable table(
      {"pair", "group", "granularity", "energy", "mso", "mso_random", "side"},
      {{"a/b", "w", "tensor", "0.5", "0.25", "0.1", "left"}, {"a/b", "w", "tensor", "0.5", "0.75", "0.1", "right"}});
  const std::vector<OverlapRow> rows = overlap_rows(table);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].mso, 0.25);
}

TEST(ReportRows, ProjectionsOnOtherSidesAreBasesOfTheirOwn) {
  const CsvTable table({"model", "basis", "mode", "side"},
                       {{"m", "none", "none", "none"}, {"m", "top_k", "same", "left"}, {"m", "top_k", "same", "both"}});
  const std::vector<ProjectionRow> rows = projection_rows(table);
  EXPECT_EQ(rows[0].basis, "none");
  EXPECT_EQ(rows[1].basis, "top_k");
  EXPECT_EQ(rows[2].basis, "top_k/both");
}

TEST(ReportRoles, AreToldFromNames) {
  EXPECT_EQ(role_of("useful"), Role::useful);
  EXPECT_EQ(role_of("pure-2"), Role::useful);
  EXPECT_EQ(role_of("Harmful_seed1"), Role::harmful);
  EXPECT_EQ(role_of("contaminated-harmful20"), Role::contaminated);
  EXPECT_EQ(role_of("alignment"), Role::aligned);
  EXPECT_EQ(role_of("base"), Role::base);
  EXPECT_EQ(role_of("x"), Role::other);
}

TEST(ReportTicks, LinearTicksAreRoundAndInside) {
  EXPECT_THAT(nice_ticks(Scale::linear, 0, 1, 5),
              ElementsAre(0, ::testing::DoubleNear(0.2, 1e-12), 0.4, ::testing::DoubleNear(0.6, 1e-12), 0.8, 1));
  EXPECT_THAT(nice_ticks(Scale::linear, 1, 5, 4), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(nice_ticks(Scale::linear, -7, 13, 2), ElementsAre(0, 10));
}

TEST(ReportTicks, LogTicksAreDecadesOrTheirParts) {
  EXPECT_THAT(nice_ticks(Scale::log, 1, 1000, 3), ElementsAre(1, 10, 100, 1000));
  EXPECT_THAT(nice_ticks(Scale::log, 1, 10, 4), ElementsAre(1, 2, 5, 10));
  EXPECT_LE(nice_ticks(Scale::log, 1e-12, 1, 4).size(), 8u);
}

TEST(ReportTicks, DegenerateRangesGiveOneTick) {
  EXPECT_EQ(nice_ticks(Scale::linear, 3, 3, 5).size(), 1u);
  EXPECT_EQ(nice_ticks(Scale::linear, 0, nan, 5).size(), 1u);
}

Plot line_plot(std::vector<Point> points) {
  Plot plot;
  plot.name = "p";
  plot.title = "A plot";
  plot.x = {"x", Scale::linear, 0.0, 1.0, {}};
  plot.y = {"y", Scale::linear, 0.0, 1.0, {}};
  plot.series.push_back({"s", {}, std::move(points)});
  return plot;
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// The data of the first path of class "line".
std::string line_data(const std::string& svg) {
  const size_t begin = svg.find("<path class=\"line\" d=\"");
  if (begin == std::string::npos) return "";
  const size_t data = begin + 22;
  return svg.substr(data, svg.find('"', data) - data);
}

TEST(ReportPlot, MissingValuesBreakTheLine) {
  const std::string whole = line_data(render_svg(line_plot({{0, 0}, {0.5, 0.5}, {1, 1}}), {}));
  const std::string gap = line_data(render_svg(line_plot({{0, 0}, {0.2, 0.1}, {0.5, nan}, {0.7, 0.4}, {1, 1}}), {}));
  EXPECT_EQ(count(whole, "M"), 1u);
  EXPECT_EQ(count(gap, "M"), 2u);
  EXPECT_THAT(gap, Not(HasSubstr("nan")));
}

TEST(ReportPlot, LargerValuesAreHigherAndStepsAreSteps) {
  Plot plot = line_plot({{0, 0}, {1, 1}});
  const std::string data = line_data(render_svg(plot, {}));
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  ASSERT_EQ(std::sscanf(data.c_str(), "M%lf %lfL%lf %lf", &x0, &y0, &x1, &y1), 4) << data;
  EXPECT_LT(x0, x1);
  EXPECT_GT(y0, y1);  // SVG's y axis points down
  plot.series[0].style.join = Join::step;
  EXPECT_THAT(line_data(render_svg(plot, {})), HasSubstr("H"));
}

TEST(ReportPlot, LogAxisPlacesDecadesEvenlyAndLeavesOutZeros) {
  Plot plot = line_plot({{0, 1}, {0.25, 0}, {0.5, 10}, {1, 100}});
  plot.y = {"y", Scale::log, {}, {}, {}};
  const std::string data = line_data(render_svg(plot, {}));
  double x = 0, y0 = 0, y1 = 0, y2 = 0;
  ASSERT_EQ(std::sscanf(data.c_str(), "M%lf %lfM%lf %lfL%lf %lf", &x, &y0, &x, &y1, &x, &y2), 6) << data;
  EXPECT_NEAR(y0 - y1, y1 - y2, 0.2);
}

TEST(ReportPlot, BoundsAreBarsOrABand) {
  Plot plot = line_plot({{0, 0.5, 0.4, 0.6}, {0.5, 0.5, 0.3, 0.7}, {1, 0.5}});
  EXPECT_EQ(count(render_svg(plot, {}), "class=\"bar\""), 2u);
  plot.series[0].band = true;
  const std::string svg = render_svg(plot, {});
  EXPECT_EQ(count(svg, "class=\"band\""), 1u);
  EXPECT_EQ(count(svg, "class=\"bar\""), 0u);
}

TEST(ReportPlot, LegendAppearsForTwoSeriesAndTextIsEscaped) {
  Plot plot = line_plot({{0, 0}, {1, 1}});
  EXPECT_THAT(render_svg(plot, {}), Not(HasSubstr("class=\"legend\"")));
  plot.series.push_back({"<script>alert(1)</script>", {1, Join::none, Dash::solid, Marker::diamond}, {{0.5, 0.5}}});
  plot.title = "\"><script>";
  plot.x.title = "<b>";
  plot.guides.push_back({0.5, "<i>"});
  for (const std::string& svg : {render_svg(plot, {}), standalone_svg(plot)}) {
    EXPECT_THAT(svg, HasSubstr("class=\"legend\""));
    EXPECT_THAT(svg, HasSubstr("&lt;script&gt;"));
    EXPECT_THAT(svg, Not(HasSubstr("<script")));
    EXPECT_THAT(svg, Not(HasSubstr("<b>")));
    EXPECT_THAT(svg, Not(HasSubstr("<i>")));
  }
}

TEST(ReportPlot, ConstantAndSinglePointsAreDrawn) {
  for (Plot plot : {line_plot({{0.5, 0.5}}), line_plot({{0, 7}, {1, 7}})}) {
    plot.x = plot.y = {"", Scale::linear, {}, {}, {}};
    EXPECT_TRUE(has_points(plot));
    EXPECT_THAT(render_svg(plot, {}), Not(HasSubstr("nan")));
  }
  EXPECT_FALSE(has_points(line_plot({{nan, 1}, {1, nan}})));
}

TEST(ReportPlot, TilesAreShadedPlacedAndNamed) {
  Plot plot;
  plot.title = "A map";
  plot.x.categories = {"0", "1"};
  plot.y.categories = {"1", "0"};
  plot.tiles = {{0, 1, 0.0, "low", "<b>"}, {1, 0, 1.0, "high", "t"}, {1, 1, 0.5, std::string(99, 'x'), "t"}};
  EXPECT_TRUE(has_points(plot));
  const std::string svg = render_svg(plot, {});
  EXPECT_EQ(count(svg, "class=\"tile\""), 3u);
  EXPECT_EQ(count(svg, "class=\"tile-label\""), 2u) << "a label that does not fit is left to the tooltip";
  EXPECT_THAT(svg, HasSubstr("<title>&lt;b&gt;</title>"));
  const auto tile = [&](size_t index) {
    size_t at = 0;
    for (size_t i = 0; i <= index; ++i) at = svg.find("class=\"tile\" fill-opacity=\"", at) + 1;
    double opacity = 0, x = 0, y = 0, width = 0, height = 0;
    EXPECT_EQ(std::sscanf(svg.c_str() + at, "lass=\"tile\" fill-opacity=\"%lf\" d=\"M%lf %lfh%lfv%lf", &opacity, &x, &y,
                          &width, &height),
              5);
    EXPECT_GT(width, 50);
    EXPECT_GT(height, 50);
    return std::vector<double>{opacity, x, y};
  };
  EXPECT_LT(tile(0)[0], tile(2)[0]);
  EXPECT_LT(tile(2)[0], tile(1)[0]);
  EXPECT_LT(tile(0)[1], tile(1)[1]) << "the second category is to the right";
  EXPECT_GT(tile(0)[2], tile(1)[2]) << "and below";
}

TEST(ReportPlot, ThinningKeepsPeaksAndOrder) {
  std::vector<Point> points;
  for (int i = 0; i < 10000; ++i) points.push_back({static_cast<double>(i), i == 5003 ? 9.0 : i == 77 ? -9.0 : 0.0});
  const std::vector<Point> thin = thin_out(points, 400);
  EXPECT_LE(thin.size(), 400u);
  const auto value = [](double y) { return [y](const Point& p) { return p.y == y; }; };
  EXPECT_TRUE(std::any_of(thin.begin(), thin.end(), value(9.0)));
  EXPECT_TRUE(std::any_of(thin.begin(), thin.end(), value(-9.0)));
  EXPECT_TRUE(std::is_sorted(thin.begin(), thin.end(), [](const Point& a, const Point& b) { return a.x < b.x; }));
}

}  // namespace
}  // namespace subspect::experiments::report
